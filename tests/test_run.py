"""The runner, on notebooks made here: what passes, fails, is skipped, refused, and that nothing is left behind."""

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from fmnotes import ROOT, costs, records, runs
from fmnotes.__main__ import main
from fmnotes.run import Outcome, RunError, available, run, run_one, select, table, too_much

PARAMETERS = 'PROFILE = "quick"\nSEED = 0\nSTEPS = 3'
RECORD = """from pathlib import Path
from fmnotes.records import Run
Run('{name}', profile=PROFILE, seed=SEED, root=Path.cwd().parent)(
    "steps.of_{name}", STEPS, unit="steps", tolerance=0.5, better="equal")"""


def write(root, name, *sources, needs=()):
    """A notebook of the cells PARAMETERS, ``sources`` and one that records STEPS."""
    cells = [new_code_cell(source) for source in (PARAMETERS, *sources, RECORD.format(name=name))]
    cells[0].metadata["tags"] = ["parameters"]
    path = root / "notebooks" / f"{name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    metadata = {"kernelspec": kernel, "fmnotes": {"needs": list(needs)}}
    nbformat.write(new_notebook(cells=cells, metadata=metadata), path)
    return path


def write_profile(root, profile, text):
    path = root / "notebooks" / "profiles" / f"{profile}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def recorded(root, profile, name):
    return json.loads((root / "runs" / profile / "records" / f"{name}.json").read_text())[f"steps.of_{name}"]["value"]


@pytest.fixture
def root(tmp_path, monkeypatch):
    return prepared(tmp_path, monkeypatch)


def prepared(root, monkeypatch):
    monkeypatch.delenv("FMNOTES_RUNS", raising=False)
    monkeypatch.setenv("PYTHONPATH", f"{os.environ.get('PYTHONPATH', '')}:{ROOT}")  # for the kernels
    return root


@pytest.fixture(scope="module")
def one_of_each(tmp_path_factory):
    """One quick run of notebooks that fail, die, need one another, and leave their tolerance."""
    with pytest.MonkeyPatch.context() as monkeypatch, io.StringIO() as out, contextlib.redirect_stdout(out):
        root = prepared(tmp_path_factory.mktemp("one_of_each"), monkeypatch)
        write(root, "01_fails", "print('before')", "raise ZeroDivisionError('so many apples')", "open('later', 'w')")
        write(root, "02_needs_it", needs=["01_fails"])
        write(root, "03_needs_that", needs=["02_needs_it"])
        write(root, "04_dies", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
        write(root, "05_large", "large = bytearray(400_000_000)")
        write(
            root,
            "06_small",
            "import os",
            "assert os.environ['HF_HUB_OFFLINE'] == os.environ['HF_DATASETS_OFFLINE'] == '1'",
        )
        values = {"05_large": 3, "06_small": 9}
        entry = {"unit": "steps", "tolerance": 0.5, "limit": None}
        committed = {f"steps.of_{name}": {"value": n, "notebook": name, **entry} for name, n in values.items()}
        (root / "data" / "records").mkdir(parents=True)
        (root / "data" / "records" / "quick.json").write_text(json.dumps(committed))
        before = {path: path.read_bytes() for path in root.rglob("*.ipynb")}
        status = run([], root=root)
        assert before == {path: path.read_bytes() for path in (root / "notebooks").rglob("*.ipynb")}
        return root, status, out.getvalue()


def test_a_failure_stops_its_notebook_and_those_that_need_it_and_no_other(one_of_each):
    root, status, out = one_of_each
    assert status == 1
    assert "raise ZeroDivisionError('so many apples')" in out and "ZeroDivisionError: so many apples" in out
    assert "02_needs_it skipped. It needs 01_fails." in out and "03_needs_that skipped. It needs 02_needs_it." in out
    assert "04_dies failed." in out and "DeadKernelError" in out
    rows = [line.split()[:2] for line in out[out.index("notebook ") :].splitlines()[2:8]]
    assert rows == [
        ["01_fails", "failed"],
        ["02_needs_it", "skipped"],
        ["03_needs_that", "skipped"],
        ["04_dies", "failed"],
        ["05_large", "passed"],
        ["06_small", "passed"],
    ]
    assert not (root / "notebooks" / "later").exists()
    copy = nbformat.read(root / "runs" / "quick" / "01_fails.ipynb", as_version=4)
    assert any("before" in str(cell.get("outputs")) for cell in copy.cells)


def test_a_record_outside_its_tolerance_is_named(one_of_each):
    _, _, out = one_of_each
    assert [line.split("GB")[1].strip() for line in out.splitlines() if " passed " in line] == ["1 inside", "1 outside"]
    assert out.endswith("\n06_small: outside its tolerance, or not recorded: steps.of_06_small\n")


@pytest.mark.parametrize(("verdict", "good"), [("inside", True), ("new", True), ("outside", False)])
def test_only_what_is_outside_makes_a_run_fail(verdict, good):
    assert Outcome("01_a", "passed", verdicts=[("a", "inside"), ("b", verdict)]).good == good
    assert not Outcome("01_a", "failed", verdicts=[("b", verdict)]).good


def test_the_peak_is_the_kernels_own(one_of_each):
    _, _, out = one_of_each
    large, small = (float(line.split()[4]) for line in out.splitlines() if " passed " in line)
    assert large > 0.4 and small < large - 0.3


def test_a_profile_sets_parameters(root, capfd):
    folder = "import os\nassert os.path.basename(os.getcwd()) == 'notebooks'"
    write(root, "01_a", "assert STEPS == 7 and PROFILE == 'real' and isinstance(STEPS, int)", folder)
    write(root, "02_b")
    write_profile(root, "real", "01_a: {STEPS: 7}")
    assert run([], "real", root=root) == 0
    assert recorded(root, "real", "01_a") == 7
    out = capfd.readouterr().out
    assert "1 new" in out and "02_b" not in out


def test_a_notebook_without_fresh_records_fails(root, capfd):
    path = write(root, "01_a")
    nb = nbformat.read(path, as_version=4)
    nb.cells.pop()
    nbformat.write(nb, path)
    old = root / "runs" / "quick" / "records" / "01_a.json"
    old.parent.mkdir(parents=True)
    old.write_text("{}")
    assert run([], root=root) == 1
    assert "It wrote no records. Its last cell needs Run('01_a', profile=PROFILE, seed=SEED)." in capfd.readouterr().out


def test_what_cannot_be_run_is_refused_before_anything_runs(root):
    write(root, "01_a")
    write(root, "guide/09_moe")
    write_profile(root, "real", "01_a: {STEP: 7}")
    write_profile(root, "broken", "[1, 2]")
    write_profile(root, "garbled", "01_a: {STEPS: 7")
    for names, profile, message in [
        (["02_b"], "quick", r"no notebook '02_b'\. There are: 01_a, guide/09_moe\."),
        ([], "huge", r"no profile 'huge'\. There are: broken, garbled, quick, real\."),
        (["guide/09_moe"], "real", r"guide/09_moe has no profile 'real'\. Notebooks with one: 01_a\."),
        ([], "real", r"01_a has no parameter STEP\. .* defines: PROFILE, SEED, STEPS\."),
        ([], "broken", r"broken\.yaml must map each notebook to a mapping of"),
        ([], "garbled", r"garbled\.yaml is no YAML, mend it: (.|\n)*line 1"),
    ]:
        with pytest.raises(RunError, match=message):
            run(names, profile, root=root)
    assert not (root / "runs").exists()
    with pytest.raises(RunError, match=r"No notebook to run .* Notebooks: none\."):
        run([], root=root / "nowhere")


HALF = b'{"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": [{"cell_type": "code", "metadata": {}}]}'


@pytest.mark.parametrize("content", [b"<<<<<<< HEAD", b"[1]", b"{}", b'{"nbformat": 4, "cells": 3}', HALF, b"\xff"])
def test_what_is_no_notebook_fails_alone(root, content, monkeypatch, capfd):
    write(root, "02_needs_it", needs=["01_torn"])
    write(root, "03_b")
    (root / "notebooks" / "01_torn.ipynb").write_bytes(content)
    ran = []
    monkeypatch.setattr("fmnotes.run.run_one", lambda name, *rest: ran.append(name) or Outcome(name, "passed"))
    assert run([], root=root) == 1 and ran == ["03_b"]
    out = capfd.readouterr().out
    assert "01_torn failed. notebooks/01_torn.ipynb cannot be read as a notebook; mend it or take it away. " in out
    assert "02_needs_it skipped. It needs 01_torn." in out


def test_damaged_records_are_named_before_anything_runs(root):
    write(root, "01_a")
    path = root / "data" / "records" / "quick.json"
    path.parent.mkdir(parents=True)
    for content, message in [("{", "is damaged .*line 1"), ("[]", "must hold a JSON object, but holds a list")]:
        path.write_text(content)
        with pytest.raises(RunError, match=f"{re.escape(str(path))} {message}.*: take the committed one"):
            run([], root=root)
    path.write_bytes(b"\xff")
    with pytest.raises(ValueError, match=f"{re.escape(str(path))} is damaged .*utf-8"):
        runs.read(path)
    assert not (root / "runs").exists() and runs.read(root / "nowhere.json") == {}


def test_numbered_notebooks_by_default_and_folders_on_request(root):
    for name in ("02_b", "guide/01_c", "01_a", "scratch", "02b_c", ".ipynb_checkpoints/01_a-checkpoint"):
        write(root, name)
    write(root, "solutions/01_a")  # has no parameters
    assert available(root) == ["01_a", "02_b", "02b_c", "scratch", "guide/01_c"]
    assert select([], "quick", root=root) == ["01_a", "02_b", "02b_c"]
    assert select([], "quick", everything=True, root=root) == available(root)
    assert select(["guide/01_c", "01_a", "01_a"], "quick", root=root) == ["guide/01_c", "01_a"]
    assert select(["01_c", "guide/01_c", "02_b"], "quick", root=root) == ["guide/01_c", "02_b"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_no_kernel(root, number):
    write(root, "01_long", "import os, time", "open('pid', 'w').write(str(os.getpid()))", "time.sleep(600)")
    code = f"from pathlib import Path; from fmnotes.run import run; run([], root=Path({str(root)!r}))"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.DEVNULL)
    pid = root / "notebooks" / "pid"
    _wait(lambda: pid.exists() and pid.read_text())
    process.send_signal(number)
    assert process.wait(60) != 0
    _wait(lambda: not _alive(int(pid.read_text())))


def _wait(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def _alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_table_aligns_and_hides_what_did_not_happen():
    shown = table([
        Outcome("01_bpe", "passed", 12.34, 1_500_000_000, verdicts=[("a", "inside"), ("b", "new"), ("c", "inside")]),
        Outcome("02_gpt2", "skipped", message="It needs 01_bpe."),
    ])  # fmt: skip
    assert shown.splitlines() == [
        "notebook  status   wall time  peak memory  records",
        "-" * 58,
        "01_bpe    passed   12.3 s     1.50 GB      2 inside, 1 new",
        "02_gpt2   skipped  -          -            -",
    ]


def test_the_command_line_explains_itself_and_refuses_with_status_2():
    def call(*arguments):
        command = [sys.executable, "-m", "fmnotes", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    for command in ((), ("run",), ("records",), ("records", "commit"), ("museum",), ("museum", "sample")):
        done = call(*command, "--help")
        assert done.returncode == 0 and done.stdout.startswith("usage: python -m fmnotes")
    refused = call("run", "no_such")
    assert refused.returncode == 2 and refused.stderr.startswith("There is no notebook 'no_such'.")
    assert call("fly").returncode == 2


@pytest.mark.parametrize("action", ["check", "render"])
def test_the_command_line_tells_of_damaged_records_without_a_traceback(action, monkeypatch, capsys):
    def damaged(*_):
        raise ValueError("quick.json is damaged")

    monkeypatch.setattr(records, action, damaged)
    assert main(["records", action]) == 1
    assert capsys.readouterr().err == "quick.json is damaged\n"


@pytest.mark.parametrize("count", ["-1", "many", "1.5"])
def test_a_count_is_a_whole_number(count, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["museum", "sample", "stories", "--count", count])
    assert f"argument --count: '{count}' is no count: give a whole number, 0 or more" in capsys.readouterr().err


def test_more_than_is_promised_is_told_and_fails_nothing(root, monkeypatch, capsys):
    hungry = Outcome("01_a", "passed", 151.0, 4_500_000_000)
    write(root, "01_a")
    monkeypatch.setattr("fmnotes.run.run_one", lambda *_: hungry)
    assert run([], root=root) == 0
    warnings = ["01_a: 151 s, more than the 150 s of the profile quick", "01_a: 4.5 GB of memory, more than 4 GB"]
    assert capsys.readouterr().out.endswith("\n\n" + "\n\n".join(warnings) + "\n")
    assert too_much(Outcome("01_a", "passed", 21.0), "smoke") == ["01_a: 21 s, more than the 20 s of the profile smoke"]
    assert too_much(Outcome("01_a", "passed", 20.0, 4_000_000_000), "smoke") == too_much(hungry, "real") == []


def test_what_a_run_took_is_committed_with_its_records_and_shown(root, capsys):
    costs.show("01_first", root=root)
    assert "not measured yet" in capsys.readouterr().out
    write(root, "01_first")
    write(root, "02_fails", "1 / 0")
    costs.save("quick", "02_fails", 1.0, 1, root)  # by an earlier run, when it still passed
    run([], root=root)
    records.commit("quick", root)
    assert list(json.loads((root / "data" / "records" / "costs.json").read_text())["quick"]) == ["01_first"]
    costs.show("01_first", root=root)
    shown = rf"Measured: \d+ s and 0\.\d GB of memory on {os.cpu_count()} CPU cores, profile quick\.\n"
    assert re.fullmatch(shown, capsys.readouterr().out.splitlines(keepends=True)[-1])


def test_a_cost_that_does_not_know_its_cores_is_shown_without_them(root, capsys):
    committed = root / "data" / "records" / "costs.json"
    runs.write(committed, {"quick": {"01_a": {"seconds": 7, "gigabytes": 0.8}}})
    costs.show("01_a", root=root)
    assert capsys.readouterr().out == "Measured: 7 s and 0.8 GB of memory, profile quick.\n"


def test_a_parameter_changes_what_the_template_shows(root, monkeypatch):
    monkeypatch.setenv("FMNOTES_RUNS", str(root))
    bits = {}
    for steps in (3, 5):
        assert run_one("template/00_template", "smoke", {"STEPS": steps, "SAMPLES": 100}, "template").status == "passed"
        copy = nbformat.read(root / "smoke" / "template" / "00_template.ipynb", as_version=4)
        injected = next(cell for cell in copy.cells if "injected-parameters" in cell.metadata.get("tags", []))
        assert f"STEPS = {steps}\n" in injected.source
        texts = [output.text for cell in copy.cells for output in cell.get("outputs", []) if "text" in output]
        bits[steps] = next(re.search(r"the model: +([\d.]+) bits", text)[1] for text in texts if "the model:" in text)
    assert 3 > float(bits[3]) > float(bits[5])  # more steps, fewer bits; the quick profile's 300 come to less still
