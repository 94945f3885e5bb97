"""The museum as a whole: its committed sample, one door to all its parts, and the mixture a language model reads."""

import json
import math
from itertools import islice

import numpy as np
import pytest

from fmnotes import data, museum
from fmnotes.museum import build, catalogue, knowledge, prompt


@pytest.fixture(scope="module")
def hashes() -> dict[str, str]:
    return json.loads((build.FOLDER / "hashes.json").read_text())


@pytest.mark.parametrize("config", build.ROWS)
def test_the_committed_sample_is_what_the_program_makes(config, hashes):
    import pyarrow.parquet

    for split in build.ROWS[config]:
        committed = pyarrow.parquet.read_table(build.FOLDER / config / f"{split}.parquet").to_pylist()
        assert data.data_hash(committed) == hashes[f"{config}/{split}"]
        assert data.data_hash(build.rows(config, split)) == hashes[f"{config}/{split}"]


def test_the_hash_sees_one_changed_letter():
    rows = build.rows("stories", "test")[:3]
    assert data.data_hash(rows) != data.data_hash([*rows[:2], {**rows[2], "text": rows[2]["text"][:-1]}])


def test_the_committed_sample_is_small():
    assert sum(path.stat().st_size for path in build.FOLDER.rglob("*")) <= 5_000_000


def test_the_card_names_every_configuration_and_split(hashes):
    import datasets

    assert set(datasets.get_dataset_config_names(str(build.FOLDER))) == set(museum.CONFIGS) == set(build.ROWS)
    listed = {f"{c}/{s}" for c in build.ROWS for s in datasets.get_dataset_split_names(str(build.FOLDER), c)}
    assert listed == set(hashes)


@pytest.mark.parametrize("config", museum.CONFIGS)
def test_every_configuration_opens_and_has_no_row_of_training(config):
    committed = data.load(f"museum/{config}")
    training = {json.dumps(row, sort_keys=True) for row in islice(museum.stream(config), 2_000)}
    for rows in committed.values():
        assert not training & {json.dumps(row, sort_keys=True) for row in rows.with_format(None)}


def test_pictures_are_rendered_when_a_row_is_read():
    row = data.load("museum/scenes", split="test")[3]
    expected = museum.render([museum.Scene.from_row(row)])[0]
    assert np.array_equal(np.asarray(row["image"], dtype=np.uint8), expected) and expected.shape == (64, 64, 3)
    streamed = next(iter(data.load("museum/scenes", split="train")))
    assert np.array_equal(streamed["image"], museum.render([museum.Scene.from_row(streamed)])[0])
    assert "image" not in data.load("museum/stories", split="test")[0]


def test_held_out_pairs_stand_in_no_training_picture():
    for config in ("scenes", "captions", "questions", "knowledge"):
        for row in islice(museum.stream(config), 1_500):
            assert not {(thing["colour"], thing["shape"]) for thing in row["objects"]} & set(museum.HELD_OUT_PAIRS)
    for row in build.rows("scenes", "composition"):
        assert {(thing["colour"], thing["shape"]) for thing in row["objects"]} & set(museum.HELD_OUT_PAIRS)


def test_one_logprob_for_every_kind_of_text():
    story, page = (next(museum.stream(config))["text"] for config in ("stories", "pages"))
    for text in (story, page):
        assert -2_000 < museum.logprob(text) < 0
        assert museum.logprob(text.replace(" ", "  ", 1)) == -math.inf
    caption = next(museum.stream("captions", "test"))
    scene = museum.Scene.from_row(caption)
    assert -60 < museum.logprob(caption["captions"][0], scene) <= 0
    assert museum.logprob("There are nine stars.", scene) == -math.inf
    question = next(museum.stream("questions", "test"))
    asked = question["question"], museum.Scene.from_row(question)
    assert museum.logprob(question["answer"], asked) == 0 and museum.logprob("perhaps", asked) == -math.inf


def test_an_answer_is_certain_given_its_pages():
    about = catalogue.museum("test", 0, 0)
    store = {page["id"]: page for page in about.pages()}
    for row in knowledge.questions(about, 20):
        pages = [store[page] for page in row["pages"]]
        right = prompt.cite(row["sentence"], len(pages))
        assert museum.logprob(right, (row, pages)) == 0
        assert museum.logprob(right, (row, pages[:-1])) == -math.inf
        assert museum.logprob(prompt.UNKNOWN, (row, pages[:-1])) == 0


def test_the_page_of_another_split_is_scored_with_its_own_names():
    page = next(museum.stream("pages", "test"))["text"]
    assert museum.logprob(page) == -math.inf and museum.logprob(page, split="test") > -math.inf


def test_the_mixture_holds_whole_texts_in_the_one_layout():
    texts = list(islice(museum.texts(seed=3), 600))
    assert texts == list(islice(museum.texts(seed=3), 600)) != list(islice(museum.texts(seed=4), 600))
    assert all(text.endswith(prompt.END) and text.count(prompt.END) == 1 for text in texts)
    asked = [prompt.parse(text) for text in texts if prompt.QUESTION in text]
    assert 0.25 < len(asked) / len(texts) < 0.35
    assert 0.1 < np.mean([one.answer == prompt.UNKNOWN for one in asked]) < 0.3
    for one in asked:
        sentence, number = prompt.cited(one.answer)
        assert one.answer == prompt.UNKNOWN or sentence in one.pages[number - 1]


def test_what_is_not_there_is_named_at_once():
    with pytest.raises(ValueError, match="no configuration 'poems'; there are scenes, captions"):
        museum.stream("poems")
    wrong = (museum.stream, "stories", "dev"), (museum.texts, "dev"), (museum.logprob, "", None, "dev")
    for ask, *arguments in wrong:
        with pytest.raises(ValueError, match="no split 'dev' in the museum; there are train, validation"):
            ask(*arguments)
    with pytest.raises(ValueError, match="stories .* have no composition split"):
        museum.stream("stories", "composition")


@pytest.mark.parametrize("given", [("question", []), ("a", "b", "c"), {"objects": []}, 3])
def test_what_cannot_be_given_is_refused(given):
    with pytest.raises(TypeError, match="given must be None, a Scene"):
        museum.logprob("yes", given)


def test_a_text_is_scored_and_nothing_else():
    with pytest.raises(TypeError, match="not a int"):
        museum.logprob(5)
    scene = museum.Scene.from_row(next(museum.stream("scenes")))
    assert museum.logprob("yes", ("No question at all", scene)) == -math.inf
