"""The guide's README, the courses, and the lessons that exist say the same."""

import re

import pytest

from fmnotes import ROOT
from fmnotes.__main__ import main
from fmnotes.courses import COURSES, GUIDE, NUMBERED, course
from fmnotes.run import RunError, available

README = (ROOT / "notebooks" / "guide" / "README.md").read_text(encoding="utf-8")
LESSONS = re.findall(r"^\| \[?(\d\d_\w+)(\]\(\1\.ipynb\))? \|", README, re.MULTILINE)
PATHS = dict(re.findall(r"^\| (\w+) \| [^|]+ \| (01_bpe[^|]+|02_gpt2[^|]+) \|$", README, re.MULTILINE))


def test_the_guide_has_25_lessons_in_eight_sections():
    assert [f"guide/{name}" for name, _ in LESSONS] == list(GUIDE) and len(GUIDE) == 25
    assert [name[:2] for name, _ in LESSONS] == [f"{number:02}" for number in range(1, 26)]
    assert len(re.findall(r"^\| \*\*", README, re.MULTILINE)) == 8


def test_what_exists_is_linked_and_nothing_else():
    assert {f"guide/{name}" for name, link in LESSONS if link} == {
        name for name in available() if name.startswith("guide/")
    }


def test_the_paths_are_those_of_the_courses():
    for name in ("practical", "vision", "multimodal"):
        assert [lesson.rpartition("/")[2] for lesson in COURSES[name]] == PATHS[name].strip().split(", ")
    assert COURSES["complete"] == (*NUMBERED, *GUIDE)
    assert all(set(lessons) <= set(COURSES["complete"]) for lessons in COURSES.values())
    assert {name for name in available() if re.match(r"\d", name)} <= set(NUMBERED)


def test_a_course_is_taken_in_its_order_as_far_as_it_exists(tmp_path):
    for name in ("02_gpt2", "05_rag", "01_bpe", "guide/19_peft", "03_clip"):
        path = tmp_path / "notebooks" / f"{name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert course("practical", root=tmp_path) == ["01_bpe", "02_gpt2", "guide/19_peft", "05_rag"]
    (tmp_path / "notebooks" / "profiles").mkdir()
    (tmp_path / "notebooks" / "profiles" / "real.yaml").write_text("05_rag: {A: 1}\n01_bpe: {B: 2}\n")
    assert course("practical", "real", tmp_path) == ["01_bpe", "05_rag"]
    with pytest.raises(RunError, match="Nothing of the course 'vision' is there yet in the profile 'real'"):
        course("vision", "real", tmp_path)
    with pytest.raises(RunError, match="no course 'sound'. There are: practical, vision, multimodal, complete"):
        course("sound", root=tmp_path)


def test_a_course_and_a_notebook_exclude_each_other(capsys):
    assert main(["run", "--course", "vision", "01_bpe"]) == 2
    assert "either notebooks or a course" in capsys.readouterr().err
