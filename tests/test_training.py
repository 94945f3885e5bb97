import copy
import json
import math
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from tqdm.auto import tqdm

from fmnotes.training import (
    Muon,
    TokenBatches,
    TrainingConfig,
    adamw,
    in_parts,
    latest_checkpoint,
    read_metrics,
    row_of_ids,
    schedule,
    train,
)
from fmnotes.training.muon import orthogonalised

VOCAB, CONTEXT = 13, 6


@dataclass(frozen=True)
class TinyConfig:
    d_model: int = 8
    dropout: float = 0.0


class Tiny(torch.nn.Module):
    """A language model that sees one token: tied embedding, one layer, dropout, and every rank of parameter."""

    def __init__(self, config=None, seed=0, dtype=torch.float32):
        super().__init__()
        torch.manual_seed(seed)
        self.config = config or TinyConfig()
        self.embedding = torch.nn.Embedding(VOCAB, self.config.d_model)
        torch.nn.init.normal_(self.embedding.weight, std=0.2)
        self.norm = torch.nn.LayerNorm(self.config.d_model)
        self.linear = torch.nn.Linear(self.config.d_model, self.config.d_model)
        self.dropout = torch.nn.Dropout(self.config.dropout)
        self.head = torch.nn.Linear(self.config.d_model, VOCAB, bias=False)
        self.head.weight = self.embedding.weight
        self.scale = torch.nn.Parameter(torch.ones(()))
        self.to(dtype)

    def forward(self, ids):
        x = self.embedding(ids)
        return self.head(x + self.dropout(torch.tanh(self.linear(self.norm(x))))) * self.scale


def cross_entropy(model, batch):
    inputs, targets = batch
    return torch.nn.functional.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())


def noisy(model, batch):
    """Uses every random generator that a checkpoint must hold."""
    inputs, targets = batch
    logits = model(inputs) * (1 + 0.1 * random.random() + 0.1 * np.random.rand())
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


def corpus(n=500, seed=0):
    return np.random.default_rng(seed).integers(0, VOCAB, n).astype(np.uint16)


def tokens(batch_size=4, seed=0, n=500):
    return TokenBatches(corpus(n), CONTEXT, batch_size, VOCAB, seed)


def losses(lines):
    """Losses, norms and evaluations to the bit, without the speed."""
    kept = ("step", "loss", "grad_norm", "learning_rate", "val_loss")
    return [tuple(x.hex() if isinstance(x, float) else x for x in map(line.get, kept)) for line in lines]


def parameters(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


# The recipe


@settings(deadline=None)
@given(st.integers(1, 300), st.floats(0, 1), st.floats(0, 1), st.floats(1e-5, 1))
def test_the_schedule_is_that_of_transformers(steps, warm_share, floor_share, peak):
    from transformers.optimization import get_cosine_schedule_with_warmup, get_cosine_with_min_lr_schedule_with_warmup

    warmup = int(warm_share * steps)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], peak)
    theirs = get_cosine_with_min_lr_schedule_with_warmup(optimizer, warmup, steps, min_lr=floor_share * peak).lr_lambdas
    to_zero = get_cosine_schedule_with_warmup(optimizer, warmup, steps).lr_lambdas
    config = TrainingConfig(steps, peak, floor_share * peak, warmup)
    falling = TrainingConfig(steps, peak, 0.0, warmup)
    for ours, judge in ((config, theirs[0]), (falling, to_zero[0])):
        assert max(abs(schedule(step, ours) - peak * judge(step)) for step in range(steps + 1)) < 1e-9


@pytest.mark.parametrize("max_norm", [0.3, 1e9, None])
def test_training_is_adamw_with_decay_on_matrices_the_schedule_and_clipping(max_norm):
    from transformers.optimization import get_cosine_with_min_lr_schedule_with_warmup

    model, judge, batches = Tiny(dtype=torch.float64), Tiny(dtype=torch.float64), tokens()
    config = TrainingConfig(20, 0.05, 0.01, 4, weight_decay=0.5, betas=(0.8, 0.9), max_norm=max_norm)
    lines = train(model, cross_entropy, batches, config)

    decayed = [judge.embedding.weight, judge.linear.weight]
    others = [judge.norm.weight, judge.norm.bias, judge.linear.bias, judge.scale]
    groups = [{"params": decayed, "weight_decay": 0.5}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=0.05, betas=(0.8, 0.9), foreach=False, fused=False)
    scheduler = get_cosine_with_min_lr_schedule_with_warmup(optimizer, 4, 20, min_lr=0.01)
    clipped = 0
    for step in range(20):
        loss = cross_entropy(judge, batches[step])
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(judge.parameters(), max_norm or 1e30)
        clipped += max_norm is not None and norm.item() > max_norm
        rate = optimizer.param_groups[0]["lr"]
        optimizer.step()
        scheduler.step()
        assert lines[step]["loss"] == pytest.approx(loss.item(), abs=1e-12)
        assert lines[step]["grad_norm"] == pytest.approx(norm.item(), abs=1e-12)
        assert lines[step]["learning_rate"] == pytest.approx(rate, abs=1e-12)
    assert (clipped > 5) == (max_norm == 0.3)
    for name, p in judge.named_parameters():
        torch.testing.assert_close(model.get_parameter(name), p, rtol=0, atol=1e-12)


def test_frozen_parameters_stay_and_are_not_optimized():
    model = Tiny()
    model.linear.requires_grad_(False)
    before = parameters(model)
    assert sum(p.numel() for g in adamw(model, TrainingConfig(1)).param_groups for p in g["params"]) == 13 * 8 + 16 + 1
    train(model, cross_entropy, tokens(), TrainingConfig(3))
    after = parameters(model)
    assert [name for name in after if not after[name].equal(before[name])] == [
        "scale",
        "embedding.weight",
        "norm.weight",
        "norm.bias",
    ]
    with pytest.raises(ValueError, match="no parameter to train"):
        train(model.requires_grad_(False), cross_entropy, tokens(), TrainingConfig(3))


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"steps": 0}, "steps is 0, but must be at least 1"),
        ({"accumulation": 0}, "accumulation is 0"),
        ({"log_every": 0}, "log_every is 0"),
        ({"save_every": -1}, "save_every is -1"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1"),
        ({"warmup_steps": 11}, "warmup_steps is 11, but must be 0 to 10"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0, but must be above 0"),
        ({"learning_rate": math.nan}, "learning_rate is nan"),
        ({"min_learning_rate": 1.0}, "min_learning_rate is 1.0"),
        ({"max_norm": 0.0}, "max_norm is 0.0, but must be above 0, or None"),
        ({"precision": "bfloat16"}, "precision is 'bfloat16', but must be one of float32, bf16, fp16"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(fields, match):
    with pytest.raises(ValueError, match=match):
        TrainingConfig(**{"steps": 10, **fields})


# Accumulation and precision


def masked(model, batch):
    """The mean over targets that are even: their number differs from batch to batch."""
    inputs, targets = batch
    kept = targets.flatten() % 2 == 0
    terms = torch.nn.functional.cross_entropy(model(inputs).flatten(0, 1), targets.flatten(), reduction="none")
    return terms[kept].mean(), kept.sum()


@pytest.mark.parametrize("loss_fn", [cross_entropy, masked])
@pytest.mark.parametrize("k", [2, 3, 6])
def test_k_accumulated_batches_are_one_batch(loss_fn, k):
    one, many = Tiny(dtype=torch.float64), Tiny(dtype=torch.float64)
    whole = train(one, loss_fn, tokens(12), TrainingConfig(10, 0.05))
    parts = train(many, loss_fn, tokens(12 // k), TrainingConfig(10, 0.05, accumulation=k))
    for a, b in zip(whole, parts, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-12)
        assert a["grad_norm"] == pytest.approx(b["grad_norm"], abs=1e-12)
    for name, p in one.named_parameters():
        torch.testing.assert_close(many.get_parameter(name), p, rtol=0, atol=1e-12)


def test_gradients_from_before_do_not_count():
    clean, stale = Tiny(), Tiny()
    cross_entropy(stale, tokens()[99]).backward()
    config = TrainingConfig(3)
    assert losses(train(clean, cross_entropy, tokens(), config)) == losses(
        train(stale, cross_entropy, tokens(), config)
    )


@pytest.mark.parametrize(
    ("precision", "dtype"), [("float32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_precision_is_that_of_the_products_and_not_of_the_parameters(precision, dtype):
    seen, model = set(), Tiny()

    def loss_fn(model, batch):
        seen.add(model.linear(torch.ones(1, 8)).dtype)
        return cross_entropy(model, batch)

    full = train(Tiny(), cross_entropy, tokens(), TrainingConfig(20, 0.05))
    lines = train(model, loss_fn, tokens(), TrainingConfig(20, 0.05, precision=precision))
    assert seen == {dtype}
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert lines[-1]["loss"] == pytest.approx(full[-1]["loss"], rel=0.02)
    assert lines[0]["grad_norm"] == pytest.approx(full[0]["grad_norm"], rel=0.02)  # unscaled before it is measured
    assert all(("loss_scale" in line) == (precision == "fp16") for line in lines)


def test_fp16_skips_a_step_that_overflows_and_lowers_the_scale(tmp_path):
    model, history = Tiny(), []

    def loss_fn(model, batch):
        history.append(parameters(model))
        factor = 1e35 if len(history) == 3 else 1.0  # 1e35 times the scale of 65,536 overflows in the gradient
        loss = cross_entropy(model, batch)
        return loss + (factor - 1) * (model.scale - model.scale.detach())

    config = TrainingConfig(5, precision="fp16")
    lines = train(model, loss_fn, tokens(), config, tmp_path)
    same = [all(a[n].equal(b[n]) for n in a) for a, b in zip(history, history[1:], strict=False)]
    assert same == [False, False, True, False]
    assert [line["grad_norm"] is None for line in lines] == [False, False, True, False, False]
    assert [line["loss_scale"] for line in lines] == [65536.0] * 3 + [32768.0] * 2
    state = json.loads((latest_checkpoint(tmp_path) / "state.json").read_text())
    assert state["scaler"]["scale"] == 32768.0


def test_fp16_stops_where_no_scale_helps(tmp_path):
    def loss_fn(model, batch):
        return cross_entropy(model, batch) + torch.sqrt(model.scale - model.scale.detach())  # slope 1/0

    with pytest.raises(FloatingPointError, match=r"step 18: the loss is [\d.]+ and the gradient's norm (inf|nan)"):
        train(Tiny(), loss_fn, tokens(), TrainingConfig(100, precision="fp16"), tmp_path)


def test_a_loss_that_is_no_scalar_is_refused():
    with pytest.raises(ValueError, match=r"loss_fn returned the shape \(4, 6, 13\), but must return a scalar"):
        train(Tiny(), lambda model, batch: model(batch[0]), tokens(), TrainingConfig(1))


# Stopping


@pytest.mark.parametrize("log_every", [1, 4])
@pytest.mark.parametrize(("bad", "text"), [(math.nan, "nan"), (math.inf, "inf")])
def test_a_loss_that_is_not_finite_stops_and_saves_its_batch(tmp_path, bad, text, log_every):
    model, batches, before = Tiny(), tokens(), []

    def loss_fn(model, batch):
        before.append(parameters(model))
        poisoned = any(batch[0].equal(batches[i][0]) for i in (14, 15))
        return cross_entropy(model, batch) * (bad if poisoned else 1.0)

    config = TrainingConfig(20, accumulation=2, save_every=3, log_every=log_every)
    with pytest.raises(FloatingPointError, match=f"step 8: the loss is {text} and the gradient's norm (nan|inf)") as e:
        train(model, loss_fn, batches, config, tmp_path)
    file = tmp_path / "not-finite-step-00000008.safetensors"
    assert str(file) in str(e.value) and "step-00000006" in str(e.value)
    saved = load_file(file)
    assert sorted(saved) == ["0.0", "0.1", "1.0", "1.1"]
    assert saved["0.0"].equal(batches[14][0]) and saved["1.1"].equal(batches[15][1])
    assert [line["step"] for line in read_metrics(tmp_path / "metrics.jsonl")] == list(range(1, 8))
    assert latest_checkpoint(tmp_path).name == "step-00000006"
    kept = load_file(latest_checkpoint(tmp_path) / "model.safetensors")
    assert all(x.isfinite().all() for x in kept.values())
    if log_every == 1:  # the model itself is as it was before the step
        assert all(p.equal(before[-1][name]) for name, p in model.named_parameters())


@pytest.mark.parametrize("precision", ["float32", "bf16", "fp16"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_though_its_gradient_is_sound(precision, bad):
    def loss_fn(model, batch):
        return cross_entropy(model, batch) + (bad if batch[0].equal(tokens()[2][0]) else 0.0)

    with pytest.raises(FloatingPointError, match=rf"step 3: the loss is {bad} and the gradient's norm [\d.]+;"):
        train(Tiny(), loss_fn, tokens(), TrainingConfig(5, precision=precision))


def test_a_gradient_that_is_not_finite_stops_too():
    def loss_fn(model, batch):
        return cross_entropy(model, batch) + torch.sqrt(model.scale - model.scale.detach())

    with pytest.raises(FloatingPointError, match="step 1: the loss is .*; give train a folder to have its batch saved"):
        train(Tiny(), loss_fn, tokens(), TrainingConfig(5))


def test_an_evaluation_that_is_not_finite_is_an_error():
    with pytest.raises(ValueError, match="step 2: val_loss is nan"):
        train(Tiny(), cross_entropy, tokens(), TrainingConfig(2), evaluate=lambda model: {"val_loss": math.nan})


@pytest.mark.parametrize("log_every", [1, 50])
def test_ctrl_c_finishes_the_step_saves_and_then_interrupts(tmp_path, log_every):
    config = TrainingConfig(30, warmup_steps=3, log_every=log_every)
    whole = train(Tiny(TinyConfig(dropout=0.2)), noisy, tokens(), config)
    handler, calls = signal.getsignal(signal.SIGINT), []

    def loss_fn(model, batch):
        calls.append(0)
        if len(calls) == 12:
            os.kill(os.getpid(), signal.SIGINT)
        return noisy(model, batch)

    with pytest.raises(KeyboardInterrupt, match="interrupted after step 12, saved in"):
        train(Tiny(TinyConfig(dropout=0.2)), loss_fn, tokens(), config, tmp_path)
    assert signal.getsignal(signal.SIGINT) is handler
    assert latest_checkpoint(tmp_path).name == "step-00000012"
    resumed = train(Tiny(TinyConfig(dropout=0.2), seed=5), noisy, tokens(), config, tmp_path)
    assert losses(resumed) == losses(whole)


def test_a_second_ctrl_c_interrupts_at_once(tmp_path):
    def loss_fn(model, batch):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("not reached")

    with pytest.raises(KeyboardInterrupt):
        train(Tiny(), loss_fn, tokens(), TrainingConfig(5), tmp_path)
    assert latest_checkpoint(tmp_path) is None


# Killed and resumed

KILLED = TrainingConfig(40, 0.02, 0.001, 10, accumulation=2, eval_every=9, save_every=6, seed=3)


def validation(model):
    noise = torch.rand(()).item() + np.random.rand()  # must not disturb the training
    return {"val_loss": cross_entropy(model, tokens(seed=9)[0]).item() + 1e-9 * noise}


def long_run(folder, kill_in_save=None, at=None, config=KILLED, tensorboard=False):
    """In a process of its own: a run that may kill itself at the n-th thing it does to files in one of its saves."""
    torch.set_num_threads(1)
    tqdm.set_lock(threading.RLock())  # else it is shared with the other processes, and dies with the one that holds it
    saves, touched = [], []

    def hook(event, args):
        if kill_in_save and event.split(".")[0] in ("open", "os", "shutil") and str(folder) in str(args[:1]):
            saves.extend([0] if event == "os.mkdir" and str(args[0]).endswith("unfinished") else [])
            touched.extend([0] if len(saves) == kill_in_save else [])
            if len(touched) == at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    model = Tiny(TinyConfig(dropout=0.3), seed=1)
    train(model, noisy, tokens(), config, folder, evaluate=validation, tensorboard=tensorboard)


@pytest.fixture(scope="module")
def start():
    """Start long_run in a fresh process; importing torch once for all of them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "torch._dynamo"])  # torch imports the second with its first optimizer

    def started(*args):
        process = context.Process(target=long_run, args=args)
        process.start()
        return process

    return started


@pytest.fixture(scope="module")
def uninterrupted(start, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    process = start(folder)
    process.join()
    assert process.exitcode == 0
    lines = losses(read_metrics(folder / "metrics.jsonl"))
    assert len(lines) == 40 + 5
    return lines, load_file(folder / "step-00000040" / "model.safetensors")


def assert_same(folder, uninterrupted):
    lines, weights = uninterrupted
    assert losses(read_metrics(folder / "metrics.jsonl")) == lines
    ours = load_file(folder / "step-00000040" / "model.safetensors")
    assert all(ours[name].equal(weights[name]) for name in weights)
    assert sorted(path.name for path in folder.iterdir()) == ["metrics.jsonl", "step-00000036", "step-00000040"]


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_random_and_resumed_the_losses_are_the_same_to_the_bit(start, uninterrupted, tmp_path, seed):
    rng, kills, metrics = random.Random(seed), 0, tmp_path / "metrics.jsonl"
    for _ in range(200):
        process = start(tmp_path)
        before = metrics.stat().st_size if metrics.exists() else 0
        more = rng.randrange(500, 5000)  # bytes of metrics to wait for; a line has about 150
        while process.is_alive() and not (metrics.exists() and metrics.stat().st_size > before + more):
            process.join(rng.random() * 2e-3)
        process.kill()
        process.join()
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        kills += 1
    assert process.exitcode == 0 and kills > 0
    assert_same(tmp_path, uninterrupted)


@pytest.mark.parametrize(("save", "at"), [(1, 2), (1, 17), *((3, at) for at in range(1, 24, 2))])
def test_killed_in_the_middle_of_saving_the_checkpoint_is_whole_or_not_there(start, uninterrupted, tmp_path, save, at):
    process = start(tmp_path, save, at)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    process = start(tmp_path)
    process.join()
    assert process.exitcode == 0
    assert_same(tmp_path, uninterrupted)


def test_a_finished_run_is_loaded_and_not_trained_again(tmp_path):
    config = TrainingConfig(5)
    first, second = Tiny(), Tiny(seed=4)
    lines = train(first, cross_entropy, tokens(), config, tmp_path)
    assert train(second, None, tokens(), config, tmp_path) == lines
    assert all(p.equal(second.get_parameter(name)) for name, p in first.named_parameters())
    assert second.head.weight is second.embedding.weight


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda model, c: torch.optim.SGD(model.parameters(), c.learning_rate, momentum=0.9),
        lambda model, c: torch.optim.SGD(model.parameters(), c.learning_rate),
        lambda model, c: torch.optim.Adam(model.parameters(), c.learning_rate, weight_decay=0.1),
        Muon,
    ],
)
def test_other_optimizers_resume_to_the_bit(tmp_path, optimizer):
    config = TrainingConfig(12, 0.05)
    whole = train(Tiny(), cross_entropy, tokens(), config, optimizer=optimizer)
    calls = []

    def stopped(model, batch):
        calls.append(0)
        if len(calls) == 7:
            os.kill(os.getpid(), signal.SIGINT)
        return cross_entropy(model, batch)

    with pytest.raises(KeyboardInterrupt):
        train(Tiny(), stopped, tokens(), config, tmp_path, optimizer=optimizer)
    assert losses(train(Tiny(), cross_entropy, tokens(), config, tmp_path, optimizer=optimizer)) == losses(whole)


def test_another_number_of_threads_goes_on(half):
    folder, config = half
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        lines = train(Tiny(), cross_entropy, tokens(), config, folder)
    finally:
        torch.set_num_threads(threads)
    whole = train(Tiny(), cross_entropy, tokens(), config)
    assert [line["step"] for line in lines] == [line["step"] for line in whole]
    assert [line["loss"] for line in lines] == pytest.approx([line["loss"] for line in whole], abs=1e-5)


def test_the_loss_scale_of_fp16_resumes_too(tmp_path):
    config, calls = TrainingConfig(8, precision="fp16"), []

    def loss_fn(model, batch, stop_at=None):
        calls.append(0)
        if len(calls) == stop_at:
            os.kill(os.getpid(), signal.SIGINT)
        factor = 1e35 if len(calls) == 3 else 0.0
        return cross_entropy(model, batch) + factor * (model.scale - model.scale.detach())

    whole = train(Tiny(), loss_fn, tokens(), config)
    calls.clear()
    with pytest.raises(KeyboardInterrupt):
        train(Tiny(), lambda model, batch: loss_fn(model, batch, 5), tokens(), config, tmp_path)
    resumed = train(Tiny(), loss_fn, tokens(), config, tmp_path)
    assert losses(resumed) == losses(whole)
    assert [line["loss_scale"] for line in resumed] == [65536.0] * 3 + [32768.0] * 5


# Checkpoints


@pytest.fixture
def half(tmp_path):
    """A run's folder with the checkpoints of steps 4 and 6 out of 8, and its configuration."""
    config, calls = TrainingConfig(8, save_every=2), []

    def loss_fn(model, batch):
        calls.append(0)
        if len(calls) == 8:
            raise RuntimeError("the power is gone")
        return cross_entropy(model, batch)

    with pytest.raises(RuntimeError, match="power"):
        train(Tiny(), loss_fn, tokens(), config, tmp_path)
    return tmp_path, config


def test_the_last_two_checkpoints_are_kept_and_hold_no_pickle(half):
    folder, _ = half
    assert sorted(path.name for path in folder.iterdir()) == ["metrics.jsonl", "step-00000004", "step-00000006"]
    files = ["manifest.json", "model.safetensors", "optimizer.safetensors", "random.json", "state.json"]
    assert sorted(path.name for path in latest_checkpoint(folder).iterdir()) == files
    for name in files:
        content = (latest_checkpoint(folder) / name).read_bytes()
        json.loads(content) if name.endswith("json") else load_file(latest_checkpoint(folder) / name)


@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
@pytest.mark.parametrize(
    "name", ["model.safetensors", "optimizer.safetensors", "random.json", "state.json", "manifest.json"]
)
def test_a_damaged_file_is_named_nothing_is_loaded_and_the_one_before_serves(half, name, harm):
    folder, config = half
    file = latest_checkpoint(folder) / name
    content = bytearray(file.read_bytes())
    if harm == "flip":
        content[len(content) // 2] ^= 1
    file.write_bytes(content[: len(content) // 2] if harm == "cut" else content)
    if harm == "remove":
        file.unlink()
    model = Tiny(seed=7)
    before = parameters(model)
    # a flipped bit in the manifest shows in the file that it speaks of, or in the manifest itself
    named = r"\S+" if (name, harm) == ("manifest.json", "flip") else name
    with pytest.raises(ValueError, match=rf"step-00000006/{named} is damaged or missing: delete the folder .*00000006"):
        train(model, cross_entropy, tokens(), config, folder)
    assert all(p.equal(before[n]) for n, p in model.named_parameters())
    for left in latest_checkpoint(folder).iterdir():
        left.unlink()
    latest_checkpoint(folder).rmdir()
    lines = train(model, cross_entropy, tokens(), config, folder)
    assert losses(lines) == losses(train(Tiny(), cross_entropy, tokens(), config))


def test_metrics_that_a_kill_left_behind_are_cut_and_lost_ones_are_an_error(half):
    folder, config = half
    file = folder / "metrics.jsonl"
    assert len(read_metrics(file)) == 7  # one more than the checkpoint covers
    file.write_bytes(file.read_bytes() + b'{"step": 8, "lo')
    lines = train(Tiny(), cross_entropy, tokens(), config, folder)
    assert [line["step"] for line in lines] == list(range(1, 9)) == [line["step"] for line in read_metrics(file)]
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(ValueError, match=r"metrics.jsonl is damaged: the checkpoint knows \d+ bytes"):
        train(Tiny(), cross_entropy, tokens(), config, folder)
    file.write_bytes(b'{"step": 1}\n{"step"\n{"step": 3}\n')
    with pytest.raises(ValueError, match=r"metrics.jsonl is damaged: line 2 is no JSON"):
        read_metrics(file)


@pytest.mark.parametrize(
    ("model", "batches", "fields", "match"),
    [
        (Tiny(), tokens(), {"learning_rate": 2e-3}, "training.learning_rate is 0.001 there and 0.002 here"),
        (Tiny(), tokens(), {"steps": 9}, "training.steps is 8 there and 9 here"),
        (Tiny(TinyConfig(dropout=0.5)), tokens(), {}, "model.dropout is 0.0 there and 0.5 here"),
        (Tiny(TinyConfig(16)), tokens(), {}, r"shapes.scale|model.d_model is 8 there and 16 here; .*, and 4 more"),
        (Tiny(), tokens(seed=1), {}, "data.seed is 0 there and 1 here"),
        (Tiny(), tokens(n=400), {}, "data.ids is .* there .* data.count is 500 there and 400 here"),
    ],
)
def test_a_checkpoint_of_another_configuration_is_refused_before_anything_changes(half, model, batches, fields, match):
    folder, config = half
    before = parameters(model)
    with pytest.raises(ValueError, match=rf"step-00000006 is of another configuration: .*{match}"):
        train(model, cross_entropy, batches, TrainingConfig(**{"steps": 8, "save_every": 2, **fields}), folder)
    assert all(p.equal(before[name]) for name, p in model.named_parameters())
    with pytest.raises(ValueError, match="optimizer is AdamW there and SGD here"):
        train(Tiny(), cross_entropy, tokens(), config, folder, optimizer=lambda m, c: torch.optim.SGD(m.parameters()))


# What is written down


def test_the_same_seed_gives_the_same_losses_and_another_seed_others():
    config = TrainingConfig(10, warmup_steps=2)
    runs = [losses(train(Tiny(TinyConfig(dropout=0.2)), noisy, tokens(), config)) for _ in range(2)]
    assert runs[0] == runs[1]
    assert runs[0] != losses(train(Tiny(TinyConfig(dropout=0.2)), noisy, tokens(), TrainingConfig(10, seed=1)))


def test_looking_less_often_or_evaluating_changes_no_loss():
    def evaluate(model):
        assert not model.training and not torch.is_grad_enabled()
        return {"val_loss": cross_entropy(model, tokens(seed=9)[0]).item() + torch.rand(()).item()}

    model = Tiny(TinyConfig(dropout=0.2))
    often = train(model, noisy, tokens(), TrainingConfig(10))
    rare = train(
        Tiny(TinyConfig(dropout=0.2)), noisy, tokens(), TrainingConfig(10, log_every=4, eval_every=3), evaluate=evaluate
    )
    assert losses(often) == losses([line for line in rare if "loss" in line])
    assert [line["step"] for line in rare if "val_loss" in line] == [3, 6, 9, 10]
    # a speed in the last line of every look: after 4 and 8 steps, and before each evaluation
    assert [line["step"] for line in rare if "tokens_per_second" in line] == [3, 4, 6, 8, 9, 10]
    assert model.training


def test_speed_counts_every_token_of_a_step(monkeypatch):
    from fmnotes.training import log

    clock = iter(range(100))
    monkeypatch.setattr(log.time, "perf_counter", lambda: float(next(clock)))
    lines = train(Tiny(), cross_entropy, tokens(4), TrainingConfig(6, accumulation=3, log_every=2))
    assert [line.get("tokens_per_second") for line in lines] == [None, 4 * CONTEXT * 3 * 2.0] * 3


def test_batches_may_be_nested_and_hold_other_things():
    class Pairs:
        unit, size, facts = "pairs", 4, {}

        def __getitem__(self, i):
            g = torch.Generator().manual_seed(i)
            return {"image": torch.randn(4, 8, generator=g), "text": [torch.randn(4, 8, generator=g)], "names": "abcd"}

    def contrastive(model, batch):
        assert batch["names"] == "abcd"
        logits = model.linear(batch["image"]) @ batch["text"][0].T
        return torch.nn.functional.cross_entropy(logits, torch.arange(4))

    lines = train(Tiny(), contrastive, Pairs(), TrainingConfig(3))
    assert "pairs_per_second" in lines[-1]


def scalars(folder):
    """What TensorBoard shows of a run: {name: [(step, value), …]}."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    return {name: [(e.step, e.value) for e in events.Scalars(name)] for name in events.Tags()["scalars"]}


def as_scalars(lines):
    """The same from the lines of a run, in TensorBoard's float32."""
    shown = {}
    for line in lines:
        for name in line.keys() - {"step"}:
            shown.setdefault(name, []).append((line["step"], float(np.float32(line[name]))))
    return shown


def test_tensorboard_shows_every_number(tmp_path):
    config = TrainingConfig(12, eval_every=5)
    lines = train(Tiny(), cross_entropy, tokens(), config, tmp_path, evaluate=validation, tensorboard=True)
    shown = scalars(tmp_path)
    assert shown == as_scalars(lines) and len(shown["loss"]) == 12 and len(shown["val_loss"]) == 3
    assert shown.keys() == {"loss", "grad_norm", "learning_rate", "tokens_per_second", "val_loss"}


def test_tensorboard_shows_no_step_twice_and_misses_none_after_a_kill(start, tmp_path):
    for kill_in_save in (3, 2, None):  # after steps 18 and 24, when the last checkpoint is of 12 and of 18
        process = start(tmp_path, kill_in_save, 12, KILLED, True)
        process.join()
        assert process.exitcode == (-signal.SIGKILL if kill_in_save else 0)
        time.sleep(1.1)  # their files are read in the order of their names, which tell them apart by the second
    shown = scalars(tmp_path)
    assert shown == as_scalars(read_metrics(tmp_path / "metrics.jsonl"))
    assert [step for step, _ in shown["loss"]] == list(range(1, 41))


def test_what_a_checkpoint_covers_tensorboard_has_too(tmp_path, monkeypatch):
    from tensorboard.summary.writer.record_writer import RecordWriter

    def slow(writer, data, write=RecordWriter.write):
        time.sleep(0.02)
        write(writer, data)

    def loss_fn(model, batch):
        if latest_checkpoint(tmp_path):
            assert scalars(tmp_path)["loss"][2][0] == 3
        return cross_entropy(model, batch)

    monkeypatch.setattr(RecordWriter, "write", slow)
    train(Tiny(), loss_fn, tokens(), TrainingConfig(4, save_every=3), tmp_path, tensorboard=True)


def test_tensorboard_that_is_not_there_is_an_error_before_any_step(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match="needs the package tensorboard: pip install tensorboard"):
        train(Tiny(), None, tokens(), TrainingConfig(3), tmp_path, tensorboard=True)
    with pytest.raises(ValueError, match="tensorboard=True needs a folder"):
        train(Tiny(), None, tokens(), TrainingConfig(3), tensorboard=True)


def test_training_needs_torch_numpy_safetensors_and_tqdm_alone():
    code = """
import sys
for name in ("jaxtyping", "transformers", "datasets", "matplotlib", "tensorboard", "accelerate"):
    sys.modules[name] = None
import numpy as np, torch
from fmnotes.training import TokenBatches, TrainingConfig, train
model = torch.nn.Embedding(5, 5)
loss_fn = lambda model, batch: torch.nn.functional.cross_entropy(model(batch[0]).flatten(0, 1), batch[1].flatten())
lines = train(model, loss_fn, TokenBatches(np.arange(50) % 5, 4, 2, 5), TrainingConfig(3), sys.argv[1])
assert len(lines) == 3
"""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-c", code, folder], check=True, capture_output=True)


LEAN = ["torch", "numpy", "tiktoken", "transformers", "safetensors", "tqdm"]


def test_gpt2_trains_on_stories_where_only_a_few_libraries_are(tmp_path):
    """From text to text: encode, train, resume, save, open, generate, decode; every other library is hidden."""
    code = """
import sys
from pathlib import Path
from typing import ClassVar
sys.modules |= dict.fromkeys(sys.argv[2:])
import numpy as np
from fmnotes.bpe import Tokenizer
from fmnotes.data import checkpoint
from fmnotes.generation import generate
from fmnotes.gpt2 import GPT2, GPT2Config
from fmnotes.museum import prompt, stream
from fmnotes.training import TokenBatches, TrainingConfig, train
folder = Path(sys.argv[1])
tokenizer = Tokenizer.from_pretrained(checkpoint("tokenizer-museum"))
rows = stream("stories")
ids = [id for _ in range(3) for id in tokenizer.encode(next(rows)["text"] + prompt.END, "allow")]
batches = TokenBatches(np.array(ids), 32, 2, tokenizer.vocab_size)
for precision in ("float32", "bf16", "fp16"):
    for _ in range(2):
        model = GPT2(GPT2Config(tokenizer.vocab_size, 64, 16, 1, 2))
        recipe = TrainingConfig(3, precision=precision)
        assert len(train(model, lambda model, batch: model.loss(*batch), batches, recipe, folder / precision)) == 3
model.save_pretrained(folder / "model")
print(tokenizer.decode(generate(GPT2.from_pretrained(folder / "model"), ids[:9], 9)))
"""
    distributions = {top: {_normal(d) for d in ds} for top, ds in metadata.packages_distributions().items()}
    hidden = [top for top, ds in distributions.items() if not ds & (_with_requirements(LEAN) | {"fmnotes"})]
    assert {"jaxtyping", "datasets", "pandas", "matplotlib", "tensorboard", "faiss"} <= set(hidden)
    done = subprocess.run([sys.executable, "-c", code, tmp_path, *hidden], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def _with_requirements(names):
    """These distributions, and all that are installed with them."""
    kept, todo = set(), [*names]
    while todo:
        name = _normal(todo.pop())
        if name not in kept:
            kept.add(name)
            with suppress(metadata.PackageNotFoundError):
                wanted = [line for line in metadata.requires(name) or [] if "extra ==" not in line]
                todo += [re.match(r"[\w.-]+", line)[0] for line in wanted]
    return kept


def _normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


# Data


@settings(deadline=None)
@given(st.integers(2, 300), st.integers(1, 40), st.integers(1, 9), st.integers(0, 5), st.integers(0, 40))
def test_windows_of_an_epoch_are_apart_and_miss_little(length, context, batch_size, seed, first):
    if length <= context:
        context = length - 1
    batches = TokenBatches(np.arange(length), context, batch_size, length, seed)
    count = batches.windows
    stream = [row for i in range(-(-2 * count // batch_size)) for row in zip(*batches[i], strict=True)][: 2 * count]
    for epoch in (stream[:count], stream[count:]):
        targets = [int(t) for _, row in epoch for t in row]
        assert len(set(targets)) == len(targets) == count * context  # no target twice
        assert length - 1 - len(targets) < 2 * context
    for inputs, targets in stream:
        assert targets.equal(inputs + 1) and inputs.dtype == torch.int64 and len(inputs) == context
    again = TokenBatches(np.arange(length), context, batch_size, length, seed)[first]
    assert again[0].equal(batches[first][0])


def test_windows_are_in_another_place_and_order_every_epoch():
    batches = TokenBatches(np.arange(1000), 10, 1, 1000)
    epochs = [[int(batches[e * batches.windows + i][0][0, 0]) for i in range(batches.windows)] for e in range(8)]
    assert len({min(e) % 10 for e in epochs}) > 3
    assert len({tuple(np.argsort(e)) for e in epochs}) == 8
    other = TokenBatches(np.arange(1000), 10, 1, 1000, seed=1)
    assert [int(other[i][0][0, 0]) for i in range(20)] != epochs[0][:20]


@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 30))
def test_k_batches_of_b_are_one_batch_of_kb(k, b, i):
    small, large = TokenBatches(corpus(), CONTEXT, b, VOCAB), TokenBatches(corpus(), CONTEXT, k * b, VOCAB)
    assert torch.cat([small[k * i + j][0] for j in range(k)]).equal(large[i][0])


@pytest.mark.parametrize("form", [list, np.asarray, torch.tensor])
def test_ids_may_be_a_list_an_array_or_a_tensor(form):
    ids = corpus().astype(np.int64).tolist()
    inputs, targets = TokenBatches(form(ids), CONTEXT, 2, VOCAB)[3]
    judge = TokenBatches(corpus(), CONTEXT, 2, VOCAB)[3]
    assert inputs.equal(judge[0]) and targets.equal(judge[1])
    assert inputs.is_contiguous() and targets.is_contiguous() and inputs.shape == targets.shape == (2, CONTEXT)


def test_ids_on_disk_are_not_read_into_memory(tmp_path):
    corpus().tofile(tmp_path / "ids.bin")
    mapped = np.memmap(tmp_path / "ids.bin", np.uint16, "r")
    batches = TokenBatches(mapped, CONTEXT, 2, VOCAB)
    assert isinstance(batches.ids, np.memmap)
    assert batches.facts == tokens(2).facts


@pytest.mark.parametrize(
    ("ids", "error", "match"),
    [
        ([], ValueError, "the data set is empty"),
        (np.zeros((3, 9), int), ValueError, r"ids have the shape \(3, 9\), but must be one row"),
        (np.zeros(9), TypeError, "ids are float64, but token ids are integers"),
        (np.zeros(9, bool), TypeError, "ids are bool"),
        (list("abcdefghi"), TypeError, "ids are <U1"),
        (np.zeros(6, int), ValueError, "the corpus has 6 tokens, but one window takes 6 and the target after it"),
        (np.array([0] * 9 + [-1]), ValueError, "id -1 is outside the vocabulary of 13"),
        (np.array([0] * 9 + [13]), ValueError, "id 13 is outside the vocabulary of 13: was this encoded by another"),
    ],
)
def test_bad_ids_are_refused(ids, error, match):
    with pytest.raises(error, match=match):
        TokenBatches(ids, CONTEXT, 2, VOCAB)


def test_bad_sizes_are_refused():
    with pytest.raises(ValueError, match="context_length is 0"):
        TokenBatches(corpus(), 0, 2, VOCAB)
    with pytest.raises(ValueError, match="batch_size is 0"):
        TokenBatches(corpus(), 2, 0, VOCAB)


class Letters:
    """A tokenizer of a, b, c …, whose end token is 26."""

    special_tokens: ClassVar = {"<|endoftext|>": 26}

    def encode(self, text):
        return [ord(letter) - ord("a") for letter in text]


@given(st.lists(st.text("abc", max_size=5), max_size=5))
def test_a_row_of_ids_has_an_end_before_the_first_and_after_each_text(texts):
    row = row_of_ids(iter(texts), Letters())
    letters = "".join("abcdefghijklmnopqrstuvwxyz|"[i] for i in row)
    assert letters == "|" + "".join(text + "|" for text in texts)
    assert np.issubdtype(row.dtype, np.integer)


# Muon, and batches in parts


def test_muon_is_torchs_on_matrices_and_adamw_on_the_rest():
    torch.manual_seed(0)
    ours = torch.nn.Sequential(torch.nn.Embedding(9, 12), torch.nn.Linear(12, 20), torch.nn.LayerNorm(20))
    theirs = copy.deepcopy(ours)
    config = TrainingConfig(steps=5, learning_rate=0.02, weight_decay=0.3)
    mine = Muon(ours, config)
    matrices = [theirs[1].weight]
    others = [p for p in theirs.parameters() if p is not theirs[1].weight]
    muon = torch.optim.Muon(matrices, 0.02, weight_decay=0.3, adjust_lr_fn="match_rms_adamw")
    adamw_ = torch.optim.AdamW(others, 0.02, config.betas, weight_decay=0.0)
    for _ in range(5):
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        for optimizer in (mine, muon, adamw_):
            optimizer.step()
    for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert (a - b).abs().max() < (2e-3 if name == "1.weight" else 1e-6), name  # its products are bfloat16


def test_a_matrix_is_orthogonalised_and_keeps_its_directions():
    torch.manual_seed(0)
    for shape in ((30, 50), (50, 30)):
        matrix = torch.randn(shape) @ torch.diag(torch.logspace(0, -1, shape[1]))
        result = orthogonalised(matrix)
        left, _, right = torch.linalg.svd(matrix, full_matrices=False)
        singular = torch.linalg.svdvals(result)
        assert singular.min() > 0.5 and singular.max() < 1.3
        along = (left.T @ result @ right.T).diagonal()
        assert (along - singular.mean()).abs().max() < 0.5


def test_a_batch_in_parts_has_the_loss_and_the_gradient_of_the_whole():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.Tanh(), torch.nn.Linear(16, 4)).double()
    x, y, weight = torch.randn(7, 6).double(), torch.randint(4, (7,)), torch.rand(7).double()

    def loss(model, batch):
        x, y, weight = batch
        losses = torch.nn.functional.cross_entropy(model(x), y, reduction="none")
        return (losses * weight).sum() / weight.sum(), weight.sum()

    whole, total = loss(model, (x, y, weight))
    expected = torch.autograd.grad(whole, model.parameters())
    for parts in (1, 2, 3):
        mean, terms = in_parts(loss, parts)(model, (x, y, weight))
        model.zero_grad()
        mean.backward()
        assert torch.allclose(mean, whole, atol=1e-12) and torch.allclose(terms, total, atol=1e-12)
        for parameter, grad in zip(model.parameters(), expected, strict=True):
            assert torch.allclose(parameter.grad, grad, atol=1e-12)
