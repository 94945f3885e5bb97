"""What the towers of notebook 05 learn from, and the studies about them."""

import json

import pytest
import torch

from fmnotes.museum import catalogue, knowledge
from fmnotes.retrieval import CrossEncoder, Encoder, EncoderConfig
from fmnotes.studies import museum_pages, rag_answers, retrieval_growth, retrieval_museum
from fmnotes.studies.museum_rows import tokenizer
from fmnotes.training import read_metrics


def decoded(ids: torch.Tensor) -> list[str]:
    special = tokenizer().special_tokens.values()
    return [tokenizer().decode([token for token in row if token not in special]) for row in ids.tolist()]


def test_each_question_stands_beside_the_page_that_answers_it():
    batches = museum_pages.QuestionPages(3, 20, seed=5)
    questions, pages = (decoded(part) for part in batches[1])
    assert all(torch.equal(a, b) for a, b in zip(batches[1], museum_pages.QuestionPages(3, 20, seed=5)[1]))
    assert len(questions) == len(set(pages)) == 60
    for number in range(3):
        museum = catalogue.museum("train", 5, 3 + number)
        of_text = {page["text"]: page for page in museum.pages()}
        for question, page in list(zip(questions, pages))[20 * number : 20 * (number + 1)]:
            assert museum.name in question
            subject = of_text[page]["subject"]
            code = of_text[page]["code"]
            paraphrased = any(
                f"{colour} {shape}" in question
                for colour in knowledge.COLOUR_WORDS.get(subject.split()[0], ())
                for shape in knowledge.SHAPE_WORDS.get(subject.split()[-1], ())
            )
            assert subject in question or code and code in question or paraphrased, (question, subject)
    other = museum_pages.QuestionPages(3, 20, seed=6)[1]
    assert decoded(other[0]) != questions


def test_a_question_before_its_first_page_stands_beside_the_second():
    batches = museum_pages.QuestionPages(3, 20, seed=5, second=True)
    assert "second" in batches.facts and "second" not in museum_pages.QuestionPages(3, 20, seed=5).facts
    questions, pages = (decoded(part) for part in batches[1])
    assert len(questions) == len(set(pages)) == 60
    texts = {page["text"]: page for n in range(3) for page in catalogue.museum("train", 5, 3 + n).pages()}
    long = 0
    for question, page in zip(questions, pages):
        asked, _, given = question.partition("\n")
        if given:  # the page of the first step, which names the thing that the second is about
            long += 1
            assert texts[given]["museum"] == texts[page]["museum"] and given != page
            assert texts[page]["subject"] in given
        else:
            assert texts[page]["museum"] in asked
    assert 6 < long < 30


def test_a_reader_of_pairs_gets_the_right_page_first_and_wrong_ones_after_it():
    batches = museum_pages.QuestionPages(3, 6, others=7, seed=1)
    (rows,) = batches[0]
    assert rows.shape[0] == 3 * 6 * 8
    questions, pages = (decoded(part) for part in museum_pages.QuestionPages(3, 6, seed=1)[0])
    texts = decoded(rows)
    alike = 0
    for n, (question, page) in enumerate(zip(questions, pages)):
        mine = texts[8 * n : 8 * n + 8]
        assert mine[0] == question + page and len(set(mine)) == 8
        assert all(text.startswith(question) for text in mine)
        title = page.partition("\n")[0].partition(": ")[2]
        alike += sum(text[len(question) :].partition("\n")[0].endswith(f": {title}") for text in mine[1:])
    assert alike > 10  # things of the same name in other museums


def test_losses_start_at_those_of_a_guesser_and_fall():
    torch.manual_seed(0)
    tower, batch = Encoder(EncoderConfig()), museum_pages.QuestionPages(2, 16)[0]
    optimizer = torch.optim.Adam(tower.parameters(), 1e-3)
    losses = []
    for _ in range(4):
        loss = museum_pages.loss(tower, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    torch.manual_seed(0)
    reranker, pairs = CrossEncoder(EncoderConfig()), museum_pages.QuestionPages(2, 4, others=7)[0]
    torch.nn.init.zeros_(reranker.score.weight)
    guessed = museum_pages.ranked_loss(7)(reranker, pairs).item()
    assert guessed == pytest.approx(torch.tensor(8.0).log().item(), abs=1e-5)


def test_the_towers_are_trained_and_shipped(tmp_path, monkeypatch):
    for name, value in {
        "STEPS": {"tower": 4, "reranker": 3, "second": 2}, "RUNS": tmp_path / "runs", "SHIPPED": tmp_path / "shipped",
        "MUSEUMS": 2, "EACH": 8, "PAIRS": (2, 2), "LOOKED_AT": 1,
    }.items():  # fmt: skip
        monkeypatch.setattr(retrieval_museum, name, value)
    monkeypatch.setattr(retrieval_museum, "chosen", lambda model: {"right": 0.5})
    monkeypatch.setattr(retrieval_museum, "found", lambda model: {"recall": 0.5})
    retrieval_museum.main()
    written = {file: file.read_bytes() for file in (tmp_path / "shipped").rglob("*.safetensors")}
    assert len(written) == 2
    tower = Encoder.from_pretrained(tmp_path / "shipped")
    reranker = CrossEncoder.from_pretrained(tmp_path / "shipped" / "reranker")
    assert not torch.equal(tower.text.encoder["layer"][0].intermediate["dense"].weight,
                           reranker.text.encoder["layer"][0].intermediate["dense"].weight)  # fmt: skip
    assert len([line for line in read_metrics(tmp_path / "runs" / "tower" / "metrics.jsonl") if "loss" in line]) == 4
    retrieval_museum.main()  # finds everything done
    assert all(file.read_bytes() == content for file, content in written.items())


def test_a_look_at_the_training_counts_hits():
    torch.manual_seed(0)
    found = retrieval_museum.found(Encoder(EncoderConfig()).eval(), number=1)
    assert 0 <= found["whole, recall@1"] <= found["whole, recall@5"] < 0.6
    assert 0 <= found["second, recall@1"] <= found["second, recall@5"] < 0.6
    assert {"late, recall@1", "late, code, recall@5", "whole, paraphrase, recall@1"} <= set(found)


def test_the_shipped_tower_finds_pages_of_museums_that_it_never_met():
    tower = Encoder.from_pretrained(retrieval_museum.SHIPPED).eval()
    found = retrieval_museum.found(tower, "test", 2)
    assert found["whole, recall@5"] > 0.9 and found["late, recall@5"] > 0.95
    assert found["second, recall@5"] > 0.6


# --------------------------------------------------------------------------------------------------------------- growth


def test_a_search_is_measured_at_every_size(tmp_path, monkeypatch):
    for name, value in {
        "MUSEUMS": (1, 2, 4), "QUESTIONS": 20, "BEAMS": (10, 400), "ROUNDS": 3, "STUDY": tmp_path / "study",
        "RUNS": tmp_path / "runs",
    }.items():  # fmt: skip
        monkeypatch.setattr(retrieval_growth, name, value)
    retrieval_growth.main()
    found = json.loads((tmp_path / "study" / "curves.json").read_text())
    assert [size["pages"] for size in found["sizes"]] == [97, 194, 388]
    for size in found["sizes"]:
        assert size["bytes"]["vectors"] == size["pages"] * 128 * 4 < size["bytes"]["hnsw"]
        assert size["beams"]["400"]["recall"] == 1.0 and 10 <= size["beams"]["10"]["compared"] <= size["pages"] + 10
        assert 0 < size["recall@1"] <= size["recall@5"] and size["exact, ms"] > 0 < size["beams"]["10"]["ms"]
    monkeypatch.setattr(retrieval_growth.TowerEmbeddings, "embed", None)  # what was embedded is not embedded again
    tower = retrieval_growth.TowerEmbeddings(Encoder(EncoderConfig()), tokenizer())
    assert retrieval_growth.vectors(tower, 4).shape == (388, 128)


def test_the_growth_that_was_measured():
    found = json.loads((retrieval_growth.STUDY / "curves.json").read_text())
    last, number = found["sizes"][-1], found["enough"]
    assert last["pages"] > 100_000 and number == 0.99
    best = next(beam for beam in last["beams"].values() if beam["recall"] >= number)
    assert last["exact, ms"] / best["ms"] == pytest.approx(found["times as fast at the end"], rel=0.01)
    assert found["times as fast at the end"] >= 20
    text = (retrieval_growth.STUDY / "log.md").read_text()
    for size in found["sizes"]:
        assert f"{size['recall@1']}" in text and f"{size['beams']['64']['compared']:,.0f}" in text


# -------------------------------------------------------------------------------------------------------------- answers


def test_every_arm_is_asked_once_and_what_came_of_it_is_written_down(tmp_path, monkeypatch):
    for name, value in {"MUSEUMS": 3, "QUESTIONS": 3, "STUDY": tmp_path / "study", "RUNS": tmp_path / "runs"}.items():
        monkeypatch.setattr(rag_answers, name, value)
    rag_answers.main()
    text = (tmp_path / "study" / "results.json").read_text()
    found = json.loads(text)
    arms = found["arms"]
    assert found["pages"] == 3 * 97 and len(arms) == 14 and {arm["questions"] for arm in arms.values()} == {3}
    assert arms["no page"] | {"right": 0} == {
        "questions": 3, "right": 0, "there": 0.0, "unknown": 1.0, "precision": 0.0, "recall": 0.0
    }  # fmt: skip
    assert arms["the right page"]["there"] == arms["and 4 others"]["there"] == 1.0
    assert arms["the right page"]["right"][0] > 0.6 and arms["order 1 in the prompt"]["bad page"] == 1.0
    for arm in arms.values():
        value, low, high = arm["right"]
        assert 0 <= low <= value <= high <= 1 and arm.get("led", 0) <= arm.get("bad page", 0)
    (tmp_path / "runs" / "no-page.json").write_text(json.dumps(arms["no page"] | {"unknown": 0.25}))
    monkeypatch.setattr(rag_answers.evaluation, "read", None)  # what was asked is not asked again
    rag_answers.main()
    lines = rag_answers.table(["no page", "lies in the store"], ["unknown"]).splitlines()
    assert lines[0].split() == ["of", "3", "questions", "right", "unknown"] and lines[1].endswith("25%")


def test_a_lie_differs_from_the_page_in_the_value_alone():
    museums = [catalogue.museum("test", 0, n) for n in range(3)]
    pages = {page["id"]: page for museum in museums for page in museum.pages()}
    for row in rag_answers.asked(museums, "one_hop"):
        page = pages[row["pages"][0]]
        text, value = rag_answers.lie(row, pages)
        assert value != row["answer"] and text.replace(value, row["answer"]) == page["text"].replace(
            value, row["answer"]
        )
        assert row["sentence"] in page["text"] and row["sentence"] not in text
        assert row["sentence"].replace(row["answer"], value) in text
        assert value in "".join(other["text"] for other in pages.values() if other["kind"] == page["kind"])
    with pytest.raises(ValueError, match="it takes more museums"):
        rag_answers.lie(row, {page["id"]: page})


def test_the_answers_that_were_measured():
    found = json.loads((rag_answers.STUDY / "results.json").read_text())
    arms, text = found["arms"], (rag_answers.STUDY / "log.md").read_text()
    assert found["pages"] >= 10_000 and all(arm["questions"] >= 300 for arm in arms.values())
    assert arms["1 found"]["right"][0] >= 0.85 and arms["no page"]["right"][0] <= 0.10
    for arm in arms.values():
        assert f"{100 * arm['right'][0]:.1f}" in text
