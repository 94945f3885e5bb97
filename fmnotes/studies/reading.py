"""What makes a small GPT read: answer from the pages in its prompt, about a museum that it never saw.

Small models, a million tokens each, three seeds, one change at a time. About three quarters of an hour of two cores.
How reading comes about in gpt2-museum itself is added from that model's own log, where it has been trained here.

    make study NAME=reading
"""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F

from fmnotes import ROOT, evaluation, metrics
from fmnotes.gpt2 import GPT2, GPT2Config
from fmnotes.museum import contexts, pages, prompt
from fmnotes.museum.dice import Dice
from fmnotes.studies import gpt2_museum
from fmnotes.studies.museum_rows import PER_MUSEUM, MuseumRows, Row, encoded, exam, known, tokenizer
from fmnotes.training import Muon, TrainingConfig, adamw, quick_precision, read_metrics, train

STUDY = ROOT / "data" / "studies" / "reading"
RUNS = ROOT / "runs" / "studies" / "reading"
SEEDS, ITEMS, TOKENS_A_STEP, WARMUP, FIRST, POINTS = 3, 64, 2048, 100, 4.0, 20


@dataclass(frozen=True)
class Arm:
    """A way of training; the defaults are the one that all others are compared with.

    `then`: pages and length of a second half of the steps. `primer`: the share, of ten rows, in which a page is copied
    out, sentence by sentence in another order.
    """

    optimizer: str = "Muon"
    rate: float = 5e-3
    pages: int = 1
    length: int = 256
    then: tuple[int, int] | None = None
    steps: int = 500
    questions: int = 24
    restate: bool = True
    answers: float = 10.0
    primer: int = 0
    n_layer: int = 4
    d_model: int = 128
    exam: int = 1  # pages in the exam


BASE = Arm()
ARMS = {
    "base": BASE,
    "AdamW": replace(BASE, optimizer="AdamW", rate=1.5e-3),
    "AdamW, faster": replace(BASE, optimizer="AdamW", rate=4e-3),
    "AdamW, fastest": replace(BASE, optimizer="AdamW", rate=1e-2),
    "one question a context": replace(BASE, questions=1, length=170),
    "bare answers": replace(BASE, restate=False),
    "all tokens count alike": replace(BASE, answers=1.0),
    "pages copied out": replace(BASE, primer=3),
    "8 blocks, 96 wide": replace(BASE, n_layer=8, d_model=96),
    "2 blocks, 192 wide": replace(BASE, n_layer=2, d_model=192),
    "three pages throughout": replace(BASE, pages=3, length=512, steps=1000, exam=3),
    "one page, then three": replace(BASE, then=(3, 512), steps=1000, exam=3),
}
TWINS = {1: "base", 3: "three pages throughout"}  # by the pages of the exam: what an arm is compared with


class StudyRows(MuseumRows):
    """Rows of reading alone, as an arm wants them."""

    def __init__(self, arm: Arm, pages_: int, length: int, seed: int):
        shares = {"reading": TOKENS_A_STEP // length}
        super().__init__(length, shares, (pages_, pages_), arm.answers, FIRST, rest=1.0, seed=seed)
        self.arm, self.facts = arm, self.facts | {"arm": asdict(arm)}

    def reading(self, n: int, dice: Dice) -> Row:
        about, store = known("train", self.seed, n // PER_MUSEUM)
        if n % 10 < self.arm.primer:
            return self._copied(dice.shuffled(list(store.values()))[0], dice)
        context = contexts.draw(about, store, dice, self.pages[0], self.arm.questions)
        if not self.arm.restate:
            bare = tuple(one._replace(answer=_bare(one.answer, one.value)) for one in context.asked)
            context = contexts.Context(context.pages, bare)
        return self.laid_out(context)

    def _copied(self, page: dict, dice: Dice) -> Row:
        first = encoded(prompt.END + prompt.build("", [page["text"]]).partition(prompt.QUESTION)[0])
        ids, weights = list(first), [self.rest] * len(first)
        for sentence in dice.shuffled(pages.sentences(page["text"])):
            line = encoded(prompt.ANSWER + prompt.cite(sentence, 1) + prompt.END)
            ids += line
            weights += [self.rest] + [self.answers] * (len(line) - 1)
        return ids, weights


class Halves:
    """Batches of the first kind for half of the steps, and then of the second."""

    def __init__(self, first: StudyRows, second: StudyRows):
        self.first, self.second = first, second
        self.unit, self.size, self.facts = first.unit, first.size, first.facts

    def __getitem__(self, i: int) -> tuple[torch.Tensor, ...]:
        return self.first[i] if i < self.first.arm.steps // 2 else self.second[i]


def _bare(answer: str, value: str) -> str:
    return answer if answer == prompt.UNKNOWN else prompt.cite(value, prompt.cited(answer)[1])


def batches(arm: Arm, seed: int) -> StudyRows | Halves:
    """The arm's batches; where it changes half-way, those of both halves in one."""
    first = StudyRows(arm, arm.pages, arm.length, seed)
    if arm.then is None:
        return first
    return Halves(first, StudyRows(arm, *arm.then, seed + SEEDS))  # museums that the first half has not met


def run(name: str, seed: int) -> dict:
    """Train an arm, or read what an earlier run found: the nats of right answers, and how many are given verbatim."""
    file, arm = RUNS / f"{name.replace(' ', '_')}-{seed}.json", ARMS[name]
    if file.exists():
        return json.loads(file.read_text())
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    model = GPT2(GPT2Config(4096, 1024, arm.d_model, arm.n_layer, arm.d_model // 32))
    recipe = TrainingConfig(
        arm.steps, arm.rate, arm.rate / 10, warmup_steps=WARMUP, precision=quick_precision(), seed=seed, log_every=20
    )
    optimizer = {"Muon": Muon, "AdamW": adamw}[arm.optimizer]
    lines = train(model, lambda m, batch: m.loss(*batch), batches(arm, seed), recipe, optimizer=optimizer)
    items = exam(ITEMS, (arm.exam,))
    if not arm.restate:
        items = [replace(item, answer=_bare(item.answer, item.value)) for item in items]
    found = evaluation.judged(model.eval(), tokenizer(), items)
    of = {kind: [f for f, item in zip(found, items, strict=True) if item.kind == kind] for kind in contexts.KINDS}
    result = {kind: {"nats": _mean(n for _, n in f), "verbatim": _mean(a for a, _ in f)} for kind, f in of.items() if f}
    if name in ("base", "bare answers"):  # only what both of them say can be compared
        result["value, nats"] = _value_nats(model, [item for item in items if item.kind == "one hop"], arm.restate)
    losses = [line["loss"] for line in lines if "loss" in line]
    result["loss"] = [_mean(part) for part in np.array_split(losses, min(POINTS, len(losses)))]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(result))
    return result


@torch.inference_mode()
def _value_nats(model: GPT2, items: list[contexts.Item], restate: bool) -> float:
    """What the value, the citation and the end of an answer cost, on average, after the right words before them."""
    total = 0.0
    for item in items:
        value = prompt.cite(f" {item.value}." if restate else item.value, prompt.cited(item.answer)[1])
        last = len(encoded(value + prompt.END))
        asked = prompt.END + prompt.build(item.question, item.pages, item.answer)
        ids = torch.tensor([encoded(asked)])
        total += F.cross_entropy(model(ids)[0, -last - 1 : -1], ids[0, -last:], reduction="sum").item()
    return round(total / len(items), 4)


def _mean(values) -> float:
    return round(float(np.mean(list(values))), 4)


def emergence() -> dict:
    """What gpt2-museum's own log says of how reading came: the exam, and what every head looks at, over the steps.

    A head is named by its block in the finished model, also where the others had not been put between yet.
    """
    stages, before = {}, 0
    for name, stage in gpt2_museum.STAGES.items():
        if gpt2_museum.finished(name) is None:
            break
        looks = [line for line in read_metrics(gpt2_museum.RUNS / name / "metrics.jsonl") if "one hop, nats" in line]
        apart = list(gpt2_museum.STAGES.values())[-1].n_layer // stage.n_layer
        heads = {key: _deepened(key, apart) for key in looks[-1] if key.startswith("head ")}
        tokens = stage.length * sum(stage.shares.values())
        stages[name] = {
            "tokens": [before + line["step"] * tokens for line in looks],
            **{key: [round(line[key], 3) for line in looks] for key in looks[0] if key.startswith(contexts.KINDS)},
            "heads": {
                name: [round(line[key], 2) if key in line else None for line in looks] for key, name in heads.items()
            },
        }
        before += stage.steps * tokens
    return stages


def _deepened(head: str, apart: int) -> str:
    block, _, number = head.removeprefix("head ").partition(".")
    return f"head {int(block) * apart}.{number}"


def main() -> None:
    """Run what has not been run yet, two at a time, and write down what came of it."""
    jobs = [(name, seed) for seed in range(SEEDS) for name in ARMS]
    with ProcessPoolExecutor(2) as pool:
        results = dict(zip(jobs, pool.map(run, *zip(*jobs, strict=True)), strict=True))
    arms = {}
    for name, arm in ARMS.items():
        of_seeds = [results[name, seed] for seed in range(SEEDS)]
        arms[name] = {"arm": asdict(arm), "seeds": of_seeds, "difference": None}
        arms[name]["one hop, nats"] = metrics.seed_interval([x["one hop"]["nats"] for x in of_seeds])._asdict()
        twin = TWINS[arm.exam]
        if name != twin:
            theirs = [results[twin, seed] for seed in range(SEEDS)]
            key = (lambda x: x["one hop"]["nats"]) if arm.restate else (lambda x: x["value, nats"])
            difference = metrics.difference_interval(list(map(key, of_seeds)), list(map(key, theirs)))
            arms[name]["difference"] = difference._asdict()
    STUDY.mkdir(parents=True, exist_ok=True)
    found = json.loads(json.dumps({"arms": arms, "emergence": emergence()}), parse_float=lambda x: round(float(x), 4))
    (STUDY / "curves.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
