import builtins
import importlib
import math
import pkgutil
import re
import subprocess
import sys
import types

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fmnotes import exercises
from fmnotes.exercises import CHAPTERS, Exercise, Mistake, check, diagnose
from fmnotes.gpt2 import GPT2, GPT2Config
from fmnotes.metrics import bits_per_byte


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
    assert files - {"progress"} == set(CHAPTERS.values()), "name each file of fmnotes/exercises in CHAPTERS"
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
    """What a student is told, on one line; it fits the page that it is printed on."""
    assert check(exercise_id, answer) is None
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 96 and (i == 0 or line.startswith(" " * 8)) for i, line in enumerate(lines))
    return lines[0] + "".join(" " + line.strip() for line in lines[1:]) + "\n"


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
    assert len(exercises._short(torch.zeros(1000))) < 100
    assert exercises._short(torch.eye(2, dtype=torch.bool)) == "[[True, False], [False, True]]"
    assert exercises._short(np.float64(0.5)) == exercises._short(torch.tensor(0.5)) == "0.5"


def test_numbers_are_not_taken_for_true_and_false():
    even = Exercise("test.even", "Even?", "Parity", lambda i: [i % 2 == 0], "two", (), cases=((2,), (3,)))
    assert diagnose(even, lambda i: np.array([i % 2 == 0]))[0] == "solved"
    assert diagnose(even, lambda i: torch.tensor([i % 2 == 0]))[0] == "solved"
    for answer in (lambda i: [1 - i % 2], lambda i: torch.tensor([1.0 - i % 2]), lambda i: np.array([1 - i % 2])):
        state, text = diagnose(even, answer)
        assert state == "wrong" and re.search(r"\(2\) gives \[1(\.0)?\], expected \[True\]", text)
    assert diagnose(Exercise(**vars(even) | {"solution": lambda i: [i, []], "cases": ((1,),)}), lambda i: [True, []])[0]


# ------------------------------------------------------------------------------------- chapters 02 and 02b

FUNCTIONS = "attention_weights|causal_mask|count_parameters|bits_per_byte|adamw_step|word_perplexity"
FOUND = rf"((?:{FUNCTIONS})\(.*?\)) (?:gives|raises) ((?:[wv] = )?)(\[\[.*?\]\]+|[\d.]*\d|\w+Error)"


def in_two_digits(table):
    """The table as lists, True and False as they are."""
    return str((table if table.dtype == torch.bool else table.double().round(decimals=2)).tolist())


@pytest.mark.parametrize(
    "exercise",
    [e for e in registered() if e.id.startswith(("02.", "02b.")) and callable(e.solution)],
    ids=lambda e: e.id,
)
def test_what_a_diagnosis_says_that_the_answer_gives_is_what_it_gives(exercise):
    assert len(exercise.mistakes) >= 6
    for mistake in exercise.mistakes:
        claims = re.findall(FOUND, mistake.diagnosis)
        assert claims, f"no input is named: {mistake.diagnosis}"
        for call, part, value in claims:
            case = eval(f"({call.partition('(')[2][:-1]},)", {"tensor": torch.tensor, "eye": torch.eye})
            assert repr(case) in map(repr, exercise.cases)
            right = exercise.solution(*case)
            if value.endswith("Error"):
                with pytest.raises(getattr(builtins, value)):
                    mistake.answer(*case)
                continue
            got = mistake.answer(*case)
            if part:
                got, right = (result["wmv".index(part[0])] for result in (got, right))
            digits = len(value.partition(".")[2])
            if "[" in value:
                assert in_two_digits(got) == value != in_two_digits(right)
            else:
                assert f"{float(got):.{digits}f}" == value != f"{float(right):.{digits}f}"


@given(st.data())
def test_the_causal_mask_is_its_definition(data):
    total = data.draw(st.integers(1, 20))
    new = data.draw(st.integers(1, total))
    mask = exercises.find("02.causal_mask").solution(new, total)
    assert mask.dtype == torch.bool and mask.shape == (new, total)
    for query, row in zip(range(total - new, total), mask.tolist(), strict=True):
        assert row == [key <= query for key in range(total)]


@pytest.mark.parametrize("config", [GPT2Config.nano(), GPT2Config(50_257, 1024, 768, n_layer=12, n_head=12)])
def test_the_parameters_are_those_of_the_model(config):
    count = exercises.find("02.parameters").solution
    with torch.device("meta"):
        model = GPT2(config)
    sizes = (config.vocab_size, config.context_length, config.d_model, config.n_layer)
    assert count(*sizes) == config.n_parameters == sum(p.numel() for p in model.parameters())
    assert count(50_257, 1024, 768, 12) == 124_439_808


@given(
    st.lists(st.lists(st.floats(0, 10, width=32), min_size=1, max_size=5), min_size=1, max_size=5),
    st.text("aé별🦊", min_size=1),
)
def test_bits_per_byte_are_those_of_the_metrics(windows, text):
    expected = bits_per_byte(math.fsum(map(math.fsum, windows)), len(text.encode()))
    answer = exercises.find("02.bits_per_byte").solution([torch.tensor(window) for window in windows], text)
    assert answer == pytest.approx(expected, rel=1e-5)


def given_bits_per_byte(losses, text):
    """The code as the notebook shows it."""
    mean = sum(window.mean() for window in losses) / len(losses)
    n_tokens = sum(len(window) for window in losses)
    return float(mean * n_tokens / math.log(2) / len(text))


def test_what_a_student_of_chapter_02_reads(capsys):
    def numbers(new, total):
        return torch.ones(new, total).triu(total - new)

    def from_the_first(new, total):
        return torch.arange(total).expand(new, total) >= 1

    def additive(new, total):
        return torch.zeros(new, total) - 1e9 * torch.ones(new, total).triu(total - new + 1)

    def one_bias(v, c, d, n):
        return v * d + c * d + n * (12 * d * d + 13 * d) + 2 * d + v

    def rounded(losses, text):
        return round(float(torch.cat(losses).sum()) / math.log(2) / len(text.encode()), 1)

    assert "there are two bugs, and here is one" in told(capsys, "02.bits_per_byte", given_bits_per_byte)
    assert "the triangle is the wrong way round" in told(capsys, "02.causal_mask", numbers)
    unknown = told(capsys, "02.causal_mask", from_the_first)
    assert "from_the_first(1, 1) gives [[False]], expected [[True]]. Reread “The causal mask”." in unknown
    assert "additive(1, 1) gives [[0.0]], expected [[True]]." in told(capsys, "02.causal_mask", additive)
    assert "one_bias(11, 6, 4, 1) gives 331, expected 320." in told(capsys, "02.parameters", one_bias)
    assert "rounded([tensor([3.])], 'é') gives 2.2, expected 2.16404" in told(capsys, "02.bits_per_byte", rounded)


def test_checking_chapter_01_does_not_import_torch():
    code = "import sys; from fmnotes.exercises import check; check('01.merge', ...); print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "False"


@settings(deadline=None)  # the first optimizer imports much of torch
@given(
    st.tuples(st.floats(-3, 3), st.floats(-3, 3), st.floats(-3, 3), st.floats(0, 3), st.integers(1, 1000)),
    st.tuples(st.floats(1e-5, 0.5), st.floats(0, 0.999), st.floats(0, 0.999), st.floats(1e-8, 0.1), st.floats(0, 1)),
)
def test_the_step_is_that_of_torch(state, setting):
    step = exercises.find("02b.decouple")
    torchs = next(f for f in step.alternatives if f.__name__ == "adamw_of_torch")
    assert step.solution(*state, *setting) == pytest.approx(torchs(*state, *setting), rel=1e-9, abs=1e-9)


def test_the_sums_stop_where_they_stop():
    stops = exercises.find("02b.stall").solution
    formats = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp8 e4m3": torch.float8_e4m3fn}
    for name, dtype in formats.items():
        total = torch.zeros((), dtype=dtype)
        while (following := (total.float() + 1).to(dtype)).float() != total.float():
            total = following
        assert total.float() == stops[name]
    below = np.arange(stops["float32"], dtype=np.float32)
    assert np.array_equal(below + np.float32(1), np.arange(1, stops["float32"] + 1, dtype=np.float32))
    assert np.float32(stops["float32"]) + np.float32(1) == stops["float32"]


def given_word_perplexity(losses, texts):
    """The code as the notebook shows it."""
    return sum(math.exp(sum(row) / len(row)) for row in losses) / len(texts)


def test_what_a_student_of_chapter_02b_reads(capsys):
    def old_averages(w, g, m, v, t, lr, beta1, beta2, eps, decay):
        return exercises.find("02b.decouple").solution(w, g, m, v, t, lr, beta1, beta2, eps, decay)[0], m, v

    def rounded(losses, texts):
        return round(exercises.find("02b.perplexity").solution(losses, texts), 1)

    assert "there are two bugs, and here is one" in told(capsys, "02b.perplexity", given_word_perplexity)
    assert "rounded([[0.5, 1.0, 0.5]], ['red car']) gives 2.7, expected 2.71828" in told(
        capsys, "02b.perplexity", rounded
    )
    unknown = told(capsys, "02b.decouple", old_averages)
    assert re.search(
        r"old_averages\(1\.0, 2\.0, .*\) gives \(0\.\d+, 0\.0, 0\.0\), expected \(0\.\d+, 1\.0, 0\.25\)", unknown
    )
    stops = exercises.find("02b.stall").solution
    assert "the key 'fp8 e4m3' is missing" in told(
        capsys, "02b.stall", {k: v for k, v in stops.items() if k[:3] != "fp8"}
    )
    assert "bf16 is wrong, the others are right" in told(capsys, "02b.stall", stops | {"bf16": 2048})
    for wrong in ({}, stops | {"fp16": 3}, dict.fromkeys(stops, math.inf), 16):
        assert not re.search(r"\b(16777216|2048|256)\b", told(capsys, "02b.stall", wrong))
