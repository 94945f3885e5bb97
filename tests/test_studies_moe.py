"""The study of guide 09: its arms match what they say they match, and its judge sees what routers do."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from fmnotes import moe
from fmnotes.studies import moe_kinds
from fmnotes.training import TrainingConfig


def test_the_arms_match_what_they_say():
    flops = {name: arm.config.flops_per_token(256) for name, arm in moe_kinds.ARMS.items()}
    sizes = {name: arm.config.n_parameters for name, arm in moe_kinds.ARMS.items()}
    for name in ("top-1", "top-2"):
        assert 0.99 < flops[name] / flops["dense, same FLOPs"] <= 1  # no mixture does more work than the plain layer
        assert sizes[name] / sizes["dense, same parameters"] == pytest.approx(1, abs=0.005)
    first, *others = [replace(arm.config, d_ff=1, n_expert=1, top_k=1) for arm in moe_kinds.ARMS.values()]
    assert all(replace(other, renormalise=first.renormalise) == first for other in others)


def test_a_short_run_tells_what_its_routers_did():
    arm = replace(moe_kinds.ARMS["top-2"], config=replace(moe_kinds.TOP_2, context_length=32, window=8))
    ids = np.random.default_rng(0).integers(4096, size=600)
    model, seen = moe_kinds.fit(arm, ids, TrainingConfig(3, 1e-3, warmup_steps=1))
    assert np.shape(seen["load"]) == (3, 3, 16) and np.sum(seen["load"], axis=-1) == pytest.approx(1)
    assert len(seen["loss"]) == len(seen["logits"]) == 3
    found = moe_kinds.judged(model.eval(), torch.from_numpy(ids), seed=0)
    assert np.shape(found["types"]) == (3, len(moe.TYPES), 16) and np.sum(found["types"]) == 3 * 600
    assert all(0 <= share < 1 for share in found["dropped"]) and len(found["shown"]) == 3
    assert np.array(found["load"]).sum(-1) == pytest.approx(1)


def test_what_is_committed_is_of_this_study():
    study = json.loads((moe_kinds.STUDY / "results.json").read_text())
    assert study["tokens"] == moe_kinds.STEPS * moe_kinds.BATCH_SIZE * 256
    for name, (n_parameters, n_active) in study["sizes"].items():
        config = moe_kinds.ARMS[name].config
        assert (n_parameters, n_active) == (config.n_parameters, config.n_active)
    for name, seeds in study["arms"].items():
        assert set(seeds) <= set(map(str, moe_kinds.SEEDS)), name
        assert all(result["bits"] > study["floor"] for result in seeds.values())
