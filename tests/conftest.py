"""What holds for every test."""

import signal

import pytest

from fmnotes.exercises import progress

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in what a script starts in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def no_test_writes_the_readers_progress(tmp_path_factory):
    """Tests check exercises too; what they solve, the reader did not."""
    file = tmp_path_factory.mktemp("progress") / "progress.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(progress, "path", lambda: file)
        yield
