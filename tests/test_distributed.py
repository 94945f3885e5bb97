"""Processes train as one, hold and send what the formulas say, and go on from what others have written."""

import math
import shutil
import subprocess
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fmnotes import distributed
from fmnotes.distributed import SCHEMES, Job, Traffic, arithmetic, held, launch, ring_bytes, traffic, units
from fmnotes.distributed.launch import _environment, _what_happened
from fmnotes.gpt2 import GPT2, GPT2Config
from fmnotes.training import TokenBatches, TrainingConfig, adamw

TINY = GPT2Config(vocab_size=61, context_length=16, d_model=12, n_layer=2, n_head=2)  # 61 rows: no even parts
STEPS = 4


@pytest.fixture(scope="module")
def job(tmp_path_factory) -> Job:
    file = tmp_path_factory.mktemp("ids") / "ids.npy"
    np.save(file, np.random.default_rng(0).integers(0, 61, 3000))
    return Job("ddp", str(file), STEPS, batch_size=12, config=TINY, measure=True, learning_rate=1e-2)


@pytest.fixture(scope="module")
def together(job) -> dict[tuple[str, bool], list[dict]]:
    """What two processes find, by scheme and whether gradients are clipped."""
    cases = [(scheme, clipped) for scheme in SCHEMES for clipped in (False, True)]
    jobs = [replace(job, scheme=scheme, max_norm=0.1 if clipped else None) for scheme, clipped in cases]
    lines = []
    results = launch(jobs, 2, lines.append)
    assert [line["step"] for line in lines] == [*range(1, STEPS + 1)] * len(cases)
    return dict(zip(cases, results, strict=True))


def shapes() -> list[tuple[int, ...]]:
    return [shape for unit in units(GPT2(TINY)) for shape in unit]


def test_units_hold_every_parameter_once():
    model = GPT2(TINY)
    assert sorted(shapes()) == sorted(tuple(p.shape) for p in model.parameters())
    assert len(units(model)) == 3


@pytest.mark.parametrize("scheme", SCHEMES)
def test_two_processes_train_as_one_does(scheme, together, job):
    for clipped in (False, True):
        alone = distributed.run(replace(job, parts=2, measure=False, max_norm=0.1 if clipped else None))
        ranks = together[scheme, clipped]
        assert ranks[0]["losses"] == ranks[1]["losses"]
        if clipped and scheme in ("zero2", "zero3"):  # the norm is added up in another order
            assert ranks[0]["losses"] == pytest.approx(alone["losses"], abs=1e-5)
        else:
            assert ranks[0]["losses"] == alone["losses"]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_bytes_held_and_sent_are_those_of_the_formulas(scheme, together):
    for clipped in (False, True):
        expected = vars(traffic(scheme, units(GPT2(TINY)), 2, clipped))
        for rank, found in enumerate(together[scheme, clipped]):
            assert found["held"] == held(scheme, shapes(), 2, rank)
            assert found["messages"] == expected


def test_one_process_trains_as_the_plain_loop(job):
    """Against torch alone: no warm-up but the schedule's, the same batches."""
    plain = replace(job, max_norm=None, steps=3)
    torch.manual_seed(0)
    model = GPT2(TINY)
    recipe = TrainingConfig(3, 1e-2, warmup_steps=3)
    optimizer, losses = adamw(model, recipe), []
    batches = TokenBatches(np.load(job.ids), 16, 12, 61, 0)
    for step in range(3):
        optimizer.param_groups[0]["lr"] = optimizer.param_groups[1]["lr"] = 1e-2 * step / 3
        inputs, targets = batches[step]
        loss = torch.nn.functional.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert distributed.run(replace(plain, measure=False))["losses"] == losses


def test_a_killed_process_is_named_and_any_number_goes_on(job, tmp_path):
    whole = replace(job, scheme="zero3", max_norm=None, measure=False)
    expected = distributed.run(replace(whole, parts=2))["losses"]
    saved = replace(whole, folder=str(tmp_path / "run"), save_every=2)
    with pytest.raises(RuntimeError, match="rank 1 of 2 was killed by SIGKILL; .*step-00000002; the same jobs go on"):
        launch([replace(saved, killed=(1, 3))], 2)
    for n in (1, 2, 3):
        folder = tmp_path / f"run-{n}"
        shutil.copytree(tmp_path / "run", folder)
        on = replace(saved, folder=str(folder))
        found = distributed.run(replace(on, parts=2)) if n == 1 else launch([on], n)[0][0]
        assert found["start"] == 2
        if n < 3:
            assert found["losses"] == expected[2:]
        else:
            assert found["losses"] == pytest.approx(expected[2:], abs=1e-5)
        assert sorted(path.name for path in folder.glob("step-*")) == ["step-00000002", "step-00000004"]


def test_what_a_killed_writer_left_is_no_checkpoint(job, tmp_path):
    saved = replace(job, scheme="zero3", steps=2, folder=str(tmp_path), measure=False)
    distributed.run(saved)
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "state.json").write_text('{"step": 9}')
    assert distributed.run(replace(saved, steps=3))["start"] == 2
    assert not (tmp_path / "unfinished").exists()
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".pt", ".pkl", ".distcp", ".metadata")]


def test_an_interrupt_leaves_no_process_behind(job, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # where the jobs are written: it names their processes
    seen = []

    def interrupt(line):
        seen.extend(working_on(tmp_path))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        launch([replace(job, steps=100_000, measure=False)], 2, interrupt)
    assert len(seen) == 3  # torchrun and its two
    deadline = time.time() + 20
    while (left := working_on(tmp_path)) and time.time() < deadline:
        time.sleep(0.2)
    assert not left
    assert not list(tmp_path.iterdir())


def working_on(folder: Path) -> list[str]:
    """Command lines of all processes that name a folder."""
    listed = subprocess.run(["ps", "-axww", "-o", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if str(folder) in line]


def test_a_mistake_is_told_by_its_rank(job):
    with pytest.raises(RuntimeError, match="rank . of 2 failed: ValueError: 11 rows cannot be dealt evenly to 2 proc"):
        launch([replace(job, batch_size=11)], 2)
    with pytest.raises(ValueError, match="0 processes: at least one is needed"):
        launch([job], 0)
    assert _what_happened("no such module", 2, [job]) == "torchrun failed before its 2 processes ran: no such module"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scheme": "zero4"}, "there is no scheme 'zero4'; there are ddp, zero1, zero2, zero3"),
        ({"folder": "somewhere"}, "checkpoints are written of models that are sharded, with zero2 or zero3: ddp"),
        ({"steps": 0}, "steps is 0, but must be at least 1"),
    ],
)
def test_bad_jobs_are_refused(job, change, message):
    with pytest.raises(ValueError, match=message):
        replace(job, **change)


def test_a_job_comes_back_from_json(job):
    again = replace(job, killed=(1, 2), max_norm=None)
    assert Job.from_json(asdict(again)) == again


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 6), st.integers(1, 5))
def test_a_ring_sends_what_the_formula_says(world, chunk):
    """Simulated, chunk by chunk."""
    arrays = [np.arange(world * chunk) + 100 * rank for rank in range(world)]
    pieces, sent = [np.split(a.copy(), world) for a in arrays], 0
    for turn in range(world - 1):
        letters = [pieces[rank][(rank - turn) % world].copy() for rank in range(world)]
        for rank in range(world):
            pieces[rank][(rank - 1 - turn) % world] += letters[rank - 1]
        sent += len(letters[0])
    whole = sum(arrays).reshape(world, chunk)
    assert all((pieces[rank][(rank + 1) % world] == whole[(rank + 1) % world]).all() for rank in range(world))
    size = world * chunk
    assert sent == pytest.approx(ring_bytes("reduce_scatter", size, world))
    assert Traffic(all_reduce=size).sent(world) == pytest.approx(2 * sent)
    assert Traffic(all_gather=size, broadcast=size).sent(world) == pytest.approx(2 * sent)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 9)), min_size=1, max_size=8), st.integers(1, 7))
def test_what_all_hold_together_is_the_model(shapes, world):
    n = sum(map(math.prod, shapes))
    for scheme in SCHEMES:
        ranks = [held(scheme, shapes, world, rank) for rank in range(world)]
        copies = {"ddp": (world,) * 3, "zero1": (world, world, 1), "zero2": (1,) * 3, "zero3": (1,) * 3}[scheme]
        totals = [sum(of[name] for of in ranks) for name in ("parameters", "gradients", "optimizer")]
        assert totals == [4 * n * copies[0], 4 * n * copies[1], 8 * n * copies[2]]
    for rank in range(world):
        parts = [torch.empty(shape).chunk(world) for shape in shapes]
        own = sum(part[rank].numel() for part in parts if rank < len(part))
        assert held("zero3", shapes, world, rank)["parameters"] == 4 * own


@pytest.mark.parametrize("checkpointed", [False, True])
@pytest.mark.parametrize(("layers", "batch", "length"), [(1, 2, 16), (3, 1, 9)])
def test_activations_kept_are_those_of_the_formula(checkpointed, layers, batch, length):
    config = replace(TINY, n_layer=layers)
    model, seen = GPT2(config), {}
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    x = torch.randn(batch, length, 12, requires_grad=True)

    def note(tensor):
        if tensor.untyped_storage().data_ptr() not in own:
            seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        y = x
        for block in model.h:
            y = torch.utils.checkpoint.checkpoint(block, y, use_reentrant=False) if checkpointed else block(y)
    expected = arithmetic.activation_bytes(config, batch, length, checkpointed=checkpointed)
    assert sum(storage.nbytes() for storage in seen.values()) == expected


def test_seconds_of_a_step_at_scale():
    device = distributed.DEVICES["H100 SXM"]
    one = distributed.step_seconds(device, "zero3", 7e9, 4096, 1)
    assert one["network"] == 0 and one["compute"] == pytest.approx(6 * 7e9 * 4096 / (989e12 / 2))
    small, large = (distributed.step_seconds(device, "zero3", n, 4096, 1024) for n in (1e9, 70e9))
    assert small["compute"] / small["network"] == pytest.approx(large["compute"] / large["network"])
    ddp = distributed.step_seconds(device, "ddp", 1e9, 4096, 1024)
    assert small["network"] == pytest.approx(1.5 * ddp["network"]) and ddp["memory"] > small["memory"]
    near = distributed.step_seconds(device, "zero3", 1e9, 4096, distributed.NODE)
    assert near["network"] < small["network"] / 8


def test_the_environment_reaches_the_processes():
    assert str(Path(distributed.__file__).parents[2]) in _environment()["PYTHONPATH"]
