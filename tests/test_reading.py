"""Pages with many questions, exams in reading and how they are marked, and the rows that gpt2-museum is trained on."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM, AutoTokenizer

from fmnotes import data, evaluation
from fmnotes.bpe import Tokenizer
from fmnotes.gpt2 import GPT2, GPT2Config, attention_weights, copying
from fmnotes.museum import catalogue, contexts, knowledge, prompt, scenes
from fmnotes.museum.dice import Dice
from fmnotes.studies.gpt2_museum import deepened
from fmnotes.studies.museum_rows import MuseumRows, tokenizer

ABOUT = catalogue.museum("train", 0, 3)
STORE = {page["id"]: page for page in ABOUT.pages()}


# ------------------------------------------------------------------------------------------------ contexts and the exam


def test_every_question_of_a_context_has_the_answer_that_its_pages_give():
    answers = []
    for seed in range(60):
        context = contexts.draw(ABOUT, STORE, Dice(seed), 1 + seed % 5, 12)
        assert len({page["id"] for page in context.pages}) == len(context.pages) == 1 + seed % 5
        given = [one.answer for one in context.asked if one.answer != prompt.UNKNOWN]
        assert len(set(given)) == len(given), "a fact is asked for twice"
        for one in context.asked:
            sentence, number = prompt.cited(one.answer)
            if one.answer != prompt.UNKNOWN:
                assert sentence in context.pages[number - 1]["text"] and prompt.says(one.answer, one.value)
        answers += [one.answer for one in context.asked]
    share = answers.count(prompt.UNKNOWN) / len(answers)
    assert 0.1 < share < 0.35
    assert contexts.draw(ABOUT, STORE, Dice(5), 3, 9) == contexts.draw(ABOUT, STORE, Dice(5), 3, 9)


def test_balanced_contexts_ask_more_of_two_hops_and_leave_fewer_of_them_unknown():
    shares = {}
    for balanced in (False, True):
        two, unknown, n = 0, 0, 0
        for seed in range(60):
            context = contexts.draw(ABOUT, STORE, Dice(seed), 3 + seed % 3, 12, balanced=balanced)
            n += len(context.asked)
            for one in context.asked:
                if one.answer == prompt.UNKNOWN:
                    unknown += 1
                    continue
                sentence, number = prompt.cited(one.answer)
                page = context.pages[number - 1]
                assert sentence in page["text"] and prompt.says(one.answer, one.value)
                two += page["kind"] in ("maker", "city", "wing") and page["subject"] not in one.question
        shares[balanced] = two / (n - unknown), unknown / n
    assert shares[True][0] > 0.2 > 2 * shares[False][0]
    assert 0.1 < shares[True][1] < 0.3
    assert contexts.draw(ABOUT, STORE, Dice(5), 3, 9, None, True) == contexts.draw(
        ABOUT, STORE, Dice(5), 3, 9, None, True
    )
    few = contexts.draw(ABOUT, STORE, Dice(1), 1, 99, balanced=True)  # one page does not say as much
    assert len(few.asked) < 30


def test_among_pages_of_another_museum_every_question_names_its_own():
    foreign = {page["id"]: page for page in catalogue.museum("train", 0, 4).pages()}
    namesakes = 0
    for seed in range(40):
        context = contexts.draw(ABOUT, STORE, Dice(seed), 2 + seed % 4, 8, foreign)
        strangers = [page for page in context.pages if page["id"] in foreign]
        own = [page for page in context.pages if page["id"] in STORE]
        assert strangers and own and len(strangers) + len(own) == len(context.pages) == 2 + seed % 4
        assert len({page["id"] for page in context.pages}) == len(context.pages)
        assert all(ABOUT.name in one.question for one in context.asked)
        for one in (one for one in context.asked if one.answer != prompt.UNKNOWN):
            sentence, number = prompt.cited(one.answer)
            assert context.pages[number - 1] in own and sentence in context.pages[number - 1]["text"]
        namesakes += any(a["subject"] == b["subject"] for a in own for b in strangers)
    assert namesakes > 10
    for item in contexts.exam("validation", 8, namesakes=True):
        titles = [page.partition("\n")[0].partition(": ") for page in item.pages]
        assert len({museum for museum, _, _ in titles}) == 2 and 3 <= len(item.pages) <= 5
        if item.kind != "withheld":
            assert titles[prompt.cited(item.answer)[1] - 1][0].removeprefix("The ") in item.question


def test_two_hops_begin_where_a_page_leads_on():
    city = next(page for page in STORE.values() if page["kind"] == "city")
    with pytest.raises(ValueError, match="two hops begin at exhibit, maker, museum; this page is about a city"):
        knowledge.question_on(ABOUT, STORE, city, "two_hop", Dice(0))
    maker = next(page for page in STORE.values() if page["kind"] == "maker")
    row = knowledge.question_on(ABOUT, STORE, maker, "two_hop", Dice(0))
    assert row["pages"][0] == maker["id"] and len(row["pages"]) == 2


def test_an_exam_asks_as_many_of_each_kind_and_withholds_what_it_says():
    items = contexts.exam("validation", 20)
    assert [item.kind for item in items] == [kind for kind in contexts.KINDS for _ in range(20)]
    assert {len(item.pages) for item in items} == {3, 4, 5}
    for item in items:
        if item.kind == "withheld":
            assert item.answer == prompt.UNKNOWN != item.value
        else:
            sentence, number = prompt.cited(item.answer)
            assert prompt.says(item.answer, item.value) and sentence in item.pages[number - 1]
    trained = {page["text"] for n in range(40) for page in catalogue.museum("train", 0, n).pages()}
    assert not trained & {page for item in items for page in item.pages}
    assert {item.kind for item in contexts.exam("validation", 5, sizes=(1,))} == {"one hop", "withheld"}


# ---------------------------------------------------------------------------------------------------- how it is marked


@pytest.fixture(scope="module")
def learned():
    """A small model that has learned the answers to three items by heart, and the items."""
    items = contexts.exam("validation", 1, sizes=(2,))
    torch.manual_seed(0)
    model = GPT2(GPT2Config(4096, 400, d_model=64, n_layer=1, n_head=2))
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    rows = [
        tokenizer().encode(prompt.END + prompt.build(item.question, item.pages, item.answer), special_tokens="allow")
        for item in items
    ]
    for _ in range(60):
        optimizer.zero_grad()
        for row in rows:
            ids = torch.tensor([row])
            targets = ids[:, 1:].clone()
            targets[:, : row.index(tokenizer().special_tokens[prompt.ANSWER])] = -100
            model.loss(ids[:, :-1], targets).backward()
        optimizer.step()
    return model.eval(), items


def test_what_was_learned_by_heart_is_read_right_and_another_answer_is_not(learned):
    model, items = learned
    scores = evaluation.read(model, tokenizer(), items)
    assert scores.answers == tuple(item.answer for item in items)
    assert scores.right.all() and scores.citation == 1 and scores.wrongly_unknown == 0
    assert all(scores.exact_match(kind) == 1 for kind in contexts.KINDS)
    moved = [
        contexts.Item("one hop", items[2].question, items[2].pages, "The red star is here. [1]", "here"),
        contexts.Item("withheld", items[0].question, items[0].pages, prompt.UNKNOWN, items[0].value),
        contexts.Item("two hops", items[1].question, items[1].pages, "x [1]", items[1].value),
    ]
    scores = evaluation.read(model, tokenizer(), moved)
    assert scores.answers == (prompt.UNKNOWN, items[0].answer, items[1].answer)  # written out, as it learned them
    assert scores.right.tolist() == [False, False, True], "another wording of the same value is right"
    assert scores.unknown.tolist() == [True, False, False] and scores.wrongly_unknown == 0.5
    assert scores.cited.tolist() == [False, False, prompt.cited(items[1].answer)[1] == 1]


def test_an_answer_that_leaves_the_right_one_midway_is_written_from_there(learned):
    model, items = learned
    item = next(item for item in items if len(item.answer.split()) > 5)
    for words in (1, 3, 5):
        other = " ".join([*item.answer.split()[:words], "elsewhere. [1]"])
        scores = evaluation.read(model, tokenizer(), [replace(item, answer=other)])
        assert scores.answers == (item.answer,)


def test_the_cost_of_an_answer_is_that_of_its_tokens_and_its_end(learned):
    model, items = learned
    for item, (agrees, nats) in zip(items, evaluation.judged(model, tokenizer(), items, batch_size=2), strict=True):
        asked = tokenizer().encode(prompt.END + prompt.build(item.question, item.pages), special_tokens="allow")
        answer = tokenizer().encode(item.answer + prompt.END, special_tokens="allow")
        with torch.no_grad():
            logits = model(torch.tensor([asked + answer]))[0, len(asked) - 1 : -1]
        assert agrees and nats == pytest.approx(
            F.cross_entropy(logits, torch.tensor(answer), reduction="sum").item(), abs=1e-3
        )


def test_attention_weights_are_those_of_transformers():
    torch.manual_seed(0)
    model = GPT2(GPT2Config(50, 16, d_model=24, n_layer=3, n_head=4)).double()
    for parameter in model.parameters():
        parameter.data = 0.3 * torch.randn_like(parameter)
    ids = torch.randint(50, (11,))
    theirs = model.to_transformers()
    theirs.set_attn_implementation("eager")
    with torch.no_grad():
        expected = torch.stack(theirs(ids[None], output_attentions=True).attentions)[:, 0]
    ours = attention_weights(model, ids)
    assert (ours - expected).abs().max() < 1e-12
    assert torch.allclose(copying(model, ids, [(5, 2), (9, 4)]), (ours[:, :, 4, 2] + ours[:, :, 8, 4]) / 2)


def test_the_heads_are_looked_at_where_the_value_is_copied(learned, monkeypatch):
    _, items = learned
    seen = []
    monkeypatch.setattr(evaluation, "copying", lambda model, ids, pairs: seen.append((ids, pairs)) or torch.zeros(1, 1))
    evaluation.reading_heads(None, tokenizer(), items)
    assert len(seen) == 2  # the third is unknown
    for item, (ids, pairs) in zip(items, seen, strict=False):
        copied = [int(ids[to]) for to, _ in sorted(pairs)]
        assert tokenizer().decode(copied) == f" {item.value}"
        assert copied == [int(ids[source]) for _, source in sorted(pairs)]
        assert max(source for _, source in pairs) < len(ids) - 30 < min(to for to, _ in pairs)


# ------------------------------------------------------------------------------------------------- rows, and the stages


def test_rows_are_a_function_of_their_number_and_count_what_they_should():
    shares = {"reading": 2, "stories": 1, "others": 1}
    rows = MuseumRows(384, shares, (1, 3))
    ids, targets, weights = rows[5]
    assert all(torch.equal(a, b) for a, b in zip(rows[5], MuseumRows(384, shares, (1, 3))[5], strict=True))
    assert ids.shape == targets.shape == weights.shape == (4, 384) and rows.size == 4 * 384
    assert torch.equal(ids[:, 1:], targets[:, :-1]) and not torch.equal(ids, rows[6][0])
    special = tokenizer().special_tokens
    assert (weights[targets == special[prompt.PAD]] == 0).all() and (weights[2:] == 1).all()
    for row, counts in zip(targets[:2], weights[:2], strict=True):
        answers = tokenizer().decode(row[counts >= rows.answers].tolist()).split(prompt.END)[:-1]
        assert answers and all(prompt.cited(a)[1] or a == prompt.UNKNOWN for a in answers)


def test_a_hypothesis_and_a_described_scene_keep_to_the_layout():
    assert prompt.build_hypothesis("Who?") == "<|question|>Who?<|page|>"
    assert prompt.build_hypothesis("Who?", "A page.") == "<|question|>Who?<|page|>A page."
    with pytest.raises(ValueError, match="the page holds the special token"):
        prompt.build_hypothesis("Who?", "A <|page|>")
    scene = scenes.Scene((scenes.Object("red", "star", "small", 0, 2), scenes.Object("blue", "cross", "large", 3, 1)))
    assert prompt.describe(scene) == "<|image|>small red star 0 2, large blue cross 3 1<|image|>"


@pytest.mark.parametrize("n_layer", [2, 4, 6])
def test_a_deepened_model_computes_the_same_and_can_learn(n_layer):
    torch.manual_seed(0)
    model = GPT2(GPT2Config(40, 16, d_model=16, n_layer=2, n_head=2))
    ids = torch.randint(40, (3, 12))
    deeper = deepened(model, n_layer)
    assert deeper.config.n_layer == n_layer
    assert torch.allclose(model(ids), deeper(ids), atol=1e-6)
    deeper.loss(ids[:, :-1], ids[:, 1:]).backward()
    assert all(block.attn.c_proj.weight.grad.abs().max() > 0 for block in deeper.h)
    with pytest.raises(ValueError, match="2 blocks become a multiple of 2, not 5"):
        deepened(model, 5)


def test_picture_questions_go_on_where_no_words_point_at_an_object(monkeypatch):
    """Of four equal objects in a rectangle none can be pointed at: such a scene must not break off the stream."""
    corners = [scenes.Object("blue", "triangle", "large", row, column) for row in (0, 1) for column in (0, 3)]
    drawn, sample = [scenes.Scene(tuple(corners))], scenes.sample
    monkeypatch.setattr(scenes, "sample", lambda *given: drawn.pop() if drawn else sample(*given))
    asked = knowledge.questions(ABOUT, 40)
    assert not drawn and len(asked) == 40
    assert not any(row["objects"] == scenes.Scene(tuple(corners)).to_row()["objects"] for row in asked)


# ------------------------------------------------------------------------------------------------------ what is shipped


def test_gpt2_museum_opens_in_transformers_and_reads():
    folder = data.checkpoint("gpt2-museum")
    assert sum(file.stat().st_size for file in folder.iterdir()) < 22e6
    model, theirs = (
        GPT2.from_pretrained(folder).eval(),
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
    )
    assert model.config == GPT2Config(4096, 1024, d_model=256, n_layer=12, n_head=8)
    ours, other = Tokenizer.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    items = contexts.exam("test", 4)
    text = prompt.END + prompt.build(items[0].question, items[0].pages)
    ids = ours.encode(text, special_tokens="allow")
    assert ids == other.encode(text) == tokenizer().encode(text, special_tokens="allow")
    with torch.no_grad():
        torch.testing.assert_close(model(torch.tensor([ids])), theirs(torch.tensor([ids])).logits, rtol=0, atol=1e-3)
    written = theirs.generate(torch.tensor([ids]), max_new_tokens=60, do_sample=False, pad_token_id=other.pad_token_id)
    scores = evaluation.read(model, ours, items)
    assert other.decode(written[0, len(ids) :], skip_special_tokens=True) == scores.answers[0]
    assert scores.right[scores.of("one hop")].mean() >= 0.5, "by chance it would be about one in four"
