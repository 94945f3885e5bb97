"""Every chapter has its reference solutions, and they are right; nbval executes them, and compares what checks say."""

import ast

import contract
import nbformat
import pytest
from nbformat import NotebookNode

from fmnotes import ROOT, exercises
from fmnotes.exercises import CHAPTERS
from fmnotes.run import SOLUTIONS, available

NAMES = {exercises.chapter_of(name): name for name in available() if exercises.chapter_of(name) in CHAPTERS}
FOLDER = ROOT / "notebooks" / SOLUTIONS


def code(path) -> list[NotebookNode]:
    notebook = nbformat.read(path, as_version=4)
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def checks(cell: NotebookNode) -> list[tuple[str, bool]]:
    """The exercises that a cell checks, each with whether it is remembered."""
    calls = [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Call)]
    return [
        (ast.literal_eval(call.args[0]), not any(ast.unparse(k) == "remember=False" for k in call.keywords))
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id == "check"
    ]


def chapter_order(chapter: str) -> list[str]:
    """The ids of a chapter's exercises as its notebook asks them; IPython's magic lines are none."""
    cells = [
        cell for cell in code(ROOT / "notebooks" / f"{NAMES[chapter]}.ipynb") if f'check("{chapter}.' in cell.source
    ]
    return [exercise_id for cell in cells for exercise_id, _ in checks(cell)]


def test_there_are_solutions_to_the_chapters_and_to_nothing_else():
    found = {path.relative_to(FOLDER).with_suffix("").as_posix() for path in FOLDER.rglob("*.ipynb")}
    assert set(NAMES) == set(CHAPTERS) and {name for name in found if ".ipynb_" not in name} == set(NAMES.values())
    assert not list(FOLDER.rglob("*.py")), "a second copy, as text"
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert all(f"](../{name}.ipynb)" in readme and f"]({name}.ipynb)" in readme for name in NAMES.values())


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_exercises_of_the_chapter_are_solved_in_its_order(chapter):
    cells = [cell for cell in code(FOLDER / f"{NAMES[chapter]}.ipynb") if "check(" in cell.source]
    assert [checks(cell) for cell in cells] == [[(exercise_id, False)] for exercise_id in chapter_order(chapter)]
    assert sorted(chapter_order(chapter)) == sorted(exercise.id for exercise in exercises.of_chapter(chapter))


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_committed_outputs_say_solved_and_nbval_compares_them(chapter):
    for cell in code(FOLDER / f"{NAMES[chapter]}.ipynb"):
        said = "".join(output.text for output in cell.outputs)
        expected = [f"solved  {exercise_id}" for exercise_id, _ in checks(cell)]
        assert [line[: len(start)] for line, start in zip(said.splitlines(), expected)] == expected
        assert ("nbval-check-output" in cell.metadata.get("tags", [])) == bool(expected), "the tag compares its output"


@pytest.mark.parametrize("chapter", CHAPTERS)
@pytest.mark.parametrize("rule", [contract.executed, contract.places, contract.small], ids=lambda rule: rule.__name__)
def test_the_solutions_keep_what_holds_for_them_of_the_contract(chapter, rule):
    assert list(rule(nbformat.read(FOLDER / f"{NAMES[chapter]}.ipynb", as_version=4))) == []


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_each_solution_says_what_is_asked_and_why_it_is_right(chapter):
    notebook = nbformat.read(FOLDER / f"{NAMES[chapter]}.ipynb", as_version=4)
    up = "../" * (1 + NAMES[chapter].count("/"))
    assert notebook.cells[0].source.startswith("# ") and f"({up}{NAMES[chapter]}.ipynb)" in notebook.cells[0].source
    for before, cell, after in zip(notebook.cells, notebook.cells[1:], notebook.cells[2:]):
        if cell.cell_type == "code" and checks(cell):
            exercise = exercises.find(checks(cell)[0][0])
            assert before.source.startswith(f"## {exercise.id}: {exercise.title}\n\nAsked for ")
            assert after.cell_type == "markdown" and not after.source.startswith("#")


def test_the_solutions_are_no_notebooks_that_make_run_executes():
    assert not [name for name in available() if name.startswith(f"{SOLUTIONS}/")]
