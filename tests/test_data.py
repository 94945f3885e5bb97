import json
import os
import types

import numpy as np
import pytest
from PIL import Image

from fmnotes import ROOT, data
from fmnotes.data import checkpoint, data_hash, load, load_model, resolve

datasets = pytest.importorskip("datasets")
needs_mirror = pytest.mark.skipif(not os.environ.get("FMNOTES_MIRROR"), reason="FMNOTES_MIRROR is not set")
MIRROR = os.environ.get("FMNOTES_MIRROR")


@pytest.fixture(autouse=True)
def nowhere_else(tmp_path, monkeypatch):
    """No mirror, no hub, a cache of our own, and an empty folder to stand in."""
    monkeypatch.delenv("FMNOTES_MIRROR", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def make(folder, text="a", configs=("default",), splits=("train", "test"), readme=True):
    """A data set as the hub lays it out: two rows a split, whose text says where it is from."""
    front = ["---", "configs:"]
    for config in configs:
        front += [f"- config_name: {config}", "  data_files:"]
        for split in splits:
            path = folder / config / f"{split}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = [{"text": f"{text} {config} {split} {i}", "n": i} for i in range(2)]
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
            front += [f"  - split: {split}", f"    path: {config}/{split}.jsonl"]
    if readme:
        (folder / "README.md").write_text("\n".join([*front, "---", ""]), encoding="utf-8")
    return folder


def test_a_folder_opens(tmp_path, capfd):
    folder = make(tmp_path / "mine")
    both = load(str(folder))
    assert {split: rows["text"][:] for split, rows in both.items()} == {
        split: [f"a default {split} {i}" for i in (0, 1)] for split in ("train", "test")
    }
    assert load(str(folder), split="test[:1]")["text"][:] == ["a default test 0"]
    assert len(load(str(folder), split="train+test")) == 4
    assert load(str(folder), split="test", columns=["n"]).column_names == ["n"]
    assert list(load(str(folder), split="test", columns=["n"], streaming=True)) == [{"n": 0}, {"n": 1}]
    assert load(str(folder), columns=["text"])["train"].column_names == ["text"]
    assert capfd.readouterr().err == "", "progress bars would stay in the notebook"
    assert not datasets.are_progress_bars_disabled()


def test_a_folder_without_a_readme_opens(tmp_path):
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "train.jsonl").write_text('{"text": "x"}\n', encoding="utf-8")
    assert load(str(tmp_path / "plain"), split="train")["text"][:] == ["x"]


def test_folders_of_the_same_name_are_not_mixed_up(tmp_path):
    for parent in "ab":
        folder = make(tmp_path / parent / "same", text=parent)
        assert load(str(folder), split="train")["text"][0] == f"{parent} default train 0"
    make(tmp_path / "a" / "same", text="changed")
    assert load(str(tmp_path / "a" / "same"), split="train")["text"][0] == "changed default train 0"


def test_the_mirror_comes_before_the_hub_and_a_folder_before_the_mirror(tmp_path, monkeypatch):
    make(tmp_path / "mirror" / "owner" / "name", text="mirror")
    make(tmp_path / "mirror" / "owner" / "name" / "qrels", text="judgements", splits=("test",))
    monkeypatch.setenv("FMNOTES_MIRROR", str(tmp_path / "mirror"))
    assert resolve("owner/name") == tmp_path / "mirror" / "owner" / "name"
    assert load("owner/name", split="train")["text"][0].startswith("mirror")
    assert load("owner/name-qrels", split="test")["text"][0].startswith("judgements")
    assert resolve("owner/other") == "owner/other" and resolve("owner/other-qrels") == "owner/other-qrels"
    make(tmp_path / "here" / "owner" / "name", text="folder")
    assert load("owner/name", split="train")["text"][0].startswith("folder")


def test_a_relative_mirror_is_relative_to_the_project(tmp_path, monkeypatch):
    make(tmp_path / "mirror" / "owner" / "name")
    monkeypatch.setenv("FMNOTES_MIRROR", os.path.relpath(tmp_path / "mirror", ROOT))
    assert resolve("owner/name") == tmp_path / "mirror" / "owner" / "name"
    monkeypatch.setenv("FMNOTES_MIRROR", "no/such/folder")
    with pytest.raises(FileNotFoundError, match="FMNOTES_MIRROR is no/such/folder, but .* is not a folder"):
        resolve("owner/name")


def test_a_missing_data_set_names_what_is_there_and_three_ways(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError) as error:
        load("owner/missing")
    for way in (
        "the data set owner/missing is not here",
        "1. set FMNOTES_MIRROR to a folder that holds owner/missing (it is not set)",
        "2. or give the path of a folder",
        "3. or go online: unset HF_HUB_OFFLINE",
        "`hf download --repo-type dataset owner/missing`",
    ):
        assert way in str(error.value)
    make(tmp_path / "mirror" / "owner" / "name")
    monkeypatch.setenv("FMNOTES_MIRROR", str(tmp_path / "mirror"))
    with pytest.raises(FileNotFoundError, match="the one that is set holds owner/name\n"):
        load("owner/missing")
    with pytest.raises(FileNotFoundError, match="there is no folder ./nowhere, and a hub id looks like owner/name"):
        load("./nowhere")
    for call in (resolve, load, load_model):
        with pytest.raises(FileNotFoundError, match="the name is empty: give a folder, or a hub id like owner/name"):
            call("")


def test_a_checkpoint_has_a_plain_name():
    assert checkpoint("tokenizer-museum") == ROOT / "data" / "checkpoints" / "tokenizer-museum"
    for name in ("", ".", "..", "../museum", "tokenizer-museum/", "./tokenizer-museum", "README.md", str(ROOT)):
        with pytest.raises(FileNotFoundError, match=r"there is no checkpoint '.*; there are: .*tokenizer-museum"):
            checkpoint(name)


def test_a_missing_part_is_named_with_those_that_are_there(tmp_path):
    folder = str(make(tmp_path / "mine", configs=("one", "two")))
    with pytest.raises(ValueError, match="has several configurations: choose one of one, two"):
        load(folder)
    with pytest.raises(ValueError, match="has no configuration 'three': choose one of one, two"):
        load(folder, "three")
    for split in ("valid", "valid[:3]", "train+valid", ""):
        with pytest.raises(ValueError, match=f"has no split '{split and 'valid'}': choose from train, test"):
            load(folder, "one", split)
    for streaming in (False, True):
        with pytest.raises(ValueError, match="has no column 'txt': choose from text, n"):
            load(folder, "one", "test", columns=["n", "txt"], streaming=streaming)
    with pytest.raises(ValueError, match="has no column 'txt'"):
        load(folder, "one", columns=["txt"])
    for name in (folder, "museum/scenes"):
        with pytest.raises(TypeError, match=r"columns must be a list of names like \['text'\], not the str 'text'"):
            load(name, columns="text")
    (tmp_path / "mine" / "two" / "test.jsonl").unlink()
    (tmp_path / "mine" / "two" / "train.jsonl").unlink()
    assert len(load(folder, "one", "train")) == 2, "the other configuration still opens"
    with pytest.raises(FileNotFoundError, match="lists the configuration two, but its files are missing"):
        load(folder, "two")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty holds no files of data"):
        load(str(tmp_path / "empty"))


def test_the_hub_is_asked_for_what_is_nowhere_else(monkeypatch):
    asked = []
    monkeypatch.setattr(datasets, "get_dataset_config_names", lambda name: ["en", "ko"])
    monkeypatch.setattr(datasets, "get_dataset_default_config_name", lambda name: None)
    monkeypatch.setattr(datasets, "get_dataset_split_names", lambda name, config: ["train"])
    rows = datasets.Dataset.from_list([{"text": "a"}])
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: asked.append((a, k)) or rows)
    assert load("allenai/c4", "en", "train", streaming=True) is rows
    assert asked == [(("allenai/c4", "en"), {"split": "train", "streaming": True})]
    with pytest.raises(ValueError, match="has no configuration 'de': choose one of en, ko"):
        load("allenai/c4", "de")
    with pytest.raises(ValueError, match="has no split 'test': choose from train"):
        load("allenai/c4", "en", "test")


@pytest.fixture
def museum(tmp_path, monkeypatch):
    """A stand-in for the museum: what `load` asks of it, and nothing else."""

    def stream(config, split="train", seed=0):
        for i in range(5):
            yield {"text": f"{config} {split} {seed}", "n": i}

    def draw(batch):
        return batch | {"image": [n + 0.5 for n in batch["n"]]}

    def with_pictures(dataset):
        return dataset.with_transform(draw) if hasattr(dataset, "with_transform") else dataset.map(draw, batched=True)

    monkeypatch.setattr(data, "MUSEUM", make(tmp_path / "museum", "m", ("scenes", "stories"), ("validation", "test")))
    fake = types.SimpleNamespace(stream=stream, with_pictures=with_pictures)
    monkeypatch.setattr("fmnotes.museum", fake, raising=False)
    monkeypatch.setitem(__import__("sys").modules, "fmnotes.museum", fake)


def test_the_museum_is_read_from_its_sample_and_its_training_rows_are_streamed(museum):
    rows = load("museum/stories", split="validation")
    assert rows[0] == {"text": "m stories validation 0", "n": 0, "image": 0.5}
    assert set(load("museum/stories")) == {"validation", "test"}
    rows = load("museum/stories", split="train", seed=3)
    assert isinstance(rows, datasets.IterableDataset)
    assert next(iter(rows)) == {"text": "stories train 3", "n": 0, "image": 0.5}
    assert list(load("museum/scenes", split="train", columns=["n"]).take(2)) == [{"n": 0}, {"n": 1}]


@pytest.mark.parametrize("options", [{"split": "train"}, {"split": "test"}, {"split": "test", "streaming": True}])
def test_pictures_can_be_chosen_without_what_they_are_drawn_from(museum, options):
    assert next(iter(load("museum/scenes", columns=["image"], **options))) == {"image": 0.5}
    assert next(iter(load("museum/scenes", columns=["text"], **options))).keys() == {"text"}


def test_the_real_museum_opens():
    for config in ("scenes", "captions", "questions", "pages", "knowledge", "stories"):
        live, held_out = (next(iter(load(f"museum/{config}", split=split))) for split in ("train", "test"))
        assert live.keys() == held_out.keys() and live["id"] != held_out["id"]
    assert np.asarray(load("museum/scenes", split="test", columns=["image"])[:2]["image"]).shape == (2, 64, 64, 3)
    rows = load("museum/scenes", split="test[:2]")
    assert rows[0]["image"].shape == (64, 64, 3) and len(rows[:]["image"]) == 2
    with pytest.raises(ValueError, match="'image'"):
        rows["image"]  # if this works one day, the docstring of `load` need not warn


def test_museum_errors(museum, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="museum has no configuration 'animals': choose one of scenes, stories"):
        load("museum/animals", split="train")
    with pytest.raises(ValueError, match="museum has no split 'dev': choose from train, validation, test"):
        load("museum/scenes", split="dev")
    with pytest.raises(ValueError, match="museum/scenes has no column 'picture': choose from text, n"):
        load("museum/scenes", split="train", columns=["picture"])
    with pytest.raises(ValueError, match="museum/scenes has no column 'picture': choose from text, n, image"):
        load("museum/scenes", split="test", columns=["image", "picture"])
    with pytest.raises(ValueError, match="names its configuration already"):
        load("museum/scenes", "stories")
    for name, config in (("museum", None), ("museum/", None), ("museum", "scenes")):
        with pytest.raises(ValueError, match="several data sets: choose one of museum/scenes, museum/stories$"):
            load(name, config, "test")
    for split in ("train[:5]", "train+test", "test + train", " train[5%:]"):
        with pytest.raises(ValueError, match="the museum's train split is an endless stream: use .take") as error:
            load("museum/scenes", split=split)
        assert repr(split) in str(error.value)
    monkeypatch.setattr(data, "MUSEUM", tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match="python -m fmnotes museum build"):
        load("museum/scenes")


def tiny(folder, **options):
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=11, n_positions=8, n_embd=8, n_layer=1, n_head=2)
    model = transformers.GPT2LMHeadModel(config)
    model.save_pretrained(folder, **options)
    return model


def test_a_model_opens_from_a_folder_and_from_the_mirror(tmp_path, monkeypatch, capfd):
    import torch
    import transformers

    saved = tiny(tmp_path / "mirror" / "owner" / "tiny")
    monkeypatch.setenv("FMNOTES_MIRROR", str(tmp_path / "mirror"))
    capfd.readouterr()
    model = load_model("owner/tiny", transformers.GPT2LMHeadModel)
    assert capfd.readouterr().err == ""
    assert isinstance(model, transformers.GPT2LMHeadModel) and not model.training
    assert all(torch.equal(a, b) for a, b in zip(saved.parameters(), model.parameters(), strict=True))
    assert isinstance(load_model(str(tmp_path / "mirror/owner/tiny")), transformers.GPT2Model)
    assert load_model("owner/tiny", dtype=torch.bfloat16).dtype == torch.bfloat16


def test_only_safetensors_are_loaded(tmp_path):
    import torch

    model = tiny(tmp_path / "tiny")
    (tmp_path / "tiny" / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "tiny" / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match="no .safetensors, .* it holds config.json, .*pytorch_model.bin"):
        load_model(str(tmp_path / "tiny"))
    with pytest.raises(FileNotFoundError) as error:
        load_model("owner/missing")
    assert "the model owner/missing is not here" in str(error.value)
    assert "`hf download owner/missing`" in str(error.value)


def test_data_hash():
    rows = [{"text": "a", "n": 1}, {"text": "b", "n": 2}]
    reference = data_hash(rows)
    assert reference == data_hash(iter([{"n": 1, "text": "a"}, {"n": 2, "text": "b"}]))
    assert reference == data_hash(datasets.Dataset.from_list(rows))
    assert reference.startswith("sha256:") and len(reference) == 23
    picture, other = (Image.fromarray(np.full((2, 2, 3), value, dtype=np.uint8)) for value in (1, 2))
    different = [
        rows[::-1],
        rows[:1],
        ["a", "b"],
        ["ab"],
        [b"ab"],
        [np.zeros(2)],
        [np.zeros((2, 1))],
        [picture],
        [other],
    ]
    different.append([np.zeros(4, dtype=np.int32)])
    assert len({reference, *map(data_hash, different)}) == len(different) + 1
    assert data_hash([np.float64(1.5)]) == data_hash([np.float64(1.5)])
    assert data_hash(["a", "b"]) == "sha256:14bdec8c77f9feeb", "committed records name data by such hashes"
    assert data_hash(["한", ""]) == "sha256:2ee999f028d626b7", "committed records name data by such hashes"
    message = "row 1 cannot be hashed, it holds a value of type object: give dicts"
    with pytest.raises(TypeError, match=message):
        data_hash(["a", object()])
    with pytest.raises(TypeError, match="row 0 cannot be hashed, '<' not supported .*: give dicts whose keys are all"):
        data_hash([{1: "a", "b": 2}])
    for rows in ("ab", b"ab", {"train": ["a"]}):
        with pytest.raises(TypeError, match=f"give rows, like a list, not one {type(rows).__name__}"):
            data_hash(rows)


def test_data_hash_of_an_array_of_objects_is_that_of_its_content():
    def made(last):
        return np.array(["".join(["o", "wl"]), None, [1, last]], dtype=object)

    a, b, c = made(1000), made(1000), made(1001)
    assert data_hash([a]) == data_hash([b]) != data_hash([c])
    with pytest.raises(TypeError, match="row 0 cannot be hashed, it holds a value of type object"):
        data_hash([np.array([object()])])


@needs_mirror
@pytest.mark.parametrize(
    ("name", "config", "split", "columns"),
    [
        ("roneneldan/TinyStories", None, "train", ["text"]),
        ("roneneldan/TinyStories", None, "validation", ["text"]),
        ("allenai/c4", "en", "train", ["text", "url"]),
        ("jxie/flickr8k", None, "test", ["image", "caption_0", "caption_4"]),
        ("vzhou842/easy-vqa", "questions", "test", ["image_id", "question", "answer"]),
        ("vzhou842/easy-vqa", "images", "test", ["image_id", "image"]),
        ("BeIR/scifact", "corpus", "corpus", ["_id", "title", "text"]),
        ("BeIR/scifact", "queries", "queries", ["_id", "text"]),
        ("BeIR/scifact-qrels", None, "test", ["query-id", "corpus-id", "score"]),
        ("irds/cranfield", "corpus", "corpus", ["_id", "text"]),
        ("irds/cranfield", "queries", "queries", ["_id", "text"]),
        ("irds/cranfield-qrels", None, "test", ["query-id", "corpus-id", "score"]),
        ("rajpurkar/squad", None, "validation", ["context", "question", "answers"]),
        ("uoft-cs/cifar10", None, "test", ["img", "label"]),
    ],
)
def test_every_data_set_of_the_mirror_opens(monkeypatch, name, config, split, columns):
    monkeypatch.setenv("FMNOTES_MIRROR", MIRROR)
    rows = load(name, config, split, columns=columns)
    assert len(rows) > 200 and rows[0].keys() == set(columns) and all(value is not None for value in rows[0].values())


@needs_mirror
def test_the_mirrors_judgements_are_not_mixed_up(monkeypatch):
    monkeypatch.setenv("FMNOTES_MIRROR", MIRROR)
    scifact, cranfield = (load(f"{name}-qrels", split="test") for name in ("BeIR/scifact", "irds/cranfield"))
    assert (len(scifact), len(cranfield)) == (339, 1612)


@needs_mirror
def test_the_mirrors_model_opens(monkeypatch):
    monkeypatch.setenv("FMNOTES_MIRROR", MIRROR)
    model = load_model("sentence-transformers/all-MiniLM-L6-v2")
    assert model.config.hidden_size == 384 and not model.training
