import importlib
import pkgutil
import sys
import types

import pytest
import torch

from fmnotes import exercises
from fmnotes.exercises import CHAPTERS, Exercise, Mistake, check, diagnose


def mean(values):
    return sum(values) / len(values)


def median(values):
    return sorted(values)[len(values) // 2]


MEAN = Exercise(
    id="test.mean",
    title="The mean of a list",
    reread="Means",
    solution=mean,
    alternatives=(lambda values: sum(value / len(values) for value in values),),
    verified="one number, negative numbers, ties",
    cases=(([3.0],), ([1.0, 2.0, 6.0, -1.0],), ([2.0, 2.0, 5.0],), ([1.0, 2.0],)),
    tolerance=1e-9,
    mistakes=(
        Mistake(sum, "That is the sum: it is not divided yet."),
        Mistake(lambda values: sum(values) / (len(values) - 1), "n - 1 belongs to the variance."),
        Mistake(median, "That is the median."),
        Mistake(max, "That is the largest."),
        Mistake(lambda values: sum(values) // len(values), "`//` drops the fraction."),
    ),
)
GUESS = Exercise(
    id="test.guess",
    title="How many?",
    reread="Counts",
    solution=7,
    verified="the count is what the loop prints",
    mistakes=tuple(Mistake(i, f"{i} is not the count.") for i in range(5)),
)


def problems(exercise: Exercise) -> list[str]:
    """What is wrong with an exercise: each sentence is one thing to mend."""
    found = []

    def stub(*arguments):
        raise NotImplementedError

    if diagnose(exercise, stub if callable(exercise.solution) else ...)[0] != "open":
        found.append("the stub is not open")
    for right in (exercise.solution, *exercise.alternatives):
        if diagnose(exercise, right) != ("solved", exercise.verified):
            found.append(f"a right answer does not pass: {diagnose(exercise, right)[1]}")
    if len(exercise.mistakes) < 5:
        found.append(f"there are {len(exercise.mistakes)} mistakes, and five are needed")
    if len({mistake.diagnosis for mistake in exercise.mistakes}) < len(exercise.mistakes):
        found.append("two mistakes have the same diagnosis")
    for mistake in exercise.mistakes:
        state, text = diagnose(exercise, mistake.answer)
        if (state, text) != ("wrong", f"{mistake.diagnosis} Reread “{exercise.reread}”."):
            found.append(f"the mistake “{mistake.diagnosis}” is told: {state} {text}")
    return found


def registered() -> list[Exercise]:
    modules = (importlib.import_module(f"fmnotes.exercises.{name}") for name in CHAPTERS.values())
    return [exercise for module in modules for exercise in module.EXERCISES]


def test_every_file_of_exercises_is_a_chapter():
    files = {module.name for module in pkgutil.iter_modules(exercises.__path__)}
    assert files == set(CHAPTERS.values()), "name each file of fmnotes/exercises in CHAPTERS"
    ids = [exercise.id for exercise in registered()]
    assert len(set(ids)) == len(ids)
    assert all(CHAPTERS.get(exercise_id.partition(".")[0]) for exercise_id in ids)


@pytest.mark.parametrize("exercise", [MEAN, GUESS, *registered()], ids=lambda exercise: exercise.id)
def test_each_mistake_gets_its_own_diagnosis(exercise):
    assert problems(exercise) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"mistakes": MEAN.mistakes[:4]}, "there are 4 mistakes"),
        ({"mistakes": (*MEAN.mistakes, Mistake(mean, "Right, really."))}, "“Right, really.” is told: solved"),
        ({"mistakes": (*MEAN.mistakes, Mistake(sum, "As another."))}, "“As another.” is told: wrong That is the sum"),
        ({"mistakes": (*MEAN.mistakes, Mistake(min, "That is the largest."))}, "same diagnosis"),
        ({"alternatives": (median,)}, "a right answer does not pass: That is the median"),
        ({"cases": (([2.0, 2.0],),)}, "“That is the largest.” is told: solved"),
        ({"solution": lambda values: ...}, "right answer does not pass"),
    ],
)
def test_a_bad_exercise_is_found(change, problem):
    assert any(problem in text for text in problems(Exercise(**vars(MEAN) | change)))


@pytest.fixture
def chapter(monkeypatch):
    module = types.ModuleType("fmnotes.exercises.means")
    module.EXERCISES = [MEAN, GUESS]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(CHAPTERS, "test", "means")


def told(capsys, exercise_id, answer):
    assert check(exercise_id, answer) is None
    return capsys.readouterr().out


def test_what_a_student_reads(chapter, capsys):
    def stub(values):
        raise NotImplementedError

    def crashes(values):
        return values[1]

    def off(values):
        return mean(values) + (len(values) > 3)

    def none(values):
        mean(values)

    def crashing_elsewhere(values):
        return mean(values) if len(values) < 4 else {}["key"]

    start = "test.mean  The mean of a list"
    reread = " Reread “Means”.\n"
    assert told(capsys, "test.mean", stub) == f"open    {start}\n"
    assert told(capsys, "test.mean", ...) == f"open    {start}\n"
    assert told(capsys, "test.mean", mean) == f"solved  {start}: one number, negative numbers, ties\n"
    assert told(capsys, "test.mean", sum) == f"wrong   {start}: That is the sum: it is not divided yet.{reread}"
    assert (
        told(capsys, "test.mean", off)
        == f"wrong   {start}: off([1.0, 2.0, 6.0, -1.0]) gives 3.0, expected 2.0.{reread}"
    )
    raised = "crashes([3.0]) raises IndexError: list index out of range; expected 3.0."
    assert told(capsys, "test.mean", crashes) == f"wrong   {start}: {raised}{reread}"
    assert "crashing_elsewhere([1.0, 2.0, 6.0, -1.0]) raises KeyError: 'key'" in told(
        capsys, "test.mean", crashing_elsewhere
    )
    assert (
        told(capsys, "test.mean", none)
        == f"wrong   {start}: the function returns None. Does it end in `return`?{reread}"
    )
    sometimes = told(capsys, "test.mean", lambda values: None if len(values) == 4 else mean(values))
    assert "gives None, expected 2.0." in sometimes and "Does it end" not in sometimes
    assert "hand over the function itself, not its result, 2.0." in told(capsys, "test.mean", 2.0)
    assert "raises TypeError" in told(capsys, "test.mean", lambda: 3.0)
    assert "gives <" in told(capsys, "test.mean", lambda values: (value for value in values))
    assert "gives '3.0', expected 3.0" in told(capsys, "test.mean", lambda values: str(mean(values)))


def test_an_answer_that_exits_or_cannot_be_compared_is_wrong(chapter, capsys):
    def leaves(values):
        sys.exit("bye")

    raised = "leaves([3.0]) raises SystemExit: bye; expected 3.0."
    assert told(capsys, "test.mean", leaves) == f"wrong   test.mean  The mean of a list: {raised} Reread “Means”.\n"
    assert "gives tensor(" in told(capsys, "test.mean", lambda values: torch.eye(2).to_sparse())
    assert told(capsys, "test.guess", torch.eye(2).to_sparse()).startswith("wrong   test.guess")


def test_a_prediction_is_not_given_away(chapter, capsys):
    assert told(capsys, "test.guess", ...) == "open    test.guess  How many?\n"
    assert told(capsys, "test.guess", 7).startswith("solved  test.guess")
    assert told(capsys, "test.guess", lambda: 7).startswith("solved  test.guess")
    assert "3 is not the count. Reread “Counts”." in told(capsys, "test.guess", 3)
    wrong = told(capsys, "test.guess", 99)
    assert "that is not what happens" in wrong and "7" not in wrong


def test_an_answer_that_changes_its_input_spoils_nothing(chapter, capsys):
    def destroys(values):
        result = mean(values)
        values.clear()
        return result

    for _ in range(2):
        assert told(capsys, "test.mean", destroys).startswith("solved")
    assert MEAN.cases[0] == ([3.0],)


def test_a_mistake_may_be_a_crash():
    def crashes(values):
        raise ZeroDivisionError

    exercise = Exercise(**vars(MEAN) | {"mistakes": (*MEAN.mistakes, Mistake(crashes, "You divide by nothing."))})
    assert problems(exercise) == []
    assert "raises ValueError" in diagnose(exercise, lambda values: int("x"))[1]


def test_an_unknown_exercise_is_the_notebooks_mistake(chapter):
    with pytest.raises(ValueError, match="no exercise 'test.mode', but test.mean, test.guess"):
        check("test.mode", mean)
    with pytest.raises(ValueError, match="no chapter '99'; there are .*test"):
        check("99.mean", mean)


def test_long_values_are_shortened():
    assert len(exercises._short(list(range(1000)))) < 100 and len(exercises._short("a" * 1000)) < 110
