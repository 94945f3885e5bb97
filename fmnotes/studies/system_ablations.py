"""The whole system, taken apart: what is lost without a part, or with another one, and what each stage costs.

    make study NAME=system_ablations

Questions about museums and pictures that no model has seen, of three kinds: for sight alone, for knowledge alone, and
for both. Every arm asks the same questions; where it differs from the whole, it asks anew. An arm that is done is not
asked again, unless `runs/studies/system_ablations` is removed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch

from fmnotes import ROOT, metrics, system
from fmnotes.museum import catalogue, knowledge, questions, render
from fmnotes.museum.scenes import Scene
from fmnotes.studies.system_parts import changed

STUDY = ROOT / "data" / "studies" / "system_ablations"
RUNS = ROOT / "runs" / "studies" / "system_ablations"
ASKED, EACH, SIGHT = 24, 50, 600  # museums that are asked about; questions about each; and about pictures
GROUPS = ("sight", "knowledge", "both")


@dataclass(frozen=True)
class Arm:
    """How the questions are asked.

    Args:
        part: of the system, and which one takes its place.
        groups: of questions that it changes.
        known: stages that are told the right result; "no page" and "no picture" are told the wrong thing.
    """

    part: str = ""
    groups: tuple[str, ...] = GROUPS
    known: tuple[str, ...] = ()


ARMS = {
    "whole": Arm(),
    "without sight: another picture": Arm(groups=("sight", "both"), known=("another picture",)),
    "without retrieval: no page": Arm(groups=("knowledge", "both"), known=("no page",)),
    "another museum's pages": Arm(groups=("knowledge", "both"), known=("another museum",)),
    "without the second look at pages": Arm("no reranker", groups=("knowledge", "both")),
    "without the second search": Arm(groups=("knowledge",), known=("one hop",)),
    "Q-Former for the MLP": Arm("eyes: qformer", groups=("sight", "both")),
    "resampler for the MLP": Arm("eyes: resampler", groups=("sight", "both")),
    "seeing model not adapted": Arm("eyes: not adapted", groups=("sight", "both")),
    "reader not taught to read": Arm("reader: small", groups=("knowledge", "both")),
    "right route": Arm(known=("route",)),
    "right thing seen": Arm(groups=("both",), known=("look",)),
    "right pages found": Arm(groups=("knowledge", "both"), known=("search",)),
    "all right but the reader": Arm(groups=("knowledge", "both"), known=("route", "look", "search")),
    "quick connector": Arm("eyes: quick", groups=("sight", "both")),
    "quick search tower": Arm("search: quick", groups=("knowledge", "both")),
    "quick connector and search tower": Arm("eyes: quick, search: quick", groups=("knowledge", "both")),
    "quick picture tower": Arm("eyes: quick pictures", groups=("sight", "both")),
    "quick reader": Arm("reader: quick", groups=("knowledge", "both")),
    "all four quick": Arm("eyes: quick pictures, search: quick, reader: quick"),
}


def group(row: Mapping) -> str:
    """Which of GROUPS a question belongs to."""
    return {"knowledge": "knowledge", "both": "both"}.get(row.get("needs"), "sight")


def asked(museums: int = ASKED, each: int = EACH, sight: int = SIGHT) -> list[dict]:
    """The questions, each with its picture if it has one."""
    rows = [row for n in range(museums) for row in islice(knowledge.questions(catalogue.museum("test", 0, n)), each)]
    rows += islice(questions.stream("test"), sight)
    for row in rows:
        row["picture"] = render([Scene.from_row(row)])[0] if row["objects"] else None
    return rows


def told(row: Mapping, known: Sequence[str]) -> dict:
    """What stages are told of a question, as `System.ask` takes it."""
    found = {}
    if "route" in known:
        kinds = {"one_hop": system.ONE_HOP, "picture": system.ONE_HOP, "two_hop": system.TWO_HOPS}
        found["route"] = kinds.get(row["type"], system.SIGHT)
    if "one hop" in known:
        found["route"] = system.ONE_HOP
    if "look" in known and group(row) == "both":
        found["look"] = "the " + row["pages"][0].rpartition("/")[2].replace("-", " ")
    if "search" in known and group(row) != "sight":
        found["search"] = row["pages"]
    if "no page" in known:
        found["search"] = ()
    return found


def ask(one: system.System, row: Mapping, another: Mapping, known: Sequence[str] = ()) -> dict:
    """What becomes of a question: whether the answer is right, and each stage's result. A failed stage is no answer."""
    picture = another["picture"] if "another picture" in known else row["picture"]
    museum = row.get("filter", "")
    if "another museum" in known:
        museum = another["museum"]
    try:
        trace = one.ask(row["question"], picture, museum, told(row, known))
    except system.StageError as error:
        trace = error.trace
    result = {"right": trace.right(row["answer"]), "route": trace.kind, "searched": trace.searched, "text": trace.text}
    return result | {"pages": list(trace.pages), "cited": trace.cited, "seconds": trace.seconds}


def others(rows: Sequence[Mapping]) -> list[Mapping]:
    """For each question another one: of the same group with another picture, or about another museum."""
    by_group = {name: [row for row in rows if group(row) == name] for name in GROUPS}
    step = {name: max(1, len(those) // 2) for name, those in by_group.items()}
    where = {id(row): n for those in by_group.values() for n, row in enumerate(those)}
    found = []
    for row in rows:
        those, n = by_group[group(row)], where[id(row)] + step[group(row)]
        found.append(those[n % len(those)])
    return found


# ------------------------------------------------------------------------------------------------------------- results


def weighed(rows: Sequence[Mapping], right: Sequence[bool], name: str) -> list[float]:
    """Scores of a group's questions whose plain mean is the mean over its types."""
    types = [row["type"] for row in rows if group(row) == name]
    scores = [float(ok) for row, ok in zip(rows, right, strict=True) if group(row) == name]
    counts = {kind: types.count(kind) for kind in set(types)}
    return [ok * len(types) / (len(counts) * counts[kind]) for ok, kind in zip(scores, types, strict=True)]


def share(rows: Sequence[Mapping], right: Sequence[bool], name: str, seed: int = 0, n: int = 2000) -> metrics.Interval:
    """The mean over a group's types, with a bootstrap interval: questions are drawn anew within each type."""
    types = sorted({row["type"] for row in rows if group(row) == name})
    scores = [[ok for row, ok in zip(rows, right, strict=True) if row["type"] == kind] for kind in types]
    dice, means = np.random.default_rng(seed), np.zeros(n)
    for each in map(np.array, scores):
        means += each[dice.integers(len(each), size=(n, len(each)))].mean(1) / len(scores)
    low, high = np.quantile(means, (0.025, 0.975))
    return metrics.Interval(float(np.mean([np.mean(each) for each in scores])), float(low), float(high))


def budget(rows: Sequence[Mapping], arms: Mapping[str, Sequence[dict]]) -> dict[str, float]:
    """Questions for both: each stage's share of right results where those before it are right, and the product.

    "lucky" is the share of right answers in which some stage was wrong: what the product cannot know.
    """
    those = [n for n, row in enumerate(rows) if group(row) == "both"]
    named = [told(rows[n], ("look",))["look"] for n in those]
    one, seen, read = (
        [arms[name][n] for n in those] for name in ("whole", "right thing seen", "all right but the reader")
    )
    way = [answer["route"] == system.ONE_HOP for answer in one]
    look = [name in answer["searched"] for name, answer in zip(named, one, strict=True)]
    search = [answer["pages"] == rows[n]["pages"] for n, answer in zip(those, seen, strict=True)]
    found = {
        "route": np.mean(way),
        "look": np.mean([ok for ok, before in zip(look, way, strict=True) if before]),
        "search": np.mean([ok for ok, before in zip(search, way, strict=True) if before]),
        "read": np.mean([answer["right"] for answer in read]),
    }
    found |= {"predicted": np.prod(list(found.values())), "measured": np.mean([answer["right"] for answer in one])}
    pages = [answer["pages"] == rows[n]["pages"] for n, answer in zip(those, one, strict=True)]
    right = [answer["right"] for answer in one]
    found["lucky"] = np.mean([ok and not all(stages) for ok, *stages in zip(right, way, look, pages, strict=True)])
    return {name: round(float(value), 4) for name, value in found.items()}


def summary(rows: Sequence[Mapping], arms: Mapping[str, Sequence[dict]]) -> dict:
    """What is committed: shares with their intervals, losses against the whole, by type, the budget."""
    right = {name: [answer["right"] for answer in answers] for name, answers in arms.items()}
    found = {"questions": {name: sum(group(row) == name for row in rows) for name in GROUPS}, "arms": {}, "loss": {}}
    for name, each in right.items():
        pairs = {part: (weighed(rows, each, part), weighed(rows, right["whole"], part)) for part in GROUPS}
        lost = {part: metrics.difference_interval(*pair) for part, pair in pairs.items()}
        shares = {part: share(rows, each, part) for part in GROUPS}
        found["arms"][name] = {part: [round(x, 4) for x in found_] for part, found_ in shares.items()}
        found["loss"][name] = {part: [round(x, 4) for x in less] for part, less in lost.items()}
    types = {row["type"]: [] for row in rows}
    for row, ok in zip(rows, right["whole"], strict=True):
        types[row["type"]].append(ok)
    found["types"] = {kind: [round(float(np.mean(each)), 4), len(each)] for kind, each in types.items()}
    found["budget"] = budget(rows, arms)
    return found


def answers(arm: Arm, rows: Sequence[Mapping], before: Sequence[dict] | None) -> list[dict]:
    """An arm's answers; those of groups that it does not change are the whole's."""
    one, found = changed(arm.part), []
    for n, (row, another) in enumerate(zip(rows, others(rows), strict=True)):
        same = before is not None and group(row) not in arm.groups
        found.append(before[n] if same else ask(one, row, another, arm.known))
    return found


def main() -> None:
    """Ask the questions in every arm that is not done, and write down what came of it."""
    torch.set_num_threads(1)
    RUNS.mkdir(parents=True, exist_ok=True)
    rows, arms = asked(), {}
    for name, arm in ARMS.items():
        file = RUNS / f"{name.replace(':', '')}.json"
        if not file.exists():
            found = answers(arm, rows, arms.get("whole"))
            half = file.with_suffix(".half")
            half.write_text(json.dumps(found))
            half.replace(file)
        arms[name] = json.loads(file.read_text())
        print(
            f"{name:36}"
            + "".join(f"{np.mean(weighed(rows, [a['right'] for a in arms[name]], g)):8.3f}" for g in GROUPS)
        )
    STUDY.mkdir(parents=True, exist_ok=True)
    (STUDY / "results.json").write_text(json.dumps(summary(rows, arms), indent=1) + "\n")


if __name__ == "__main__":
    main()
