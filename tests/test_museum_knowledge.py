"""What can be known: names, the catalogue and its pages, questions on pages, and the prompt."""

import hashlib
import json
import math
import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmnotes.museum import catalogue, knowledge, names, pages, prompt
from fmnotes.museum.dice import Dice
from fmnotes.museum.grammar import Grammar, Words
from fmnotes.museum.questions import resolve
from fmnotes.museum.scenes import Scene
from fmnotes.museum.world import HELD_OUT_PAIRS, PAIRS, SPLITS, TRAIN_PAIRS
from fmnotes.retrieval import BM25

NAME_PARTS = {
    "given": names.GIVEN,
    "family": names.FAMILY,
    "city": names.CITY,
    "river": names.RIVER,
    "country": names.COUNTRY,
    "museum": names.INSTITUTION,
    "title": names.TITLE,
}


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


@pytest.fixture(scope="module")
def museums() -> list[catalogue.Museum]:
    """103 museums of the test split: a store of 9,991 pages."""
    return [catalogue.museum("test", 0, index) for index in range(103)]


@pytest.fixture(scope="module")
def store(museums) -> list[dict]:
    return [page for museum in museums for page in museum.pages()]


@pytest.fixture(scope="module")
def rows(museums) -> list[dict]:
    return [row for museum in museums for row in knowledge.questions(museum, 20)]


# ---------------------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize("kind", NAME_PARTS)
def test_every_part_is_met_in_training_and_no_combination_in_two_splits(kind):
    composed = {split: names.composed(NAME_PARTS[kind], split, "+") for split in SPLITS}
    everything = [name for split in SPLITS for name in composed[split]]
    assert len(everything) == len(set(everything)) == math.prod(len(one) for one in NAME_PARTS[kind])
    for place, parts in enumerate(NAME_PARTS[kind]):
        assert {name.split("+")[place] for name in composed["train"]} == set(parts)


def test_a_name_belongs_to_one_kind_and_one_split():
    owner: dict[str, tuple] = {}
    for split in SPLITS:
        known = {kind: names.names(split)[kind].values for kind in ("city", "river", "country", "museum", "title")}
        known |= {part: names.composed(NAME_PARTS[part], split) for part in ("given", "family")}
        for kind, values in known.items():
            for name in values:
                assert owner.setdefault(name, (kind, split)) == (kind, split)


def test_a_person_of_a_test_split_has_no_name_of_training():
    trained = {name for part in (names.GIVEN, names.FAMILY) for name in names.composed(part, "train")}
    for split in SPLITS[1:]:
        persons = names.names(split)["person"].values
        assert not trained & {name for i in range(0, len(persons), 97) for name in persons[i].split()}


def test_full_names_are_a_domain_like_any_other():
    given, family = ["Ana", "Anabel", "Bo"], ["Lak", "Lakin"]
    lazy, listed = names.FullNames(given, family), Words([f"{a} {b}" for a in given for b in family])
    assert list(lazy.values) == listed.values and lazy.values[1:4] == listed.values[1:4]
    for text in ("Ana Lakin.", "Anabel Lak", "Bo", "Ana  Lak", "see Bo Lakin"):
        for position in (0, 4):
            assert sorted(lazy.read(text, position, "")) == sorted(listed.read(text, position, ""))
    assert "Bo Lak" in lazy and "Lak Bo" not in lazy and None not in lazy


def test_there_are_names_for_a_thousand_museums_in_each_split():
    for split in SPLITS:
        order = catalogue.museum_names(split, 0)
        assert len(order) == len(set(order)) >= 1_100
        assert sorted(order) == sorted(names.names(split)["museum"].values)


def test_an_unknown_split_is_named():
    with pytest.raises(ValueError, match="no split 'dev'.*train, validation, test, composition"):
        names.composed(names.CITY, "dev")


# ------------------------------------------------------------------------------------------------------------ catalogue


def test_a_museum_has_a_page_for_everything_that_has_a_name(museums, store):
    for museum in museums[:5]:
        rows = [page for page in store if page["museum"] == museum.name]
        assert Counter(page["kind"] for page in rows) == pages.KINDS and len(rows) == 97
        subjects = {kind: {page["subject"] for page in rows if page["kind"] == kind} for kind in pages.KINDS}
        assert subjects["exhibit"] == {f"{colour} {shape}" for colour, shape in PAIRS}
        for exhibit in museum.records["exhibit"]:
            assert exhibit["maker"] in subjects["maker"] and exhibit["wing"] in subjects["wing"]
            assert exhibit["city"] in subjects["city"]
        assert {maker["birthplace"] for maker in museum.records["maker"]} <= subjects["city"]
        assert museum.records["museum"][0]["home"] in subjects["city"]
    assert len({page["id"] for page in store}) == len(store) == 9_991


def test_a_page_row_has_the_columns_and_its_record_s_values(museums, store):
    columns = ["id", "museum", "kind", "subject", "title", "text"]
    columns += ["colour", "shape", "maker", "city", "year", "material", "wing", "code"]
    for page in store[:97]:
        assert list(page) == columns
        assert all(type(value) is (int if name == "year" else str) for name, value in page.items())
        assert page["museum"] in page["title"] and page["text"].startswith(page["title"] + "\n")
        if page["kind"] == "exhibit":
            record = museums[0].record("exhibit", f"{page['colour']} {page['shape']}")
            assert page["year"] == int(record["year"]) and page["code"] == f"{record['series']}-{record['number']}"
            assert all(page[name] == record[name] for name in ("maker", "city", "material", "wing"))
        else:
            assert page["year"] == 0 and page["code"] == page["colour"] == page["shape"] == page["material"] == ""


def test_names_differ_within_a_museum(museums):
    for museum in museums:
        people = [record[role] for record in museum.records["maker"] for role in ("maker", "teacher")]
        people += [record["curator"] for record in museum.records["wing"]] + [museum.records["museum"][0]["founder"]]
        cities, wings = ([record[kind] for record in museum.records[kind]] for kind in ("city", "wing"))
        titles, codes = ([catalogue.value_of(e, name) for e in museum.records["exhibit"]] for name in ("title", "code"))
        for drawn in (people, cities, wings, titles, codes):
            assert len(drawn) == len(set(drawn))
    assert len({museum.name for museum in museums}) == len(museums)


def test_every_fact_is_uniform():
    """Chi-square, one museum a draw: the statistic of k equally likely values lies within 4 deviations of k - 1."""
    museums = [catalogue.museum("validation", 7, index) for index in range(4_000)]
    known = names.names("validation") | pages.FIXED
    variables = {
        "exhibit": "title city year material wing series",
        "maker": "birthplace age tool",
        "city": "city river country founded ware",
        "wing": "wing floor paint view",
        "museum": "home opened guard",
    }
    domain = {"birthplace": "city", "home": "city"}
    for kind, facts in variables.items():
        for fact in facts.split():
            values = known[domain.get(fact, fact)].values
            seen = Counter(museum.records[kind][index % 8 if kind != "museum" else 0][fact]
                           for index, museum in enumerate(museums))  # fmt: skip
            assert_uniform([seen[value] for value in values], f"{kind} {fact}")
    people = [(museum.records["exhibit"][0]["maker"], museum.records["maker"][5]["teacher"]) for museum in museums]
    for position in (0, 1):
        for part, parts in ((0, names.GIVEN), (1, names.FAMILY)):
            seen = Counter(person[position].split()[part] for person in people)
            assert_uniform([seen[name] for name in names.composed(parts, "validation")], "person")
    seen = Counter(int(museum.records["exhibit"][9]["number"]) // 100 for museum in museums)
    assert_uniform([seen[hundred] for hundred in range(10, 100)], "number")


def assert_uniform(seen: list[int], what: str) -> None:
    expected = sum(seen) / len(seen)
    statistic = sum((count - expected) ** 2 for count in seen) / expected
    degrees = len(seen) - 1
    assert abs(statistic - degrees) < 4 * math.sqrt(2 * degrees), f"{what}: {statistic:.1f} on {degrees} degrees"


def test_the_same_rows_come_again_in_another_process():
    def fingerprint() -> str:
        made = [*islice(catalogue.stream("train", 3), 150), *islice(knowledge.stream("test", 1), 150)]
        return hashlib.sha256(json.dumps(made).encode()).hexdigest()

    code = (
        "import hashlib, json; from itertools import islice; from fmnotes.museum import catalogue, knowledge;"
        "made = [*islice(catalogue.stream('train', 3), 150), *islice(knowledge.stream('test', 1), 150)];"
        "print(hashlib.sha256(json.dumps(made).encode()).hexdigest())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert there.stdout.strip() == fingerprint() == fingerprint()


def test_museums_of_another_seed_index_or_split_are_others(museums):
    first = museums[0].records
    assert catalogue.museum("test", 0, 0).records == first
    for other in (museums[1], catalogue.museum("test", 1, 0), catalogue.museum("validation", 0, 0)):
        same = sum(a["year"] == b["year"] for a, b in zip(first["exhibit"], other.records["exhibit"], strict=True))
        assert same < 5


def test_what_a_museum_does_not_have_is_named(museums):
    with pytest.raises(KeyError, match="has no exhibit 'pink star'"):
        museums[0].record("exhibit", "pink star")
    page = museums[0].pages()[0]
    with pytest.raises(ValueError, match="0 sentences of .* end in 'nothing'"):
        catalogue.sentence_of(page, "nothing")


# ---------------------------------------------------------------------------------------------------------------- pages


def test_pages_are_clean_text_and_every_sentence_names_its_subject(store):
    for page in store[:1_000]:
        text = page["text"]
        assert text.isascii() and "  " not in text and text == text.strip() and text.count("\n") == 1
        said = pages.sentences(text)
        assert " ".join(said) == text.partition("\n")[2]
        assert 4 <= len(said) <= 7 and all(re.fullmatch(r"[A-Z][^.]*\.", sentence) for sentence in said)
        chatter = {
            line.format(**{page["kind"]: page["subject"]})
            for lines in pages.CHATTER.get(page["kind"], ())
            for line in lines
        }
        assert all(page["subject"] in sentence for sentence in said if sentence not in chatter)


def test_every_fact_is_said_once_in_a_sentence_that_ends_in_its_value(museums):
    for museum in museums[:20]:
        for page in museum.pages():
            record = museum.record(page["kind"], page["subject"])
            ends = {
                catalogue.sentence_of(page, catalogue.value_of(record, fact)) for fact in pages.WORDINGS[page["kind"]]
            }
            assert len(ends) == len(pages.WORDINGS[page["kind"]])
            assert set(record) - {"series", "number"} == {*pages.WORDINGS[page["kind"]], page["kind"], "museum"} - {
                "code"
            }


def test_wordings_and_orders_vary():
    facts = catalogue.museum("test", 0, 0).records["exhibit"][0]
    written = {pages.write("exhibit", facts, Dice(seed), "test") for seed in range(300)}
    assert len(written) >= 295


def log_of_page(kind: str, split: str) -> float:
    """The same number by hand: the kind's share, the order, a wording for each fact, chatter or not, the names."""
    known = {kind: len(domain.values) for kind, domain in names.names(split).items()}
    values = {
        "exhibit": [48, known["title"], known["person"], 400, 24, known["city"], 32, 400, 9_000],
        "maker": [known["person"], known["person"] - 1, known["city"], 60, 24],
        "city": [known["city"], known["river"], known["country"], 600, 24],
        "wing": [32, 6, 16, known["person"], 20],
        "museum": [known["person"], known["city"], 150, 16],
    }[kind]
    orders = 6 * 24 if kind == "exhibit" else 24
    wordings = [4, 4, 4, 4, 4, 4, 3] if kind == "exhibit" else [3, 3, 3, 3, 3, 3]  # the last two: chatter before, after
    return math.log(pages.KINDS[kind] / 97) - sum(map(math.log, [orders, known["museum"], *values, *wordings]))


@pytest.mark.parametrize("split", SPLITS)
def test_a_page_alone_is_scored_exactly(split):
    for page in islice(catalogue.stream(split, 11), 194):
        assert pages.logprob(page["text"], split) == pytest.approx(log_of_page(page["kind"], split), abs=1e-9)


def cut_down(kind: str) -> Grammar:
    """The page grammar with two values to a domain, two wordings to a fact, two orders, and one kind of page."""
    domains = {name: Words(domain.values[:2]) for name, domain in (pages.FIXED | names.names("train")).items()}
    if kind == "exhibit":
        domains |= {name: Words(domains[name].values[:1]) for name in ("series", "museum", "year", "wing", "material")}
    rules = {name: alternatives[:2] for name, alternatives in pages.page_rules().items() if name.startswith(kind)}
    if kind == "exhibit":
        rules |= {name: rules[name][:1] for name in ("exhibit_code", "exhibit_city", "exhibit_wing", "exhibit_year")}
    return Grammar(rules, domains)


@pytest.mark.parametrize("kind", pages.KINDS)
def test_the_scores_of_all_sayable_pages_sum_to_one(kind):
    small = cut_down(kind)
    said = list(small.texts(kind))
    assert len({text for text, _ in said}) == len(said) > 500  # no page can be said in two ways
    assert math.fsum(p for _, p in said) == pytest.approx(1, abs=1e-9)
    for text, p in said[:: max(1, len(said) // 300)]:
        assert small.logprob(text, kind) == pytest.approx(math.log(p), abs=1e-9)


def test_a_page_that_contradicts_itself_or_is_damaged_cannot_be_said(museums):
    museum = museums[0]
    for page in museum.pages():
        text, said = page["text"], pages.sentences(page["text"])
        other = next(r[page["kind"]] for r in museums[1].records[page["kind"]] if r[page["kind"]] != page["subject"])
        fact = next(iter(pages.WORDINGS[page["kind"]]))
        sentence = catalogue.sentence_of(page, museum.record(page["kind"], page["subject"])[fact])
        damaged = [
            text.replace(sentence, sentence.replace(page["subject"], other)),
            text.replace(sentence, ""),
            text.replace(sentence, f"{sentence} {sentence}"),
            f"{text} {said[0]}",
            text[:-1],
            text + " ",
            text.lower(),
            page["title"],
            "",
        ]
        assert [pages.logprob(bad, "test") for bad in damaged] == [-math.inf] * len(damaged)
        assert pages.logprob(text, "train") == -math.inf  # the names of one split are not those of another


# ------------------------------------------------------------------------------------------------------------ knowledge


def test_a_question_row_has_the_columns_and_fixes_its_museum(museums, rows):
    columns = ["id", "museum", "question", "answer", "sentence", "type", "phrasing", "needs", "pages", "filter"]
    for row in rows:
        assert list(row) == [*columns, "objects", "seed"]
        assert row["question"].isascii() and row["question"].endswith("?") and row["question"][0].isupper()
        assert "  " not in row["question"] and "{" not in row["question"]
        assert (row["museum"] in row["question"]) != (row["filter"] == row["museum"]) and row["filter"] in (
            "",
            row["museum"],
        )
        assert row["needs"] == ("both" if row["type"] == "picture" else "knowledge")
        assert bool(row["objects"]) == (row["type"] == "picture")
    assert len({row["id"] for row in rows}) == len(rows)


def test_the_evidence_holds_the_answer_and_no_other_page_does(museums, store, rows):
    by_museum = defaultdict(list)
    for page in store:
        by_museum[page["museum"]].append(page)
    for row in rows:
        holding = [page["id"] for page in by_museum[row["museum"]] if row["sentence"] in page["text"]]
        assert holding == row["pages"][-1:] and row["sentence"].endswith(f" {row['answer']}.")
        assert len(row["pages"]) == (2 if row["type"] == "two_hop" else 1)


def test_the_first_hop_leads_to_the_second_and_only_there(museums, store, rows):
    by_id = {page["id"]: page for page in store}
    by_name = {museum.name: museum for museum in museums}
    for row in rows:
        if row["type"] != "two_hop":
            continue
        first, second = (by_id[page] for page in row["pages"])
        assert any(sentence.endswith(f" {second['subject']}.") for sentence in pages.sentences(first["text"]))
        assert second["subject"] not in row["question"]  # so the first page is needed
        by_chance = re.fullmatch(r"city|maker", second["kind"]) and row["answer"] in names.names("test")["city"]
        ends = [sentence for sentence in pages.sentences(first["text"]) if sentence.endswith(f" {row['answer']}.")]
        assert not ends or by_chance  # and so is the second
        record = by_name[row["museum"]].record(second["kind"], second["subject"])
        assert row["answer"] in {catalogue.value_of(record, fact) for fact in knowledge.ASK[second["kind"]]}


def test_no_fact_stands_on_two_kinds_of_page():
    drawn = Counter(variable for kind in pages.WORDINGS.values() for variable in kind)
    assert set(drawn.values()) == {1}
    assert {kind: list(facts) for kind, facts in pages.WORDINGS.items()} == {
        kind: list(facts) for kind, facts in knowledge.ASK.items()
    }  # and each is asked for


def test_answers_are_unique(museums):
    answers: dict[tuple, str] = {}
    for museum in museums[:10]:
        for row in knowledge.questions(museum, 400):
            key = (row["museum"], row["question"], json.dumps(row["objects"]))
            assert key not in answers
            answers[key] = row["answer"]


def test_a_wording_asks_for_one_fact():
    for kind, facts in knowledge.ASK.items():
        asked = [wording for wordings in facts.values() for variant in wordings for wording in variant]
        assert len(asked) == len(set(asked)) and all(wording.count("{it}") == 1 for wording in asked), kind


def test_a_picture_question_points_at_an_object_without_saying_what_it_is(rows, museums):
    by_name = {museum.name: museum for museum in museums}
    pictured = [row for row in rows if row["type"] == "picture"]
    assert len(pictured) > 300
    for row in pictured:
        scene, question = Scene.from_row(row), row["question"]
        phrases = [
            question[start.start() : end.start()]
            for start in re.finditer(r"\bthe ", question)
            for end in re.finditer(r"\b", question)
        ]
        referring = max((phrase for phrase in phrases if resolve(phrase, scene)), key=len)
        meant = resolve(referring, scene)
        assert row["pages"] == [by_name[row["museum"]].page_id("exhibit", " ".join(meant.pair))]
        assert not set(meant.pair) <= set(referring.split())


def test_held_out_pairs_are_in_the_pictures_of_the_composition_split_alone():
    for row in islice(knowledge.stream("train", 2), 600):
        assert all((thing["colour"], thing["shape"]) in TRAIN_PAIRS for thing in row["objects"])
    for row in islice(knowledge.stream("composition"), 300):
        if row["type"] == "picture":
            assert tuple(row["pages"][0].split("/")[-1].split("-")) in HELD_OUT_PAIRS


def test_half_of_the_questions_paraphrase_and_half_go_by_filter(rows):
    share = Counter(row["phrasing"] for row in rows)
    kinds = Counter(row["type"] for row in rows)
    assert len(rows) == 2_060
    assert 0.47 < share["paraphrase"] / len(rows) < 0.53 and share["code"] / len(rows) > 0.12
    assert 0.47 < sum(row["filter"] != "" for row in rows) / len(rows) < 0.53
    assert all(kinds[type_] / len(rows) > 0.2 for type_ in ("one_hop", "two_hop", "picture"))


GLUE = set(
    "a an the of in is was by to from it its on at for what which who whose where when how did does do you one".split()
)


def test_a_paraphrase_shares_no_content_word_with_its_evidence(rows, museums):
    """… but for proper names, which it must say where its subject has no other name."""
    proper = {
        word
        for m in museums
        for kind in ("maker", "city", "wing", "museum")
        for r in m.records[kind]
        for word in words(r[kind])
    }
    compared = 0
    for row in rows:
        if row["phrasing"] == "paraphrase" and row["type"] != "picture":
            shared = set(words(row["question"])) & set(words(row["sentence"])) - GLUE - proper
            assert not shared, (row["question"], row["sentence"])
            compared += 1
    assert compared > 700


def test_other_words_for_colours_and_shapes_are_unambiguous(store):
    said = [
        word for table in (knowledge.COLOUR_WORDS, knowledge.SHAPE_WORDS) for pair in table.values() for word in pair
    ]
    assert len(said) == len(set(said)) == 28
    on_pages = {word for page in store[:2_000] for word in words(page["text"])}
    assert not on_pages & {word for phrase in said for word in words(phrase)} - {"coloured", "sign"}


def test_bm25_does_not_find_the_evidence(store, rows):
    """Recall@5 on 10,000 pages stays under 0.8, although plain one-hop questions and codes are easy for it."""
    from rank_bm25 import BM25Okapi

    documents = [words(page["text"]) for page in store]
    ours, judge = BM25(documents), BM25Okapi(documents)
    for row in rows[:6]:
        np.testing.assert_allclose(
            ours.scores(words(row["question"])), judge.get_scores(words(row["question"])), atol=1e-9
        )

    place = {page["id"]: number for number, page in enumerate(store)}
    museum = np.array([page["museum"] for page in store])
    recall: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        scores = ours.scores(words(row["question"]))
        if row["filter"]:
            scores = np.where(museum == row["filter"], scores, -np.inf)
        best = set(np.argsort(-scores, kind="stable")[:5].tolist())
        hit = np.mean([place[page] in best for page in row["pages"]])
        filtered = "filter" if row["filter"] else "text"
        for group in ("all", row["type"], row["phrasing"], filtered, f"{row['type']} {row['phrasing']}"):
            recall[group].append(hit)
    mean = {group: float(np.mean(hits)) for group, hits in recall.items()}
    print({group: f"{mean[group]:.2f} of {len(recall[group])}" for group in sorted(mean)})
    assert mean["all"] < 0.8 and mean["text"] < 0.8 and mean["filter"] < 0.8
    assert mean["one_hop plain"] > 0.85 and mean["one_hop code"] > 0.95  # so the search itself is sound
    assert mean["paraphrase"] < 0.5 and mean["picture"] < 0.5 and mean["two_hop"] < 0.6


def test_one_answer_is_right_and_it_cites_its_page(museums, rows):
    row = next(row for row in rows if row["type"] == "two_hop")
    museum = next(museum for museum in museums if museum.name == row["museum"])
    by_id = {page["id"]: page for page in museum.pages()}
    first, second = (by_id[page] for page in row["pages"])
    distractor = next(page for page in by_id.values() if page["id"] not in row["pages"])
    assert knowledge.answer(row, [second, distractor, first]) == f"{row['sentence']} [1]"
    assert knowledge.answer(row, [first, distractor, second]) == f"{row['sentence']} [3]"
    for lacking in ([], [first], [second], [distractor, second]):
        assert knowledge.answer(row, lacking) == "unknown"
        assert knowledge.logprob("unknown", row, lacking) == 0.0
        assert knowledge.logprob(f"{row['sentence']} [1]", row, lacking) == -math.inf
    given_both = [first, second]
    assert knowledge.logprob(f"{row['sentence']} [2]", row, given_both) == 0.0
    for wrong in ("unknown", row["sentence"], row["answer"], f"{row['sentence']} [1]", f"{row['sentence']} [2] "):
        assert knowledge.logprob(wrong, row, given_both) == -math.inf


def test_a_context_holds_the_evidence_or_lacks_one_page_of_it(museums, store, rows):
    dice, nearby = Dice(5), store[: 97 * 5]
    places, lacking = Counter(), Counter()
    for row in rows[:100]:
        shown = knowledge.context(row, nearby, dice, size=5)
        assert len({page["id"] for page in shown}) == 5 and knowledge.answer(row, shown) != "unknown"
        assert not row["filter"] or {page["museum"] for page in shown} == {row["filter"]}
        places[[page["id"] for page in shown].index(row["pages"][-1])] += 1
        shown = knowledge.context(row, nearby, dice, size=4, missing=True)
        assert len(shown) == 4 and knowledge.answer(row, shown) == "unknown"
        left = {page["id"] for page in shown}
        missing = [place for place, page in enumerate(row["pages"]) if page not in left]
        assert len(missing) == 1
        lacking[len(row["pages"]), missing[0]] += 1
    assert min(places[place] for place in range(5)) >= 8  # the evidence may stand anywhere
    assert min(lacking[2, 0], lacking[2, 1]) >= 5  # and of two pages either may be missing
    with pytest.raises(ValueError, match="the store lacks .*the evidence for"):
        knowledge.context(rows[0], store[97:194], dice)
    two_hop = next(row for row in rows[:100] if row["type"] == "two_hop")
    with pytest.raises(ValueError, match="cannot choose 1 pages: 2 are needed"):
        knowledge.context(two_hop, nearby, dice, size=1)


# --------------------------------------------------------------------------------------------------------------- prompt

TEXT = st.text(max_size=40).filter(lambda text: not any(token in text for token in prompt.SPECIAL_TOKENS))


@given(TEXT, st.lists(TEXT, max_size=5), st.none() | TEXT, st.integers(0, 70))
@settings(max_examples=200, deadline=None)
def test_a_prompt_is_read_as_it_was_built(question, pages, answer, image_tokens):
    built = prompt.build(question, pages, answer, image_tokens)
    assert prompt.parse(built) == prompt.Prompt(question, tuple(pages), answer, image_tokens)


def test_the_layout_stays_as_it_is():
    built = prompt.build("Who?", ["The A Museum\nOne.", "Two."], "By B. [2]", 2)
    assert built == (
        "<|image|><|image|><|page|>[1] The A Museum\nOne.<|page|>[2] Two."
        "<|question|>Who?<|answer|>By B. [2]<|endoftext|>"
    )
    assert prompt.build("Who?") == "<|question|>Who?<|answer|>"
    assert len(set(prompt.SPECIAL_TOKENS)) == 6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: prompt.build("q", ["p"] * 6), "at most 5 pages; got 6"),
        (lambda: prompt.build("q", "a page"), "pages must be a list of texts"),
        (lambda: prompt.build("q", ["p", "so <|answer|> x"]), r"the page 2 holds the special token <\|answer\|>"),
        (lambda: prompt.build("<|pad|>"), r"the question holds the special token <\|pad\|>"),
        (lambda: prompt.build("q", image_tokens=-1), "cannot be negative; got -1"),
        (lambda: prompt.parse("Who?"), "not a prompt: expected"),
        (lambda: prompt.parse("<|question|>Who?<|answer|>I<|endoftext|>more"), "not a prompt"),
        (lambda: prompt.parse("x<|image|><|question|>Who?<|answer|>"), "not a prompt"),
        (lambda: prompt.parse("<|page|>[1] a<|image|><|question|>Who?<|answer|>"), "not a prompt"),
        (lambda: prompt.parse("<|page|>[2] a<|question|>Who?<|answer|>"), r"page 1 must begin with '\[1\] '"),
        (lambda: prompt.parse("".join(f"<|page|>[{n}] a" for n in range(1, 7)) + "<|question|>W<|answer|>"), "got 6"),
        (lambda: prompt.cite("It is.", 6), "numbered 1 to 5; got 6"),
    ],
)
def test_another_layout_is_an_error_that_says_what_was_expected(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_an_answer_is_taken_apart_and_scored_by_its_value():
    assert prompt.cited(prompt.cite("It was made by Talo Brenik.", 2)) == ("It was made by Talo Brenik.", 2)
    assert prompt.cited("unknown") == ("unknown", None)
    for good in ("It was made by Talo Brenik. [2]", "It was made by Talo Brenik.", "Talo Brenik"):
        assert prompt.says(good, "Talo Brenik")
    for bad in ("unknown", "It was made by Talo Brenik and others. [2]", "xTalo Brenik", "Talo Brenika", ""):
        assert not prompt.says(bad, "Talo Brenik")
