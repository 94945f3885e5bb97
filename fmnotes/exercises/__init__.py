"""Exercises that diagnose: a wrong answer gets the name of its mistake.

A chapter's exercises stand in the module that ``CHAPTERS`` names, in a list ``EXERCISES``. An exercise knows the right
answer and what people typically write instead; the student's answer is run on the same cases as all of them, and
whoever gives the same results has made the same mistake. ``progress`` remembers what is solved.
"""

import contextlib
import copy
import importlib
import reprlib
import textwrap
from collections.abc import Callable
from dataclasses import dataclass

from fmnotes.checks import same
from fmnotes.exercises import progress

CHAPTERS: dict[str, str] = {
    "01": "bpe",
    "02": "gpt2",
    "02b": "training",
    "02c": "distributed",
    "03": "clip",
    "04": "connector",
    "05": "retrieval",
    "06": "system",
    "g09": "moe",
    "g19": "lora",
    "g22": "inference",
}
"""The part of an exercise's id before the dot, and the module in this folder, imported when it is asked for.

Those of the guide begin with a g, since it has numbers of its own.
"""


@dataclass(frozen=True)
class Mistake:
    """What someone who makes it would answer, and one or two sentences that say what went wrong, to the student.

    ``given`` marks the code that the notebook hands out with its bugs: whoever returns it has not tried anything yet.
    """

    answer: object
    diagnosis: str
    given: bool = False


@dataclass(frozen=True)
class Exercise:
    """One exercise.

    Args:
        id: chapter, dot, name: "01.merge".
        title: what is asked, in a few words.
        reread: the heading of the section that explains it.
        solution: a function, or a value where the exercise asks for a prediction.
        verified: what the cases verify, shown when it is solved: "overlapping pairs, the empty list, …".
        mistakes: at least five, each with results of its own on the cases.
        cases: the arguments of each call; the empty case for a prediction.
        alternatives: other right answers, which a test runs.
        tolerance: the largest difference of numbers that still counts as right.
    """

    id: str
    title: str
    reread: str
    solution: object
    verified: str
    mistakes: tuple[Mistake, ...]
    cases: tuple[tuple, ...] = ((),)
    alternatives: tuple = ()
    tolerance: float = 0.0


def check(exercise_id: str, answer: object, remember: bool = True) -> None:
    """Print whether an exercise is open, solved, or wrong and why. Whatever the answer does, it raises nothing.

    ``python -m fmnotes progress`` lists what was solved or tried.

    Args:
        exercise_id: like "01.merge".
        answer: the function, or the value. It is open while the function raises NotImplementedError or the value is
            ``...`` (a prediction not made yet).
        remember: whether progress is noted: no where the answer is not the student's, as in the reference solutions.

    Raises:
        ValueError: if there is no such exercise, which is the notebook's mistake and not the student's.
    """
    exercise = find(exercise_id)
    state, text = diagnose(exercise, answer)
    line = f"{state:6}  {exercise.id}  {exercise.title}" + (f": {text}" if text else "")
    options = {"subsequent_indent": " " * 8, "break_long_words": False, "break_on_hyphens": False}
    print("\n".join(textwrap.fill(part, width=96, **options) for part in line.split("\n")))
    handed_back = any(mistake.given and text.startswith(mistake.diagnosis) for mistake in exercise.mistakes)
    if remember and state != "open" and not handed_back:
        progress.remember(exercise.id, progress.SOLVED if state == "solved" else progress.TRIED)


def chapter_of(notebook: str) -> str:
    """The chapter of a notebook by its name: "02b_training" is of 02b, "guide/09_moe" of g09."""
    folder, _, name = notebook.rpartition("/")
    return ("g" if folder == "guide" else folder) + name.partition("_")[0]


def of_chapter(chapter: str) -> list[Exercise]:
    """The exercises of a chapter, such as "02b"."""
    return importlib.import_module(f"fmnotes.exercises.{CHAPTERS[chapter]}").EXERCISES


def find(exercise_id: str) -> Exercise:
    """The exercise of that id; a ValueError lists the chapter's others."""
    chapter = exercise_id.partition(".")[0]
    if chapter not in CHAPTERS:
        raise ValueError(f"exercise {exercise_id!r}: no chapter {chapter!r}; there are {', '.join(CHAPTERS) or 'none'}")
    exercises = of_chapter(chapter)
    for exercise in exercises:
        if exercise.id == exercise_id:
            return exercise
    raise ValueError(f"there is no exercise {exercise_id!r}, but {', '.join(exercise.id for exercise in exercises)}")


def diagnose(exercise: Exercise, answer: object) -> tuple[str, str]:
    """The state of an answer, "open", "solved" or "wrong", and what to tell the student."""
    reread = f" Reread “{exercise.reread}”."
    if callable(exercise.solution) and answer is not ... and not callable(answer):
        return "wrong", f"hand over the function itself, not its result, {_short(answer)}."
    results, expected = _results(exercise, answer), _results(exercise, exercise.solution)
    if any(result is ... or isinstance(result, NotImplementedError) for result in results):
        return "open", ""
    if _right(results, expected, exercise.tolerance):
        return "solved", exercise.verified
    for mistake in exercise.mistakes:
        if _agree(results, _results(exercise, mistake.answer), exercise.tolerance):
            return "wrong", mistake.diagnosis + reread
    if all(result is None for result in results):
        return "wrong", "the function returns None. Does it end in `return`?" + reread
    if not callable(exercise.solution):
        return "wrong", "that is not what happens, and not one of the usual mistakes either." + reread
    return "wrong", _first_difference(exercise, answer, results, expected) + reread


def _first_difference(exercise: Exercise, answer: Callable, results: list, expected: list) -> str:
    """The smallest case that tells the answer from the solution, in words."""
    differing = [
        (len(repr(case)), i)
        for i, case in enumerate(exercise.cases)
        if not _right(results[i : i + 1], expected[i : i + 1], exercise.tolerance)
    ]
    i = min(differing)[1]
    call = f"{getattr(answer, '__name__', 'answer')}({', '.join(map(_short, exercise.cases[i]))})"
    if isinstance(results[i], BaseException):
        return f"{call} raises {type(results[i]).__name__}: {results[i]}; expected {_short(expected[i])}."
    return f"{call} gives {_short(results[i])}, expected {_short(expected[i])}."


def _results(exercise: Exercise, answer: object) -> list:
    """What an answer gives on each case: a value, or the exception that it raised. Each call gets its own copy."""
    if not callable(answer):
        return [answer] * len(exercise.cases)
    results = []
    for case in exercise.cases:
        try:
            result = answer(*copy.deepcopy(case))
        except (Exception, SystemExit) as error:  # `exit()` in an answer would end the notebook
            result = error
        results.append(result)
    return results


def _right(results: list, expected: list, tolerance: float) -> bool:
    """Whether results agree with the solution's, and are True and False where those are: 1 and 0 mask nothing."""
    return _agree(results, expected, tolerance) and all(
        _is_boolean(result) or not _is_boolean(value) for result, value in zip(results, expected, strict=True)
    )


def _is_boolean(value: object) -> bool:
    if isinstance(value, (list, tuple)):
        return len(value) > 0 and all(map(_is_boolean, value))
    return isinstance(value, bool) or "bool" in str(getattr(value, "dtype", ""))


def _agree(results: list, others: list, tolerance: float) -> bool:
    return all(
        type(a) is type(b) if isinstance(a, BaseException) or isinstance(b, BaseException) else same(a, b, tolerance)
        for a, b in zip(results, others, strict=True)
    )


def _short(value: object) -> str:
    """The value as Python writes it, tensors and arrays as lists, its middle left out if it is long."""
    writer = reprlib.Repr()
    writer.maxlist = writer.maxtuple = writer.maxdict = writer.maxset = 12
    writer.maxstring = writer.maxother = 100
    with contextlib.suppress(Exception):  # only tensors and arrays have it, and of those no sparse one
        value = value.tolist()
    return writer.repr(value)
