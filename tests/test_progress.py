"""Progress remembers what the reader solved, and never gets into the way of an exercise."""

import json
import re
import subprocess
import sys

import nbformat
import pytest

from fmnotes import ROOT, exercises, runs
from fmnotes.__main__ import main
from fmnotes.exercises import CHAPTERS, check, progress
from fmnotes.run import available


@pytest.fixture
def file(tmp_path, monkeypatch):
    file = tmp_path / "runs" / "progress.json"
    monkeypatch.setattr(progress, "path", lambda: file)
    return file


def decode(ids, token_bytes):
    return b"".join(token_bytes[i] for i in ids).decode("utf-8", errors="replace")


def decode_each(ids, token_bytes):
    return "".join(token_bytes[i].decode("utf-8", errors="replace") for i in ids)


def notebook_of(chapter):
    return next(name for name in available() if exercises.chapter_of(name) == chapter)


def stub(ids, token_bytes):
    raise NotImplementedError


def printed(capsys, answer, **options):
    check("01.decode", answer, **options)
    return capsys.readouterr().out


def test_it_is_kept_beside_the_runs(monkeypatch, tmp_path):
    code = "from fmnotes.exercises import progress; print(progress.path())"
    monkeypatch.delenv("FMNOTES_RUNS", raising=False)
    place = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert place == str(ROOT / "runs" / "progress.json")
    monkeypatch.setenv("FMNOTES_RUNS", str(tmp_path))
    place = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert place == str(tmp_path / "progress.json")


def test_no_test_sees_the_readers_file():
    assert progress.path() not in (ROOT / "runs" / "progress.json", runs.folder(ROOT) / "progress.json")


@pytest.mark.parametrize("answer", [stub, ...])
def test_an_open_stub_writes_nothing(file, answer):
    check("01.decode", answer)
    assert not file.parent.exists() and progress.load() == {}


def test_a_wrong_answer_is_tried_and_a_right_one_solved_for_good(file):
    check("01.decode", decode_each)
    assert json.loads(file.read_text()) == {"01.decode": "tried"}
    check("02b.stall", {})
    check("01.decode", decode)
    for later in (decode_each, stub, ...):
        check("01.decode", later)
    assert json.loads(file.read_text()) == {"01.decode": "solved", "02b.stall": "tried"}
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_what_is_known_is_not_written_again(file, monkeypatch):
    check("01.decode", decode_each)
    monkeypatch.setattr(runs, "write", lambda *_: pytest.fail("written"))
    check("01.decode", decode_each)


def test_a_solution_that_is_not_the_readers_writes_nothing(file, capsys):
    assert printed(capsys, decode, remember=False) == printed(capsys, decode)
    file.unlink()
    for answer in (decode, decode_each):
        check("01.decode", answer, remember=False)
    assert not file.exists()


def test_code_that_is_handed_back_with_its_bugs_is_no_try(file, capsys):
    given = [(e, m) for c in CHAPTERS for e in exercises.of_chapter(c) for m in e.mistakes if m.given]
    assert {"02b.perplexity", "05.fused"} <= {exercise.id for exercise, _ in given}
    for exercise, mistake in given:
        check(exercise.id, mistake.answer)
        assert capsys.readouterr().out.startswith("wrong ") and not file.exists()
    for exercise, mistake in given:
        check(exercise.id, next(other.answer for other in exercise.mistakes if other is not mistake))
        assert progress.load()[exercise.id] == "tried"


@pytest.mark.parametrize("content", [b"", b'{"01.decode": "sol', b"[1]", b"\xff\xfe", b"[" * 100_000, b"null"])
def test_a_damaged_file_counts_as_empty(file, capsys, content):
    line = printed(capsys, decode, remember=False)
    file.parent.mkdir()
    file.write_bytes(content)
    assert progress.load() == {} and file.read_bytes() == content
    assert printed(capsys, decode) == line
    assert json.loads(file.read_text()) == {"01.decode": "solved"}


def test_what_is_no_state_is_left_out(file):
    file.parent.mkdir()
    file.write_text(json.dumps({"01.merge": "solved", "01.encode": "perfect", "01.decode": ["solved"], "x": 1}))
    assert progress.load() == {"01.merge": "solved"}


def test_a_file_that_cannot_be_written_breaks_nothing(file, capsys):
    line = printed(capsys, decode, remember=False)
    file.parent.write_text("a file where the folder should be")
    assert printed(capsys, decode) == line and progress.load() == {}
    file.parent.unlink()
    file.mkdir(parents=True)  # a folder where the file should be
    assert printed(capsys, decode) == line and progress.load() == {}


def test_a_write_that_fails_leaves_the_old_file_whole(file, monkeypatch, capsys):
    check("01.decode", decode_each)
    before = file.read_bytes()
    capsys.readouterr()

    def refuses(*_):
        raise OSError("no space left")

    monkeypatch.setattr("os.replace", refuses)
    assert printed(capsys, decode).startswith("solved") and file.read_bytes() == before


def test_the_table_lists_every_exercise_by_chapter(file, capsys):
    check("01.decode", decode)
    check("01.merge", decode)
    file.write_text(json.dumps(progress.load() | {"01.gone": "solved"}))
    capsys.readouterr()
    assert main(["progress"]) == 0
    text = capsys.readouterr().out
    blocks = [block.splitlines() for block in text.rstrip().split("\n\n")]
    count = sum(len(exercises.of_chapter(chapter)) for chapter in CHAPTERS)
    assert blocks.pop() == [f"1 of {count} solved"]
    assert [block[0] for block in blocks] == [notebook_of(chapter) for chapter in CHAPTERS]
    for block, chapter in zip(blocks, CHAPTERS, strict=True):
        rows = [line.split(maxsplit=2) for line in block[1:]]
        assert [(row[0], row[2]) for row in rows] == [(e.id, e.title) for e in exercises.of_chapter(chapter)]
        for name, state, _ in rows:
            assert state == {"01.decode": "solved", "01.merge": "tried"}.get(name, "open")
    columns = {line.index(line.split()[1], 18) for block in blocks for line in block[1:]}
    assert len(columns) == 1


def test_an_empty_table_is_a_table():
    assert progress.table({}, {}) == "0 of 0 solved"


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_run_of_the_committed_notebooks_is_no_progress(chapter):
    """What a stub there prints is open, or names the bugs of the given code; and nothing is solved."""
    notebook = nbformat.read(ROOT / "notebooks" / f"{notebook_of(chapter)}.ipynb", as_version=4)
    said = [
        output.text
        for cell in notebook.cells
        if cell.cell_type == "code" and f'check("{chapter}.' in cell.source
        for output in cell.outputs
        if output.output_type == "stream"
    ]
    lines = re.findall(rf"^(open|solved|wrong) +({chapter}\.\w+)(.*(?:\n {{8}}.*)*)", "".join(said), re.MULTILINE)
    assert [exercise_id for _, exercise_id, _ in lines] == [e.id for e in exercises.of_chapter(chapter)]
    for state, exercise_id, text in lines:
        given = [mistake.diagnosis for mistake in exercises.find(exercise_id).mistakes if mistake.given]
        assert state == "open" or any(diagnosis in " ".join(text.split()) for diagnosis in given), (
            f"{notebook_of(chapter)} hands out an answer to {exercise_id}: "
            "let it raise NotImplementedError, or mark the Mistake that it makes with given=True"
        )
