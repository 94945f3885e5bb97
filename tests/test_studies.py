"""Studies: they can be run, they go on where they were stopped, and what they left in `data/studies` holds together."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
import transformers

from fmnotes import ROOT, clip, connector, metrics, museum
from fmnotes.gpt2 import GPT2, GPT2Config, token_losses
from fmnotes.gpt2.loss import IGNORE
from fmnotes.museum import prompt, questions
from fmnotes.museum.world import dice_for
from fmnotes.studies import (
    clip_contrast,
    clip_museum,
    connector_kinds,
    connector_museum,
    gpt2_museum,
    gpt2_nano,
    museum_captioner,
    museum_looks,
    museum_pairs,
    museum_rows,
    nano,
    reading,
    training_grid,
    training_ingredients,
    training_optimizers,
    training_tinystories,
)
from fmnotes.training import TrainingConfig, read_metrics


def test_the_study_of_the_nano_model_runs_and_goes_on(tmp_path, monkeypatch):
    sizes = {"STEPS": 6, "WARMUP": 1, "EVERY": 2, "HELD_OUT": 2, "SEEDS": (0, 1), "STUDY": tmp_path / "study"}
    for name, value in sizes.items():
        monkeypatch.setattr(gpt2_nano, name, value)
    written = []
    for runs in ("first", "first", "again"):  # the second call finds the first one's checkpoints, the third finds none
        monkeypatch.setattr(gpt2_nano, "RUNS", tmp_path / runs)
        gpt2_nano.main()
        written.append(json.loads((tmp_path / "study" / "curves.json").read_text()))
    assert written[0] == written[1] == written[2]
    assert written[0]["tokens"] == [1024, 2048, 3072] and set(written[0]["gpt2"]) == {"0", "1"}
    bits = [line["bits"] for line in read_metrics(tmp_path / "first" / "seed-1" / "metrics.jsonl") if "bits" in line]
    assert [round(value, 4) for value in bits] == written[0]["gpt2"]["1"] != written[0]["gpt2"]["0"]
    assert bits[-1] < bits[0]


def test_the_committed_curves_are_those_of_the_committed_recipe():
    curves = json.loads((ROOT / "data" / "studies" / "gpt2_nano" / "curves.json").read_text())
    tokens_a_step = gpt2_nano.BATCH_SIZE * gpt2_nano.GPT2Config.nano().context_length
    steps = range(gpt2_nano.EVERY, gpt2_nano.STEPS + 1, gpt2_nano.EVERY)
    assert curves["tokens"] == [step * tokens_a_step for step in steps]
    assert set(curves["gpt2"]) == {str(seed) for seed in gpt2_nano.SEEDS}
    for bits in (curves["ngram"], *curves["gpt2"].values()):
        assert len(bits) == len(curves["tokens"]) and min(bits) > curves["floor"]


def committed(name):
    return json.loads((ROOT / "data" / "studies" / name / "curves.json").read_text())


@pytest.fixture
def small(monkeypatch, tmp_path):
    """The studies of training, a few steps long, in folders of their own."""
    monkeypatch.setattr(nano, "HELD_OUT", 2)
    for study in (training_grid, training_ingredients, training_optimizers):
        for name, value in {"STEPS": 3, "WARMUP": 1, "SEEDS": (0, 1)}.items():
            monkeypatch.setattr(study, name, value)
        folder = tmp_path / study.__name__.rpartition(".")[2]
        monkeypatch.setattr(study, "STUDY", folder / "study")
        monkeypatch.setattr(study, "RUNS", folder / "runs")
    return tmp_path


def test_a_run_is_made_once_and_says_what_the_model_says(small, monkeypatch):
    made = []

    def model():
        made.append(GPT2(GPT2Config.nano()))
        return made[-1]

    recipe = TrainingConfig(6, 5e-3, warmup_steps=1)
    first, again = (nano.run(small / "a", recipe, model) for _ in range(2))
    assert first == again and len(made) == 1 and not list((small / "a").glob("step-*"))
    ids, held_out, n_bytes = nano.rows(6 * nano.BATCH_SIZE * 128, 2)
    nats = token_losses(made[0], held_out).sum().item()
    assert first["bits"] == pytest.approx(metrics.bits_per_byte(nats, n_bytes), abs=1e-5)
    assert len(first["curve"]) == 6 and first["curve"][0] == pytest.approx(np.log(4096), abs=0.1)
    assert first["gain"] == pytest.approx(1, abs=0.05) and 0.01 < first["rms"] < 0.1


def test_a_run_that_blows_up_has_no_bits(small):
    result = nano.run(small / "b", TrainingConfig(4, 1e30, max_norm=None))
    assert result["bits"] is None and result["curve"] == []


def test_the_grid_goes_on_with_what_is_missing(small, monkeypatch):
    monkeypatch.setattr(training_grid, "SPACE", {"learning_rate": [1e-3, 1e-2], "weight_decay": [0.0, 0.1]})
    monkeypatch.setattr(training_grid, "LARGER_PAIRS", [(1e-3, 0.1)])
    monkeypatch.setattr(training_grid, "BEST", 1)
    run, calls = nano.run, []

    def until_the_plug_is_pulled(folder, *rest):
        calls.append(folder.name)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return run(folder, *rest)

    monkeypatch.setattr(nano, "run", until_the_plug_is_pulled)
    with pytest.raises(KeyboardInterrupt):
        training_grid.search()
    done = set(calls[:2])
    training_grid.search()
    assert done.isdisjoint(calls[3:]) and len(set(calls)) == 4
    training_grid.main()
    found = json.loads((training_grid.STUDY / "curves.json").read_text())
    assert [row[:2] for row in found["grid"]] == [[1e-3, 0.0], [1e-3, 0.1], [1e-2, 0.0], [1e-2, 0.1]]
    rate, decay, seeds = found["best"][0]
    assert [rate, decay, seeds[0]] == min(found["grid"], key=lambda row: row[2]) and len(seeds) == 2
    assert [row[:2] for row in found["larger"]] == [[1e-3, 0.1]]


def test_each_optimizer_is_tuned_before_it_is_compared(small, monkeypatch):
    grids = {name: grid[:2] for name, grid in training_optimizers.GRIDS.items()}
    monkeypatch.setattr(training_optimizers, "GRIDS", grids)
    training_optimizers.main()
    found = json.loads((training_optimizers.STUDY / "curves.json").read_text())
    for name, arm in found.items():
        means = {(rate, penalty): sum(seeds) for rate, penalty, seeds in arm["finalists"]}
        assert (arm["rate"], arm["penalty"]) == min(means, key=means.get), name
        assert len(means) == 2 and [seed["bits"] for seed in arm["best"]] in [row[2] for row in arm["finalists"]]
        assert {row[2][0] for row in arm["finalists"]} == {row[2] for row in arm["tuned"]}
    assert len({arm["best"][0]["bits"] for arm in found.values()}) == 3


def test_every_arm_changes_what_it_says(small):
    arms = training_ingredients.arms()
    found = {key: training_ingredients.run_arm(*key, *arm, 0)["bits"] for key, arm in arms.items() if key[1] == 5e-3}
    assert len(set(found.values())) == len(found), "two arms gave the same: one of them changes nothing"
    whole, plain = (
        training_ingredients.arms()[name, 5e-3][1] for name in ("12 blocks", "12 blocks, no residual scaling")
    )
    ratio = plain["model"]().h[3].mlp.c_proj.weight.std() / whole["model"]().h[3].mlp.c_proj.weight.std()
    assert ratio.item() == pytest.approx(24**0.5, rel=0.05)


def test_the_committed_studies_are_of_the_committed_recipes():
    ingredients = committed("training_ingredients")
    assert ingredients["tokens"] == training_ingredients.STEPS * nano.BATCH_SIZE * 128
    assert list(ingredients["arms"]) == [f"{name} @ {rate:g}" for name, rate in training_ingredients.arms()]
    assert {len(arm) for arm in ingredients["arms"].values()} == {len(training_ingredients.SEEDS)}
    grid = committed("training_grid")
    pairs = [(rate, decay) for rate, decay, _ in grid["grid"]]
    assert pairs == training_optimizers.GRIDS["AdamW"]
    assert [(rate, decay) for rate, decay, _ in grid["larger"]] == training_grid.LARGER_PAIRS
    optimizers = committed("training_optimizers")
    assert optimizers["AdamW"]["tuned"] == grid["grid"]
    for name, arm in optimizers.items():
        assert [(rate, penalty) for rate, penalty, _ in arm["tuned"]] == training_optimizers.GRIDS[name]
        assert len(arm["best"]) == len(training_optimizers.SEEDS)
    live = {seeds[0]["bits"] for seeds in [ingredients["arms"]["all of them @ 0.005"]]}
    assert live == {bits for rate, decay, bits in grid["grid"] if (rate, decay) == (5e-3, 0.1)}


def test_the_study_of_real_text_runs_and_goes_on(tmp_path, monkeypatch):
    rows = {"train": ["A cat sat. It was warm, and the cat was glad. "] * 40, "validation": ["The cat ran away. "] * 20}
    sizes = {"VOCAB_SIZE": 280, "CONTEXT": 32, "BATCH_SIZE": 2, "EPOCHS": 1, "WARMUP": 2, "EVERY": 4, "HELD_OUT": 1}
    for name, value in (sizes | {"DRAWN": 4, "SHOWN": 2, "STUDY": tmp_path / "study"}).items():
        monkeypatch.setattr(training_tinystories, name, value)
    monkeypatch.setattr(training_tinystories, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(training_tinystories, "stories", rows.__getitem__)
    monkeypatch.setattr(training_tinystories.sys, "argv", ["study"])
    monkeypatch.setattr(
        GPT2Config, "mini", classmethod(lambda cls, *sizes: cls(*sizes, d_model=16, n_layer=1, n_head=2))
    )
    training_tinystories.main()
    found = json.loads((tmp_path / "study" / "curves.json").read_text())
    assert len(found["samples"]) == 3 and found["samples"][0].startswith("Once upon a time")
    for name in training_tinystories.MODELS:
        assert found["curves"][name][-1][0] == found["steps"]
        assert 0 < found["curves"][name][-1][1] < np.log(280)
        assert GPT2.from_pretrained(tmp_path / "runs" / name / "model").config.d_model == 16
    monkeypatch.setattr(training_tinystories, "loss", lambda *_: pytest.fail("trained again, though it is done"))
    training_tinystories.main()
    assert json.loads((tmp_path / "study" / "curves.json").read_text()) == found


def test_the_committed_study_of_real_text_is_whole():
    found = committed("training_tinystories")
    steps, losses = zip(*found["curves"]["fmnotes"])
    theirs = [step for step, _ in found["curves"]["transformers"]]
    assert steps[-1] == found["steps"] and theirs == list(steps[: len(theirs)])
    assert losses[-1] < losses[0] and found["epochs"] == training_tinystories.EPOCHS
    assert len(found["samples"]) == 1 + training_tinystories.SHOWN and len(found["quality"]) == 4


# Reading, and gpt2-museum


def test_the_study_of_reading_runs_and_goes_on(tmp_path, monkeypatch):
    short = replace(reading.BASE, steps=2, n_layer=1, d_model=32, length=160)
    arms = {
        "base": short,
        "AdamW": replace(short, optimizer="AdamW"),
        "bare answers": replace(short, restate=False, questions=1),
        "three pages throughout": replace(short, pages=3, length=400, exam=3),
        "one page, then three": replace(short, then=(3, 400), primer=5, exam=3),
    }
    fixed = {"ARMS": arms, "SEEDS": 2, "ITEMS": 1, "WARMUP": 1, "TOKENS_A_STEP": 400}
    fixed |= {"RUNS": tmp_path / "runs", "STUDY": tmp_path / "study"}
    fixed["ProcessPoolExecutor"] = lambda n: ThreadPoolExecutor(1)  # in turn: threads would share one torch seed
    for name, value in fixed.items():
        monkeypatch.setattr(reading, name, value)
    monkeypatch.setattr(gpt2_museum, "RUNS", tmp_path / "none")
    monkeypatch.setattr(torch, "set_num_threads", lambda n: None)  # of this process it is not to be changed
    reading.main()
    written = (tmp_path / "study" / "curves.json").read_text()
    found = json.loads(written)
    assert set(found["arms"]) == set(arms) and found["emergence"] == {}
    assert found["arms"]["base"]["difference"] is None and found["arms"]["AdamW"]["difference"]["low"] < 1
    (tmp_path / "runs" / "AdamW-1.json").unlink()  # as if it had been stopped before this one
    reading.main()
    assert (tmp_path / "study" / "curves.json").read_text() == written


def test_rows_of_the_study_are_what_its_log_says():
    rows = reading.StudyRows(reading.ARMS["bare answers"], 2, 256, seed=1)
    assert (rows.answers, rows.first, rows.rest, rows.abroad, rows.seed) == (10.0, 4.0, 1.0, 0, 1)
    assert {1.0, 10.0, 40.0} <= set(rows[0][2].flatten().tolist())


def test_gpt2_museum_is_trained_in_stages_and_goes_on(tmp_path, monkeypatch):
    stage = gpt2_museum.Stage(1, 160, {"reading": 1, "stories": 1, "others": 1}, (1, 1), 1.0, 2, 1e-3, 1e-3, 1)
    stages = {"short": stage, "deep": replace(stage, n_layer=2, pages=(1, 2), steps=3)}
    monkeypatch.setattr(gpt2_museum, "STAGES", stages)
    looked = {"one hop, nats": 2.0, "stories, bits per byte": 1.0, "head 1.3": 0.5}
    monkeypatch.setattr(gpt2_museum, "examined", lambda model, sizes: looked | {"sizes": float(len(sizes))})
    monkeypatch.setattr("sys.argv", ["gpt2_museum"])
    monkeypatch.setattr(torch, "set_num_threads", lambda n: None)
    for runs in ("at once", "in two"):
        monkeypatch.setattr(gpt2_museum, "RUNS", tmp_path / runs)
        monkeypatch.setattr(gpt2_museum, "SHIPPED", tmp_path / runs / "shipped")
        if runs == "in two":
            monkeypatch.setattr("sys.argv", ["gpt2_museum", "short"])
            gpt2_museum.main()
            assert gpt2_museum.finished("short") and gpt2_museum.finished("deep") is None
            assert not gpt2_museum.SHIPPED.exists()
            monkeypatch.setattr("sys.argv", ["gpt2_museum"])
        gpt2_museum.main()
    losses = [read_metrics(tmp_path / runs / "deep" / "metrics.jsonl") for runs in ("at once", "in two")]
    assert [x.get("loss") for x in losses[0]] == [x.get("loss") for x in losses[1]] and len(losses[0]) == 6
    assert [line["sizes"] for line in losses[0] if "sizes" in line] == [2.0] * 3
    found = reading.emergence()  # a head is named by its block in the model of two
    assert found["short"] == {"tokens": [480, 960], "one hop, nats": [2.0] * 2, "heads": {"head 2.3": [0.5] * 2}}
    assert found["deep"]["tokens"] == [1440, 1920, 2400] and found["deep"]["heads"] == {"head 1.3": [0.5] * 3}
    shipped = GPT2.from_pretrained(gpt2_museum.SHIPPED)
    for name, parameter in gpt2_museum.finished("deep").named_parameters():
        assert torch.equal(shipped.get_parameter(name), parameter.half().float()), name
    opened = transformers.AutoTokenizer.from_pretrained(gpt2_museum.SHIPPED)
    assert opened.eos_token == prompt.END and len(opened) == shipped.config.vocab_size


def test_the_committed_study_of_reading_is_that_of_its_arms():
    found = committed("reading")
    assert {name: arm["arm"] for name, arm in found["arms"].items()} == json.loads(
        json.dumps({name: reading.asdict(arm) for name, arm in reading.ARMS.items()})
    )
    for name, arm in found["arms"].items():
        nats = [seed["one hop"]["nats"] for seed in arm["seeds"]]
        assert len(nats) == reading.SEEDS
        assert arm["one hop, nats"]["value"] == pytest.approx(np.mean(nats), abs=1e-3)
        twin = reading.TWINS[arm["arm"]["exam"]]
        if name == twin:
            continue
        others = found["arms"][twin]["seeds"]
        if name == "bare answers":  # of their answers, only the values can be compared
            nats, theirs = ([seed["value, nats"] for seed in seeds] for seeds in (arm["seeds"], others))
        else:
            theirs = [seed["one hop"]["nats"] for seed in others]
        assert arm["difference"] == pytest.approx(metrics.difference_interval(nats, theirs)._asdict(), abs=1e-3)


# CLIP


def test_pairs_are_drawn_by_their_number_alone():
    pairs = museum_pairs.MuseumPairs(6, captions=2, seed=1)
    pixels, ids = pairs[3]
    assert pixels.shape == (6, 3, 64, 64) and ids.shape[:2] == (6, 2) and pairs.size == 12
    again = museum_pairs.MuseumPairs(6, captions=2, seed=1)[3]
    assert torch.equal(pixels, again[0]) and torch.equal(ids, again[1])
    assert not torch.equal(pixels, pairs[4][0])
    pixels, ids = museum_pairs.MuseumPairs(6, doubles=True)[0]
    assert torch.equal(ids[0::2], ids[1::2]) and not torch.equal(pixels[0::2], pixels[1::2])
    torch.manual_seed(0)
    model = clip.CLIP(clip.CLIPConfig.quick())
    pixels, ids = pairs[0]
    expected = (model.loss(pixels, ids[:, 0]) + model.loss(pixels, ids[:, 1])) / 2
    torch.testing.assert_close(museum_pairs.loss(model, (pixels, ids)), expected, rtol=0, atol=1e-5)
    ids = ids.flatten(0, 1)
    torch.testing.assert_close(museum_pairs.encoded(model, ids), model.encode_text(ids), rtol=0, atol=1e-5)
    pool = museum_pairs.MuseumPairs(6, pool=12, seed=1)
    assert torch.equal(pool[0][0], pool[2][0]) and not torch.equal(pool[0][1][:, :, :4], pool[2][1][:, :, :4])
    dice = museum.Dice(1)
    drawn = [museum_pairs._scene(0, i) for i in range(200)]
    assert all(museum_pairs.SAYS_WHERE.search(museum_pairs._caption(scene, dice, True)) for scene in drawn)
    said = [bool(museum_pairs.SAYS_WHERE.search(museum_pairs._caption(scene, dice, False))) for scene in drawn]
    assert 0.25 < sum(said) / 200 < 0.45
    mixed, plain = museum_pairs.MuseumPairs(6, alone=2, seed=1), museum_pairs.MuseumPairs(6, seed=1)
    assert torch.equal(mixed[3][0], plain[3][0]) and not torch.equal(mixed[2][0], plain[2][0])
    larger = museum_pairs.MuseumPairs(12, captions=2, seed=1)[0]
    assert torch.equal(larger[0][:6], pairs[0][0]) and torch.equal(larger[0][6:], pairs[1][0])


def test_the_study_of_contrast_runs_and_goes_on(tmp_path, monkeypatch):
    base = clip_contrast.Arm(size=8)
    arms = {"learned": base, "τ = 0.2": replace(base, temperature=0.2), "twice": replace(base, doubles=True)}
    fixed = {"ARMS": arms, "BASE": base, "SEEDS": 2, "PAIRS": 32, "POOL": 16, "LOOKS": 2}
    fixed |= {"RUNS": tmp_path / "runs", "STUDY": tmp_path / "study"}
    fixed |= {"ProcessPoolExecutor": lambda n: ThreadPoolExecutor(1)}
    fixed |= {name: partial(getattr(museum_pairs, name), number=30) for name in ("examined", "spread")}
    for name, value in fixed.items():
        monkeypatch.setattr(clip_contrast, name, value)
    monkeypatch.setattr(torch, "set_num_threads", lambda n: None)
    clip_contrast.main()
    written = (tmp_path / "study" / "curves.json").read_text()
    found = json.loads(written)
    assert set(found["arms"]) == set(arms) and found["arms"]["learned"]["difference"] is None
    for name, arm in found["arms"].items():
        scales = {scale for seed in arm["seeds"] for scale in seed["scale"]}
        assert (scales == {5.0}) == (name == "τ = 0.2")
        assert all(len(seed["loss"]) == 4 and len(seed["uniformity"]) == 2 for seed in arm["seeds"])
    (tmp_path / "runs" / "twice-1.json").unlink()  # as if it had been stopped before this one
    clip_contrast.main()
    assert (tmp_path / "study" / "curves.json").read_text() == written


def test_the_committed_curves_of_contrast_are_those_of_the_committed_arms():
    found = json.loads((clip_contrast.STUDY / "curves.json").read_text())
    assert found["pairs"] == clip_contrast.PAIRS and list(found["arms"]) == list(clip_contrast.ARMS)
    key, best = "validation, caption to scene, recall@1", found["ceiling"]["caption to scene"]["recall@1"]
    for name, arm in found["arms"].items():
        assert arm["arm"] == vars(clip_contrast.ARMS[name]) and len(arm["seeds"]) == clip_contrast.SEEDS
        last = [seed[key][-1] for seed in arm["seeds"]]
        interval = metrics.seed_interval(last)._asdict()
        assert max(last) < best and arm["recall@1"] == {key: round(value, 4) for key, value in interval.items()}


def test_a_deepened_tower_sees_the_same_and_all_its_blocks_learn():
    torch.manual_seed(0)
    small = replace(clip.CLIPConfig.quick(), vision_n_layer=2)
    model, pixels = clip.CLIP(small), torch.randn(3, 3, 64, 64)
    deep = clip_museum.deepened(model, 6)
    assert deep.config == replace(small, vision_n_layer=6)
    torch.testing.assert_close(deep.encode_image(pixels), model.encode_image(pixels), rtol=0, atol=1e-6)
    deep.encode_image(pixels).square()[:, 0].sum().backward()
    assert all(block.mlp["fc2"].weight.grad.abs().max() > 0 for block in deep.visual.blocks)
    with pytest.raises(ValueError, match="2 blocks become a multiple of 2, not 5"):
        clip_museum.deepened(model, 5)


def test_clip_museum_is_trained_in_stages_goes_on_and_ships(tmp_path, monkeypatch):
    stage = clip_museum.Stage(2, 4, 2, 1, 0, 3, 1e-2, 1e-3, 2)
    told = replace(stage, told=True)
    stages = {"shallow": stage, "told": told, "deep": replace(told, n_layer=4, steps=2)}
    fixed = {"STAGES": stages, "SHIPPED": tmp_path / "shipped", "RUNS": tmp_path / "runs"}
    fixed |= {"examined": lambda model: {"scale": model.scale.item()}}
    for name, value in fixed.items():
        monkeypatch.setattr(clip_museum, name, value)
    monkeypatch.setattr(clip.CLIPConfig, "tiny", clip.CLIPConfig.quick)
    for last in ("shallow", "told"):
        monkeypatch.setattr(sys, "argv", ["clip_museum", last])
        clip_museum.main()
    assert not clip_museum.SHIPPED.exists()
    left = clip_museum.finished("told")
    begun = clip_museum.start(stages["deep"], left)
    assert begun.captioner is left.captioner and begun.config.vision_n_layer == 4
    monkeypatch.setattr(sys, "argv", ["clip_museum"])
    clip_museum.main()
    lines = read_metrics(tmp_path / "runs" / "deep" / "metrics.jsonl")
    assert len([line for line in lines if "loss" in line]) == 2
    model = clip.CLIP.from_pretrained(clip_museum.SHIPPED)
    assert model.config == clip.CLIPConfig.quick()
    assert transformers.AutoTokenizer.from_pretrained(clip_museum.SHIPPED).eos_token == prompt.END


def told() -> tuple[museum_captioner.Told, tuple[torch.Tensor, torch.Tensor]]:
    torch.manual_seed(0)
    model = museum_captioner.Told(clip.CLIP(clip.CLIPConfig.quick())).double()
    pixels, ids = museum_pairs.MuseumPairs(3, 2, seed=5)[0]
    return model, (pixels.double(), ids)


def test_a_captioner_does_not_see_what_comes_later_and_sees_its_own_picture_alone():
    model, (pixels, ids) = told()
    patches = model.towers.visual.patches(pixels)
    logits = model.captioner(ids, patches).unflatten(0, ids.shape[:2])
    later = ids.clone()
    later[:, :, 4:] = 7
    torch.testing.assert_close(model.captioner(later, patches).unflatten(0, ids.shape[:2])[:, :, :5], logits[:, :, :5])
    other = patches.clone()
    other[1] = other[1].flip(-1)
    seen = model.captioner(ids, other).unflatten(0, ids.shape[:2])
    torch.testing.assert_close(seen[[0, 2]], logits[[0, 2]])
    assert (seen[1] - logits[1]).abs().flatten(1).max(1).values.min() > 1e-6  # both captions of that picture


def test_told_towers_pay_for_the_choice_and_for_the_telling():
    model, (pixels, ids) = told()
    telling = model.captioner.loss(ids, model.towers.visual.patches(pixels))
    contrast = museum_pairs.loss(model.towers, (pixels, ids))
    torch.testing.assert_close(museum_captioner.loss(model, (pixels, ids)), contrast + telling)
    rows = [row[: int((row != 4091).sum())] for row in ids.flatten(0, 1)]
    logits = model.captioner(ids, model.towers.visual.patches(pixels)).log_softmax(-1)
    of_each = [-scores[range(len(row)), row] for scores, row in zip(logits, rows, strict=True)]
    torch.testing.assert_close(telling, torch.cat(of_each).mean())


# Connectors


def looking(n_tokens: int) -> connector.VisionLanguageModel:
    torch.manual_seed(0)
    shape = connector.ConnectorConfig("qformer", 64, 64, 64, n_queries=n_tokens, n_layer=1, n_head=2)
    visual, image = clip.CLIP(clip.CLIPConfig.quick()).visual, museum_rows.encoded(prompt.IMAGE)[0]
    return connector.VisionLanguageModel(visual, shape, GPT2(GPT2Config.nano(context_length=96)), image).eval()


@pytest.mark.parametrize("stage", ["align", "instruct", "places", "again"])
def test_looks_hold_a_picture_its_questions_and_the_answers_alone_as_targets(stage):
    looks = museum_looks.MuseumLooks(5, 6, stage, turns=3, seed=1)
    pixels, ids, targets = looks[2]
    again = museum_looks.MuseumLooks(5, 6, stage, turns=3, seed=1)[2]
    assert all(torch.equal(one, other) for one, other in zip(looks[2], again, strict=True))
    assert pixels.shape == (6, 3, 64, 64) and ids.shape == targets.shape
    words, kinds = museum_rows.tokenizer(), set()
    for row, target in zip(ids.tolist(), targets.tolist(), strict=True):
        last = max(place for place, token in enumerate(target) if token != IGNORE)
        text = words.decode([*row[: last + 1], target[last]])
        turns = text.removeprefix(prompt.END).split(prompt.END)[:-1]
        assert len(turns) == 3 or stage in ("places", "again")
        for number, turn in enumerate(turns):
            parsed = prompt.parse(turn + prompt.END)
            assert parsed.image_tokens == (0 if number else 5) and parsed.answer
            assert (parsed.question == museum_looks.DESCRIBE) == (stage == "align")
            kinds.add(parsed.question)
        answers = "".join(prompt.parse(turn + prompt.END).answer + prompt.END for turn in turns)
        assert words.decode([token for token in target if token != IGNORE]) == answers
        shifted = [(token, following) for token, following in zip(target[:last], row[1:], strict=False)]
        assert all(token in (IGNORE, following) for token, following in shifted)  # what follows is to be said
        for number, turn in enumerate(turns):
            is_line = prompt.parse(turn + prompt.END).question == museum_looks.LIST
            assert is_line == (stage == "places" and number == len(turns) - 1)  # from the line one reads, and looks not
    assert stage == "align" or len(kinds) > 10


@pytest.mark.parametrize("stage", ["align", "instruct", "places", "again"])
def test_a_connector_meets_no_held_out_pair_while_it_is_taught(stage):
    words, held_out = museum_rows.tokenizer(), [" ".join(pair) for pair in museum.HELD_OUT_PAIRS]
    looks, seen = museum_looks.MuseumLooks(1, 32, stage, turns=6, patches=np.zeros((2048, 1, 1), np.float16)), []
    for batch in range(16):
        _, ids, _ = looks[batch]
        told = [words.decode(row) for row in ids.tolist()]
        assert not [text for text in told if any(pair in text for pair in held_out)]
        seen += told
    things = {thing.pair for n in range(2048) for thing in museum_looks.picture(museum_looks.SEED, n)[2].objects}
    assert things == set(museum.TRAIN_PAIRS)
    assert all(any(" ".join(pair) in text for text in seen) for pair in things)  # as these would be


def test_what_is_found_step_by_step_is_so():
    asked, hinted = set(), 0
    for n in range(300):
        _, _, scene = museum_looks.picture(1, n)
        dice = dice_for("steps", "train", n)
        turns = museum_looks.step_by_step(dice, scene)
        things = {" ".join(thing.pair): thing for thing in scene.objects}
        for question, answer in turns[:-1]:
            thing = next(thing for name, thing in things.items() if question.endswith(f" the {name}?"))
            assert answer == (thing.size if question.startswith("What size") else f"{thing.row} {thing.column}")
        if turns:
            question, answer = turns[-1]
            assert answer == questions.answer(question, scene) and len(turns) in (1, 3)
            assert all(question.count(turn[0].partition(" the ")[2][:-1]) for turn in turns[:-1])
            asked.add(question.split()[0])
            hinted += len(turns) == 3
        else:
            assert sum([thing.pair for thing in scene.objects].count(x.pair) == 1 for x in scene.objects) < 2
    assert {"Is", "Does", "Which", "Are", "Do", "Would"} <= asked and 80 < hinted < 200


def test_padding_changes_neither_loss_nor_answers():
    model, looks = looking(5), museum_looks.MuseumLooks(5, 4)
    pixels, ids, targets = looks[0]
    alone, counts = [], []
    for n in range(4):
        size = int((targets[n] != IGNORE).nonzero()[-1]) + 1
        batch = pixels[n : n + 1], ids[n : n + 1, :size], targets[n : n + 1, :size]
        alone.append(museum_looks.loss(model, batch).item())
        counts.append(int((targets[n] != IGNORE).sum()))
    whole = museum_looks.loss(model, (pixels, ids, targets)).item()
    assert whole == pytest.approx(np.average(alone, weights=counts), abs=1e-5)
    images, rows = museum_looks.exam("validation", 12)
    asked = [row["question"] for row in rows]
    together = museum_looks.answers(model, images, asked)
    assert together == [museum_looks.answers(model, images[n : n + 1], [q])[0] for n, q in enumerate(asked)]
    assert len(museum_looks.answers(model, None, asked)) == 12


@pytest.fixture
def small_connectors(monkeypatch, tmp_path):
    """The studies of connectors between towers of no skill, a few steps long, in folders of their own."""
    torch.manual_seed(0)
    visual, language = clip.CLIP(clip.CLIPConfig.quick()).visual, GPT2(GPT2Config.nano(context_length=512))
    small = connector_museum.Recipe(1, 2, 1, 1, rank=2, pictures=2, turns=3)
    monkeypatch.setattr(connector_museum, "towers", lambda: (visual.eval(), language.eval()))
    monkeypatch.setattr(connector_kinds, "towers", connector_museum.towers)
    make = partial(connector.ConnectorConfig, n_queries=4, n_layer=1, n_head=2)
    monkeypatch.setattr(connector_museum, "ConnectorConfig", make)
    monkeypatch.setattr(connector_museum, "RECIPES", {"mlp": small, "qformer": small})
    for name, number in {"captioned": 2, "examined": 4}.items():
        monkeypatch.setattr(connector_museum, name, partial(getattr(museum_looks, name), number=number))
    for name, value in {"RECIPE": small, "SEEDS": 2, "EXAM": 6, "STORIES": 1, "PROBED": 5}.items():
        monkeypatch.setattr(connector_kinds, name, value)
    for name, value in {"PICTURES": 5, "EXAM": 4}.items():
        monkeypatch.setattr(connector_museum, name, value)
    monkeypatch.setattr(connector_museum, "STUDY", tmp_path / "exam")
    for study in (connector_museum, connector_kinds):
        monkeypatch.setattr(study, "RUNS", tmp_path / study.__name__ / "runs")
    some = ("mlp", "qformer", "qformer, longer", "qformer, frozen")
    monkeypatch.setattr(connector_kinds, "ARMS", {name: connector_kinds.ARMS[name] for name in some})
    monkeypatch.setattr(connector_kinds, "STUDY", tmp_path / "study")
    monkeypatch.setattr(connector_museum, "SHIPPED", tmp_path / "shipped")
    for study in (connector_museum, connector_kinds):
        monkeypatch.setattr(study, "ProcessPoolExecutor", lambda n: ThreadPoolExecutor(1))
    for cached in (connector_kinds.operations, connector_museum.patches):
        cached.cache_clear()
    yield tmp_path, visual, language
    for cached in (connector_kinds.operations, connector_museum.patches):
        cached.cache_clear()


def test_connectors_are_taught_stage_by_stage_and_shipped(small_connectors):
    folder, visual, language = small_connectors
    before = {name: p.clone() for model in (visual, language) for name, p in model.named_parameters()}
    connector_museum.main()
    written = {file: file.read_bytes() for file in (folder / "shipped").rglob("*.safetensors")}
    assert len(written) == 4
    exam = json.loads((folder / "exam" / "exam.json").read_text())
    assert set(exam) == {"mlp", "qformer"} and 0 <= exam["mlp"]["composition, blind, mean"] <= 1
    for name, p in (pair for model in (visual, language) for pair in model.named_parameters()):
        assert torch.equal(p, before[name])
    for kind in ("mlp", "qformer"):
        model = connector.VisionLanguageModel.from_pretrained(folder / "shipped" / kind, visual, language)
        torch.manual_seed(0)
        first = dict(connector_museum.between(kind, visual, language).connector.named_parameters())
        assert all(not torch.equal(p, first[name]) for name, p in model.connector.named_parameters() if p.ndim == 2)
    connector_museum.main()  # finds everything done
    assert all(file.read_bytes() == content for file, content in written.items())


def test_the_study_of_connectors_matches_steps_or_operations(small_connectors):
    folder, _, _ = small_connectors
    connector_kinds.main()
    found = json.loads((folder / "study" / "curves.json").read_text())
    assert set(found["arms"]) == set(connector_kinds.ARMS) and found["types"] == list(questions.TYPES)
    for name, arm in found["arms"].items():
        settings = arm["arm"]
        assert len(arm["seeds"]) == 2 and settings["rank"] == (2 if settings["adapted"] else 0)
        ratio = found["arms"]["mlp"]["operations"] / arm["operations"]
        assert settings["instruct"] == round(2 * (ratio if "longer" in name else 1))
        for seed in arm["seeds"]:
            assert len(seed["instruct, loss"]) == min(settings["instruct"], connector_kinds.POINTS)
            assert settings["rank"] or seed["stories, bits per byte"] == found["stories before, bits per byte"]
        model = connector_kinds.RUNS / f"{name.replace(', ', '-')}-0" / "model"
        assert (model / "adapter_config.json").is_file() == bool(settings["rank"])
    assert found["arms"]["qformer"]["operations"] < found["arms"]["mlp"]["operations"]
    again = (folder / "study" / "curves.json").read_bytes()
    connector_kinds.main()
    assert (folder / "study" / "curves.json").read_bytes() == again


def test_pictures_that_come_again_are_looked_at_once_and_asked_about_anew():
    model = looking(5)
    patches = museum_looks.seen(model.visual, 6, batch_size=4)
    assert patches.shape == (6, 64, 64) and patches.dtype == np.float16
    looks = museum_looks.MuseumLooks(5, 4, turns=3, seed=7, patches=patches)
    shown = [looks[i] for i in range(3)]  # two epochs
    places = [int(np.flatnonzero((patches == one).all((1, 2)))[0]) for x, *_ in shown for one in x.half().numpy()]
    assert sorted(places[:6]) == sorted(places[6:]) == list(range(6)) and places[:6] != places[6:]
    words, asked = museum_rows.tokenizer(), {}
    for ids, place in zip((row for _, x, _ in shown for row in x.tolist()), places, strict=True):
        asked.setdefault(place, []).append([words.decode(ids).split(prompt.QUESTION)[n] for n in (1, 2, 3)])
    assert all(
        one[0]
        == other[0]
        == f"{museum_looks.picture(0, n)[0]}{prompt.ANSWER}{museum_looks.picture(0, n)[1]}{prompt.END}"
        for n, (one, other) in asked.items()
    )
    assert any(one[1:] != other[1:] for one, other in asked.values())
    pixels = clip.pixel_values(museum.render([museum_looks.picture(0, n)[2] for n in places[:4]]))
    _, ids, targets = shown[0]
    fresh = museum_looks.loss(model, (pixels, ids, targets)).item()
    assert museum_looks.loss(model, shown[0]).item() == pytest.approx(fresh, abs=1e-3)
    other = museum_looks.MuseumLooks(5, 4, turns=3, seed=8, patches=patches)[0]
    assert not torch.equal(other[0], shown[0][0])


def test_the_exam_counts_right_answers_by_type(monkeypatch):
    _, rows = museum_looks.exam("validation", 60)
    model, seen = looking(5), []

    def said(model, shown, asked):
        seen.append(shown)
        return [row["answer"] if len(seen) == 1 or n % 2 else "no idea" for n, row in enumerate(rows)]

    monkeypatch.setattr(museum_looks, "answers", said)
    found = museum_looks.examined(model, number=60)
    assert found["validation, mean"] == 1.0 and 0.2 < found["validation, blind, mean"] < 0.8
    assert {f"validation, {kind}" for kind in questions.TYPES} <= set(found)
    assert torch.equal(seen[1][1:], seen[0][:-1]) and seen[0].shape == (60, 64, 64)


def test_the_shipped_connector_answers_as_its_exam_says():
    said = json.loads((connector_museum.STUDY / "exam.json").read_text())
    card = (connector_museum.SHIPPED / "README.md").read_text()
    folders = sorted(path for path in connector_museum.SHIPPED.iterdir() if path.is_dir())
    assert [folder.name for folder in folders] == sorted(said)
    for folder in folders:
        model = connector.VisionLanguageModel.from_pretrained(folder, *connector_museum.towers())
        found = museum_looks.examined(model, ("test",), number=90)
        for name in ("test, mean", "test, blind, mean"):
            assert found[name] == pytest.approx(said[folder.name][name], abs=0.1)
        exam = said[folder.name]
        columns = [exam[f"{name}, mean"] for name in ("test", "composition", "test, blind")]
        assert " | ".join(f"{100 * share:.1f} %" for share in columns) in card
    assert set(said) == set(connector_museum.RECIPES) and said["mlp"]["test, mean"] > 0.9
    assert said["mlp"]["composition, mean"] > 0.7 and said["resampler"]["composition, mean"] > 0.75
    assert sum(file.stat().st_size for file in connector_museum.SHIPPED.rglob("*") if file.is_file()) <= 8e6
