"""What the notebooks hand out is what the exercises expect, and what predictions call right is what happens."""

import math
import re
from collections import Counter

import nbformat
import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from fmnotes import ROOT, bpe, clip, data, generation, gpt2
from fmnotes.exercises import CHAPTERS, chapter_of, check, diagnose, find, of_chapter
from fmnotes.museum import prompt
from fmnotes.run import available
from fmnotes.studies.connector_museum import between

CELLS = {
    match[1]: cell
    for name in available()
    if chapter_of(name) in CHAPTERS
    for cell in nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4).cells
    if cell.cell_type == "code" and (match := re.search(r'check\("([\w.]+)"', cell.source))
}
GIVEN = [e.id for chapter in CHAPTERS for e in of_chapter(chapter) if any(m.given for m in e.mistakes)]


def test_each_exercise_stands_in_its_notebook():
    assert set(CELLS) == {exercise.id for chapter in CHAPTERS for exercise in of_chapter(chapter)}


@pytest.mark.parametrize("exercise_id", GIVEN)
def test_given_code_is_told_its_bugs_and_that_is_committed(exercise_id, capsys):
    names = {"math": math, "Counter": Counter, "Float": Float, "Tensor": Tensor, "check": lambda _, answer: answer}
    code, _, call = CELLS[exercise_id].source.rpartition("\n")
    exec(code, names)
    answer = eval(call, names)
    state, text = diagnose(find(exercise_id), answer)
    assert state == "wrong"
    assert [mistake.given for mistake in find(exercise_id).mistakes if text.startswith(mistake.diagnosis)] == [True]
    check(exercise_id, answer)
    assert "".join(output.text for output in CELLS[exercise_id].outputs) == capsys.readouterr().out


def test_the_dashes_double():
    merges = bpe.train_bpe("-" * 64, vocab_size=256 + 6).merges
    assert [len(a + b) for a, b in merges] == [2**n for n in range(1, find("01.dashes").solution + 1)]


def test_the_positions_without_a_cache_are_those_computed():
    torch.manual_seed(0)
    model, computed = gpt2.GPT2(gpt2.GPT2Config.nano(50)).eval(), []
    model.ln_f.register_forward_hook(lambda *call: computed.append(call[-1].shape[1]))
    generation.generate(model, list(range(17)), 60, use_cache=False)
    assert sum(computed) == find("02.positions").solution
    computed.clear()
    generation.generate(model, list(range(17)), 60)
    assert sum(computed) == 76


@pytest.mark.parametrize("seed", range(3))
def test_so_many_captions_push(seed):
    dice = torch.Generator().manual_seed(seed)
    u, v = (clip.unit(torch.randn(n, 32, generator=dice)) for n in (200, 100))
    exercise = find("03.push")
    for tau, half in ((0.03, 1), (0.07, exercise.solution), (0.2, 20), (1.0, 43)):  # the others are in diagnoses
        shares = (u @ v.T / tau).softmax(1).sort(1, descending=True).values.cumsum(1).mean(0)
        assert abs(int((shares < 0.5).sum()) + 1 - half) <= exercise.tolerance


def test_so_much_work_is_left():
    visual = clip.CLIP.from_pretrained(data.checkpoint("clip-museum")).visual
    language = gpt2.GPT2.from_pretrained(data.checkpoint("gpt2-museum-small"))
    words = bpe.Tokenizer.from_pretrained(data.checkpoint("tokenizer-museum"))
    question = "What colour is the object right of the black circle?"
    text = len(words.encode(prompt.END + prompt.build(question), special_tokens="allow"))
    models = [between(kind, visual, language) for kind in ("mlp", "qformer")]
    assert [model.config.n_tokens for model in models] == [64, 16] and text == 17
    costs = [model.flops(model.config.n_tokens + text, answer=4) for model in models]
    exercise = find("04.reader")
    assert abs(100 * costs[1]["language"] / costs[0]["language"] - exercise.solution) < 0.5
    both = [cost["language"] + cost["connector"] for cost in costs]
    assert any(abs(100 * both[1] / both[0] - mistake.answer) < 0.5 for mistake in exercise.mistakes)
