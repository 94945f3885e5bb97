"""Every committed notebook keeps the contract, and every rule of it finds the notebook that breaks it."""

import subprocess
import sys
from copy import deepcopy

import nbformat
import pytest
from contract import BYTES, CODE_CELLS, LINES, RULES, problems
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from fmnotes import ROOT
from fmnotes.run import available, check_parameters, profile_parameters

NOTEBOOKS = available()
OPENING = """# Small things
Why are small things small?

## 한국어 요약
이 노트북은 계약을 모두 지키는 가장 작은 예입니다. 제목과 질문이 있고, 매개변수가 있습니다.
마지막 셀은 기록을 보여 줍니다."""
FIGURE = new_output(
    "display_data", data={"image/png": "aGVsbG8=", "text/plain": "[figure]"}, metadata={"image/png": {"alt": "A line."}}
)


def cell(source, *outputs, tags=()):
    return new_code_cell(source, outputs=list(outputs), metadata={"tags": list(tags)})


def numbered(nb):
    for number, code in enumerate((cell for cell in nb.cells if cell.cell_type == "code"), start=1):
        code.execution_count = number
    return nb


@pytest.fixture
def good():
    cells = [
        new_markdown_cell(OPENING),
        cell('PROFILE = "quick"\nSEED = 0\nSTEPS: int = 3', tags=["parameters"]),
        cell('record = Run("x", PROFILE, SEED)\ncosts.show("x")\nshow(STEPS)', deepcopy(FIGURE)),
        cell("record.report()", new_output("stream", text="x.steps 3 inside\n"), tags=["nbval-check-output"]),
    ]
    return numbered(new_notebook(cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}}))


def test_there_are_notebooks():
    assert "template/00_template" in NOTEBOOKS


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_committed_notebooks_keep_the_contract(name, rule):
    found = list(rule(nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)))
    assert not found, f"{name} ({rule.__doc__})\n" + "\n".join(found)


def test_names_are_told_apart_without_their_folder():
    stems = [name.rsplit("/", 1)[-1] for name in NOTEBOOKS]
    assert len(set(stems)) == len(stems), "records are filed under a notebook's own name: rename one of the two"


@pytest.mark.parametrize("profile", ["smoke", "real", "gpu"])
def test_profiles_name_parameters_that_exist(profile):
    chosen = profile_parameters(profile)
    assert set(chosen) <= set(NOTEBOOKS), f"{profile}.yaml names notebooks that are not there"
    for name, values in chosen.items():
        check_parameters(name, values)
    if profile == "smoke":
        assert set(chosen) == set(NOTEBOOKS), "every notebook needs an entry in smoke.yaml that makes it quick to run"


def test_a_good_notebook_has_no_problems(good):
    assert problems(good) == []


def edit(nb, number, old, new):
    """Replace text in a cell, which must be there."""
    assert old in nb.cells[number].source
    nb.cells[number].source = nb.cells[number].source.replace(old, new)


def add(nb, *cells, at=2):
    nb.cells[at:at] = cells
    numbered(nb)


def stream(text, name="stdout"):
    return cell("print(1)", new_output("stream", name=name, text=text))


def html(text):
    return cell("print(1)", new_output("display_data", data={"text/html": text}))


BREAK = {
    "the first cell is no title": lambda nb: edit(nb, 0, "# Small", "Small"),
    "the opening asks no question": lambda nb: edit(nb, 0, "small?", "small."),
    "there is no 한국어 요약": lambda nb: edit(nb, 0, "한국어 요약", "요약"),
    "no cell shows what a run takes": lambda nb: edit(nb, 2, 'costs.show("x")', "costs"),
    "0 cells carry the tag 'parameters'": lambda nb: nb.cells[1].metadata.update(tags=[]),
    "2 cells carry the tag 'parameters'": lambda nb: nb.cells[2].metadata.update(tags=["parameters"]),
    "the parameters cell holds 'import os'": lambda nb: edit(nb, 1, "STEPS", "import os\nSTEPS"),
    "the parameters cell holds 'HALF = 1 / 2'": lambda nb: (
        edit(nb, 1, "STEPS", "HALF = 1 / 2\nSTEPS"),
        edit(nb, 2, "STEPS", "STEPS, HALF"),
    ),
    "the parameters cell does not define SEED": lambda nb: (edit(nb, 1, "SEED = 0\n", ""), edit(nb, 2, "SEED", "0")),
    "the parameters cell defines 11 names": lambda nb: (
        edit(nb, 1, "STEPS", "\n".join(f"a{i} = {i}" for i in range(8)) + "\nSTEPS"),
        edit(nb, 2, "\nshow(", "\nshow(a0, a1, a2, a3, a4, a5, a6, a7, "),
    ),
    "STEPS is assigned again": lambda nb: edit(nb, 2, "show(STEPS)", "STEPS = 5\nshow(STEPS)"),
    "STEPS is a parameter that no cell uses": lambda nb: edit(nb, 2, "STEPS", "3"),
    "it holds papermill's injected parameters": lambda nb: nb.cells[2].metadata.update(tags=["injected-parameters"]),
    "execution counts are [1, 2, 5]": lambda nb: nb.cells[3].update(execution_count=5),
    "execution counts are [1, None, 3]": lambda nb: nb.cells[2].update(execution_count=None),
    "its kernel is 'mine'": lambda nb: nb.metadata.kernelspec.update(name="mine"),
    "code cell 2 ends in ValueError": lambda nb: add(nb, cell("f()", new_output("error", ename="ValueError"))),
    "code cell 2 printed to stderr 'Warning: old'": lambda nb: add(nb, stream("Warning: old", "stderr")),
    "cell 3 names '/home/ada/x.txt'": lambda nb: edit(nb, 2, "show(STEPS)", "show(STEPS, '/home/ada/x.txt')"),
    "the output of code cell 2 names '/Users/ada/x'": lambda nb: add(nb, stream("saved in /Users/ada/x")),
    "the output of code cell 2 names 'C:\\\\Users": lambda nb: add(nb, stream("saved in C:\\Users\\ada")),
    f"code cell 2 has {LINES + 1} lines": lambda nb: add(nb, cell("f()\n" * (LINES + 1))),
    "code cell 2 is empty": lambda nb: add(nb, cell("")),
    f"it has {CODE_CELLS + 1} code cells": lambda nb: add(nb, *[cell("f()") for _ in range(CODE_CELLS - 2)]),
    "it has 1.1 MB": lambda nb: nb.cells[2].outputs[0].data.update({"image/png": "a" * (BYTES + 100_000)}),
    "code cell 2 draws a figure without alt text": lambda nb: nb.cells[2].outputs[0].metadata.clear(),
    "code cell 2 shows an <img> without alt text": lambda nb: add(nb, html("<img src='x.png' alt=''>")),
    "code cells [2, 4] call record.report()": lambda nb: add(nb, cell("record.report()")),
    "code cells [3] call record.report()": lambda nb: (
        add(nb, stream("done"), at=4),
        nb.cells[4].metadata.update(tags=["nbval-check-output"]),
    ),
    "the last code cell does not carry the tag": lambda nb: nb.cells[3].metadata.update(tags=[]),
    "the records cell shows no record": lambda nb: nb.cells[3].update(outputs=[]),
}


@pytest.mark.parametrize("message", BREAK)
def test_a_rule_finds_the_one_thing_that_is_broken(good, message):
    BREAK[message](good)
    found = problems(good)
    assert len(found) == 1 and message in found[0]
    assert len(found[0]) > len(message), "it must also say how to mend it"


@pytest.mark.parametrize("source", ["SEED, x = 1, 2", "for SEED in (1, 2): pass", "SEED += 1", "f(SEED := 3)"])
def test_every_way_of_assigning_is_seen(good, source):
    edit(good, 2, "show(STEPS)", f"show(STEPS, SEED)\n{source}")
    assert [problem for problem in problems(good) if problem.startswith("SEED is assigned again")]


@pytest.mark.parametrize(
    "text",
    [
        "https://example.org/home/ada and data/home/x",
        "runs/tmp/x and ./opt/x, 3/usr/2, ~/work/x",
        "a/b, /, //, and/or, C: and D:",
    ],
)
def test_addresses_and_relative_paths_are_no_places(good, text):
    add(good, stream(text), html(f"<img alt='a line' src='data:image/png;base64,+/tmp/{'A' * 40}=='>"))
    assert problems(good) == []


def test_magics_are_no_syntax_errors(good):
    edit(good, 2, "show(STEPS)", "%matplotlib inline\n!ls\nshow(STEPS)")
    assert problems(good) == []


def test_nbval_compares_what_the_records_cell_prints(good, tmp_path):
    good.cells = good.cells[-1:]
    good.cells[0].update(source="print('x.steps 3 inside')  # stands for record.report()", execution_count=1)
    nbformat.write(good, tmp_path / "same.ipynb")
    good.cells[0].outputs[0].text = "x.steps 3 outside\n"
    nbformat.write(good, tmp_path / "differs.ipynb")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval-lax", "--nbval-current-env"]
    done = subprocess.run([*command, str(tmp_path)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "1 failed, 1 passed" in done.stdout
