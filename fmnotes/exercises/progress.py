"""Which exercises are solved in this copy: ``runs/progress.json``, a file on the reader's own machine, not in git.

It maps the id of an exercise to "solved" or "tried"; what is not in it is open. A file that cannot be read counts as
empty, and one that cannot be written is left alone: no exercise fails because of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fmnotes import ROOT, runs

if TYPE_CHECKING:
    from fmnotes.exercises import Exercise

SOLVED, TRIED, OPEN = "solved", "tried", "open"


def path() -> Path:
    """Where the states are kept."""
    return runs.folder(ROOT) / "progress.json"


def load() -> dict[str, str]:
    """The states by id, without what is no state; empty if there is no file, or none that can be read."""
    try:
        content = runs.read(path())
    except (OSError, ValueError, RecursionError):  # no access, no JSON, JSON that is nested without end
        return {}
    return {name: state for name, state in content.items() if state in (SOLVED, TRIED)}


def remember(exercise_id: str, state: str) -> None:
    """Note a state, atomically. What was solved once stays solved."""
    states = load()
    if states.get(exercise_id) in (SOLVED, state):
        return
    with contextlib.suppress(OSError):  # a folder that cannot be written, a full disk
        runs.write(path(), states | {exercise_id: state})


def table(chapters: Mapping[str, Sequence[Exercise]], states: Mapping[str, str]) -> str:
    """The exercises of each chapter, by its notebook's name, with their states, and how many are solved."""
    exercises = [exercise for chapter in chapters.values() for exercise in chapter]
    width = max((len(exercise.id) for exercise in exercises), default=0)
    blocks = []
    for chapter, those in chapters.items():
        lines = [f"  {e.id:{width}}  {states.get(e.id, OPEN):6}  {e.title}" for e in those]
        blocks.append("\n".join([chapter, *lines]))
    solved = sum(states.get(exercise.id) == SOLVED for exercise in exercises)
    return "\n\n".join([*blocks, f"{solved} of {len(exercises)} solved"])
