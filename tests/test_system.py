"""The whole system: its stages one by one, what it is told, and what it says when something is missing."""

import json
from collections import Counter
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fmnotes import ROOT, exercises, metrics, system
from fmnotes.museum import catalogue, knowledge, questions, render
from fmnotes.museum.scenes import Scene
from fmnotes.studies import connector_museum, system_parts
from fmnotes.studies import system_ablations as study
from fmnotes.studies.connector_museum import Recipe
from fmnotes.system import ONE_HOP, SIGHT, TWO_HOPS, Router, StageError, Trace, pointed_at, said

MUSEUMS = [catalogue.museum("test", 0, n) for n in range(2)]


@pytest.fixture(scope="module")
def whole():
    torch.set_num_threads(1)
    return system.load(MUSEUMS)


@pytest.fixture(scope="module")
def rows():
    found = [row for museum in MUSEUMS for row in islice(knowledge.questions(museum), 40)]
    for row in found:
        row["picture"] = render([Scene.from_row(row)])[0] if row["objects"] else None
    return found


def first(rows, **wanted):
    return next(row for row in rows if all(row[name] == value for name, value in wanted.items()))


# ------------------------------------------------------------------------------------------------------------- routing


def test_a_router_gives_each_kind_probabilities_that_sum_to_one():
    router = Router({"a": ["who made it"] * 5 + ["who made Ona Rill"], "b": ["how many"] * 5})
    for logs in router.logs.values():
        assert np.exp(list(logs.values())).sum() == pytest.approx(1)
    assert router.common == {"who", "made", "it", "how", "many"}
    assert router.signs("Who made Bo?") == ["who", "made", "·", "who made", "made ·", "who made ·"]
    assert router("who made stars") == "a" and router("how many stars") == "b"


@pytest.mark.parametrize("question", ["이 그림에 무엇이 있나요?", "?!", "xyzzy"])
def test_a_question_without_a_known_word_is_refused(question):
    with pytest.raises(ValueError, match="no word of .* is known here: ask in English"):
        Router({"a": ["who made it"] * 5})(question)


def test_unseen_questions_take_their_route():
    kinds = {"one_hop": ONE_HOP, "picture": ONE_HOP, "two_hop": TWO_HOPS}
    asked = [(row["question"], SIGHT) for row in islice(questions.stream("test"), 150)]
    asked += [(row["question"], kinds[row["type"]]) for row in islice(knowledge.stream("test"), 300)]
    taken = Counter((kind, system.router()(text)) for text, kind in asked)
    assert sum(n for (kind, other), n in taken.items() if kind == other) >= 0.95 * len(asked)
    assert sum(n for (kind, other), n in taken.items() if (kind == SIGHT) != (other == SIGHT)) <= 0.01 * len(asked)


# ------------------------------------------------------------------------------------------------------------ pointing


@pytest.mark.parametrize(
    ("question", "words", "known"),
    [
        ("Who made the object left of the blue star?", "the object left of the blue star", ["", ""]),
        ("What is the only small purple object made of?", "the only small purple object", ["purple", ""]),
        ("When was the lowest large star created?", "the lowest large star", ["", "star"]),
        ("According to the Velmovian Museum, who made the object?", "the object", ["", ""]),
        ("Who made the red star?", "", None),
        ("Who made the red star of the Velmovian Museum?", "", None),
        ("Whose hands shaped the scarlet pentagram?", "", None),
        ("Are the stars red?", "", None),
        ("", "", None),
    ],
)
def test_words_point_where_they_leave_something_open(question, words, known):
    assert pointed_at(question) == words
    if words:
        assert list(said(words).values()) == known


def test_every_question_for_both_points_and_no_other(rows):
    for row in rows:
        assert bool(pointed_at(row["question"])) == (row["needs"] == "both"), row["question"]


# ------------------------------------------------------------------------------------------------------------ the whole


def test_sight_alone_is_answered_without_a_page(whole):
    row = next(questions.stream("test"))
    picture = render([Scene.from_row(row)])[0]
    trace = whole.ask(row["question"], picture)
    assert (
        trace.kind == SIGHT and trace.pages == () and trace.cited is None and list(trace.seconds) == ["route", "look"]
    )
    assert trace.seen == {row["question"]: trace.text} and trace.right(trace.text) and not trace.right(trace.text + "s")


def test_knowledge_alone_is_found_read_and_cited(whole, rows):
    row = first(rows, type="one_hop", phrasing="plain", filter="")
    trace = whole.ask(row["question"], known={"route": ONE_HOP})
    assert trace.right(row["answer"]) and trace.cited == row["pages"][0] and not trace.seen
    assert list(trace.seconds) == ["route", "search", "rank", "read"] and all(s >= 0 for s in trace.seconds.values())
    assert len(trace.found) == 10 and sorted(trace.found) == sorted(trace.ranked) and trace.pages == trace.ranked[:1]


def test_a_filter_keeps_other_museums_out(whole, rows):
    row = next(row for row in rows if row["filter"] and row["needs"] == "knowledge")
    trace = whole.ask(row["question"], museum=row["filter"])
    assert {whole.store.pages[name].metadata["museum"] for name in trace.found} == {row["filter"]}


def test_two_hops_read_the_page_that_the_first_leads_to(whole, rows):
    asked = [row for row in rows if row["type"] == "two_hop"][:6]
    traces = [whole.ask(row["question"], museum=row["filter"], known={"route": TWO_HOPS}) for row in asked]
    assert all(len(trace.pages) == 2 and "second search" in trace.seconds for trace in traces)
    assert sum(trace.pages == tuple(row["pages"]) for trace, row in zip(traces, asked)) >= 5


def test_what_is_pointed_at_is_seen_and_named(whole, rows):
    asked = [row for row in rows if row["needs"] == "both"][:8]
    traces = [whole.ask(row["question"], row["picture"], row["filter"]) for row in asked]
    named = ["the " + row["pages"][0].rpartition("/")[2].replace("-", " ") for row in asked]
    assert sum(name in trace.searched for name, trace in zip(named, traces)) >= 6
    for trace in traces:
        assert trace.pointed not in trace.searched and list(trace.seconds)[:2] == ["route", "look"]
        assert len(trace.seen) == sum(not value for value in said(trace.pointed).values())
        assert trace.attention.shape == (8, 8) and 0 < trace.attention.sum() <= 1


def test_what_is_told_is_not_asked(whole, rows):
    row = first(rows, needs="both")
    trace = whole.ask(row["question"], known={"route": ONE_HOP, "look": "the red star", "search": row["pages"]})
    assert "the red star" in trace.searched and trace.seen == {} and trace.pages == tuple(row["pages"])
    assert "search" not in trace.seconds
    assert whole.ask(row["question"], known={"look": "the red star", "search": ()}).unknown


def test_without_a_second_look_the_order_stays(whole, rows):
    trace = replace(whole, rerank=None).ask(first(rows, type="one_hop")["question"])
    assert trace.found == trace.ranked


def test_a_picture_of_any_size_is_looked_at(whole):
    row = next(row for row in questions.stream("test") if row["type"] == "colour")
    picture = render([Scene.from_row(row)])[0]
    large = picture.repeat(5, 0).repeat(5, 1)
    assert whole.ask(row["question"], large).text == whole.ask(row["question"], picture).text
    assert system.resized(large).shape == (64, 64, 3) and np.array_equal(system.resized(picture), picture)


def test_queries_have_one_row_of_attention(whole):
    eyes = system_parts.with_eyes(whole, "resampler").eyes
    ids = torch.tensor([[0, *[eyes.image_token_id] * eyes.config.n_tokens, 5, 6]])
    weights = system.attention(eyes, ids, torch.randn(1, eyes.config.n_patches, eyes.config.vision_d_model))
    assert weights.shape == (1, 16) and 0 < weights.sum() < 1


def test_a_question_cannot_write_the_layouts_tokens(whole):
    row = next(questions.stream("test"))
    picture = render([Scene.from_row(row)])[0]
    assert "<|page|>" in whole.ask(f"{row['question']} <|page|><|image|>", picture).question


@pytest.mark.parametrize(
    ("stage", "message", "arguments"),
    [
        ("route", "the question is empty: ask something", (" ",)),
        ("route", "no word of '누가.*' is known here", ("누가 만들었나요?",)),
        ("look", "about a picture, and there is none: choose, draw or upload one", ("How many stars are there?",)),
        ("look", "about a picture, and there is none", ("Who made the object left of the blue star?",)),
        (
            "look",
            r"of bytes, this is \(64, 64\) of uint8: convert it",
            ("Is there a star?", np.zeros((64, 64), np.uint8)),
        ),
        ("look", "of float64", ("Is there a star?", np.zeros((64, 64, 3)))),
        ("search", "there are no pages to search of {'museum': 'Louvre'}", ("Who made the red star?", None, "Louvre")),
        ("read", "the question has .* tokens, there is room for", ("Who made the red star? " * 300,)),
    ],
)
def test_a_stage_that_fails_says_which_it_is(whole, stage, message, arguments):
    with pytest.raises(StageError, match=f"^{stage}: .*{message}") as caught:
        whole.ask(*arguments)
    assert caught.value.stage == stage and list(caught.value.trace.seconds)[-1] == stage


def test_an_answer_is_right_by_its_value_and_cites_by_its_number():
    trace = Trace("?", kind=ONE_HOP, pages=("a", "b"), text="The red star was made by Talo Brenik. [2]")
    assert trace.cited == "b" and trace.right("Talo Brenik") and not trace.right("Talo") and not trace.unknown
    assert Trace("?", pages=("a",), text="It is so. [2]").cited is None
    assert Trace("?", text="unknown").unknown


# ------------------------------------------------------------------------------------------------------------ its study


@given(st.lists(st.tuples(st.sampled_from(["one_hop", "two_hop"]), st.booleans()), min_size=1, max_size=40))
@settings(deadline=None)
def test_weighed_scores_have_the_mean_over_types(pairs):
    rows, right = [{"type": kind, "needs": "knowledge"} for kind, _ in pairs], [ok for _, ok in pairs]
    of_type = {kind: [ok for other, ok in pairs if other == kind] for kind, _ in pairs}
    assert np.mean(study.weighed(rows, right, "knowledge")) == pytest.approx(
        np.mean([np.mean(v) for v in of_type.values()])
    )


def test_shares_stay_between_nothing_and_all_and_hold_their_mean():
    rows = [{"type": kind, "needs": "knowledge"} for kind in ["one_hop"] * 30 + ["two_hop"] * 6]
    right = [True] * 30 + [True, False] * 3
    value, low, high = study.share(rows, right, "knowledge")
    assert value == 0.75 and 0.5 <= low < 0.75 < high <= 1 and study.share(rows, [True] * 36, "knowledge") == (1, 1, 1)


def test_another_question_is_of_the_same_group_and_another_one():
    rows = study.asked(4, 20, 10)
    assert Counter(map(study.group, rows))["sight"] == 10
    for row, other in zip(rows, study.others(rows)):
        assert study.group(row) == study.group(other) and row is not other
    assert all(a["museum"] != b["museum"] for a, b in zip(rows, study.others(rows)) if study.group(a) == "knowledge")


def test_a_failed_stage_is_no_answer(whole, rows):
    row = first(rows, needs="both") | {"picture": None}
    assert study.ask(whole, row, row)["right"] is False


def test_the_budget_counts_each_failure_once():
    page = ["test-0-0/exhibit/red-star"]
    row = {"needs": "both", "type": "picture", "pages": page, "answer": "x"}
    good = {"right": True, "route": ONE_HOP, "searched": "who made the red star?", "pages": page}
    unseen = good | {"right": False, "searched": "who made the red circle?", "pages": ["test-0-0/exhibit/red-circle"]}
    lost = {"right": False, "route": SIGHT, "searched": "", "pages": []}
    one = [good, good, unseen, unseen | {"right": True}, lost]
    read = [good] * 3 + [good | {"right": False}, good]
    found = study.budget([row] * 5, {
        "whole": one,
        "right thing seen": [good] * 4 + [lost],
        "all right but the reader": read,
    })  # fmt: skip
    expected = {"route": 0.8, "look": 0.5, "search": 1.0, "read": 0.8, "predicted": 0.32}
    assert found == expected | {"measured": 0.6, "lucky": 0.2}


QUICK = (system_parts.quick_eyes, system_parts.quick_pictures, system_parts.quick_search, system_parts.quick_reader)


def test_parts_are_put_in_the_place_of_others_and_learn_only_once(whole, tmp_path, monkeypatch):
    recipe = Recipe(1, 1, rank=2, pictures=2, turns=2)
    for name, value in {"RUNS": tmp_path, "CONNECTOR": recipe, "SEARCH": 1, "PICTURES": 1, "READER": 1}.items():
        monkeypatch.setattr(system_parts, name, value)
    for name, value in {"PICTURES": 4, "captioned": lambda m: {}, "examined": lambda m: {}}.items():
        monkeypatch.setattr(connector_museum, name, value)
    monkeypatch.setattr(system_parts, "whole", lambda: whole)
    for part in QUICK:
        part.cache_clear()
    try:
        quick = system_parts.changed("eyes: quick pictures, search: quick, reader: quick")
        assert quick.eyes.visual.config.vision_d_model == 64 and quick.reader.model.config.n_layer == 4
        assert list(quick.store.pages) == list(whole.store.pages) and quick.store.embedding is not whole.store.embedding
        assert system_parts.changed("search: quick").store.embedding.encoder is quick.store.embedding.encoder
        folders = {folder.name for folder in tmp_path.iterdir()}
        assert folders == {"quick-pictures", "quick-pictures-connector", "quick-tower", "quick-reader"}
        weights = {name: p.clone() for name, p in quick.reader.model.named_parameters()}
        system_parts.quick_reader.cache_clear()
        again = system_parts.changed("reader: quick").reader.model
        assert all(torch.equal(p, weights[name]) for name, p in again.named_parameters())
    finally:
        for part in QUICK:
            part.cache_clear()
    plain = system_parts.changed("eyes: not adapted").eyes
    assert plain.language is connector_museum.towers()[1] and whole.eyes.language is not plain.language
    assert system_parts.changed("no reranker").rerank is None


@pytest.fixture(scope="module")
def results():
    return json.loads((study.STUDY / "results.json").read_text())


def test_the_committed_study_has_every_arm_and_reaches_what_was_aimed_at(results):
    assert list(results["arms"]) == list(results["loss"]) == list(study.ARMS)
    assert sum(results["questions"].values()) >= 1000 and study.ASKED >= 20
    whole = {group: value for group, (value, _, _) in results["arms"]["whole"].items()}
    assert whole["both"] >= 0.75 and whole["sight"] >= 0.9 and whole["knowledge"] >= 0.85
    for name, arm in study.ARMS.items():
        for group in study.GROUPS:
            value, low, high = results["arms"][name][group]
            assert low <= value <= high
            if group not in arm.groups:
                assert results["loss"][name][group] == [0.0, 0.0, 0.0]
    assert (ROOT / "data/studies/system_ablations/log.md").is_file()


def test_what_costs_most_is_what_the_study_found(results):
    named = {
        "no second look": "without the second look at pages",
        "no second search": "without the second search",
        "small reader": "reader not taught to read",
        "quick tower": "quick search tower",
        "wrong picture": "without sight: another picture",
    }
    lost = {name: metrics.Interval(*results["loss"][arm]["knowledge"]) for name, arm in named.items()}
    found = exercises.find("06.costly").solution
    assert all(lost[found].high < lost[name].low for name in named if name != found)
