"""The report's figures, drawn from the studies' data in the project's style."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from fmnotes import plots

WIDE, COLUMN = 7.0, 3.4  # inches
GREYS = ("#0072B2", "#D55E00", "#000000", "#56B4E9")  # in a grey print each has a dash or a marker of its own


def drawings(facts: dict) -> dict[str, Figure]:
    """The figures whose data are there, each by its name in the text."""
    plots.use_style()
    plt.rcParams.update({"font.size": 8, "axes.titlesize": 8.5, "lines.linewidth": 1.3, "lines.markersize": 4})
    studies = facts["studies"]
    found = {"studies": _parts(studies), "speed": _speed(facts["records"])}
    found["reading"] = _reading(list(studies["reading"]["emergence"].values()))
    if "system_ablations" in studies:
        found["system"] = _system(studies["system_ablations"])
    return found


def _parts(studies: dict) -> Figure:
    """Learning against counting, four connectors, and a search that grows."""
    fig, (learn, kinds, find, cost) = plt.subplots(1, 4, figsize=(WIDE, 2.0), width_ratios=(1, 1.15, 1, 1))
    nano = studies["gpt2_nano"]
    tokens = np.array(nano["tokens"]) / 1e6
    for bits in nano["gpt2"].values():
        learn.plot(tokens, bits, color=GREYS[0], linestyle="-", linewidth=0.9)
    learn.plot(tokens, nano["ngram"], color=GREYS[1], linestyle="--")
    learn.axhline(nano["floor"], color=GREYS[2], linestyle=":")
    for text, height, colour in (("counting", nano["ngram"][-1], GREYS[1]), ("floor", nano["floor"], GREYS[2])):
        learn.annotate(text, (tokens[-1], height + 0.015), ha="right", va="bottom", color=colour)
    learn.annotate(
        "GPT-2", (tokens[1], nano["gpt2"]["0"][1]), xytext=(4, 2), textcoords="offset points", color=GREYS[0]
    )
    learn.set(xlabel="tokens (millions)", ylabel="bits per byte", title="(a) learning", ylim=(0.2, 1.15))

    names = {"linear": "linear", "mlp": "MLP", "qformer": "Q-Former", "resampler": "resampler"}
    for shift, key, marker, colour in ((-0.12, "test", "o", GREYS[0]), (0.12, "composition", "s", GREYS[1])):
        shares = [studies["connector_kinds"]["arms"][kind][key] for kind in names]
        _points(kinds, shares, np.arange(len(names)) + shift, marker, colour)
    blind = [run["test, blind, mean"] for kind in names for run in studies["connector_kinds"]["arms"][kind]["seeds"]]
    kinds.axvline(np.mean(blind), color=GREYS[2], linestyle=":")
    kinds.annotate("blind", (np.mean(blind), 3.1), xytext=(3, 0), textcoords="offset points", va="center")
    kinds.annotate("known", (0.73, -0.5), ha="center", va="center", color=GREYS[0])
    kinds.annotate("new", (0.5, -0.5), ha="center", va="center", color=GREYS[1])
    kinds.set_yticks(range(len(names)), names.values())
    kinds.set(xlabel="right answers", title="(b) connectors", ylim=(len(names) - 0.6, -0.85), xlim=(0.25, 0.9))
    kinds.set_ylabel(None)

    sizes = studies["retrieval_growth"]["sizes"]
    pages = [size["pages"] for size in sizes]
    ways = {
        "vectors, 5": ("recall@5", "-", "o", 1.03),
        "vectors, 1": ("recall@1", "--", "s", 0.79),
        "words, 5": ("words, recall@5", ":", "^", 0.48),
    }
    for n, (text, (key, dash, marker, height)) in enumerate(ways.items()):
        find.plot(pages, [size[key] for size in sizes], linestyle=dash, marker=marker, color=GREYS[n])
        find.text(pages[0], height, text, color=GREYS[n])
    find.set(xscale="log", xlabel="pages", ylabel="right page found", title="(c) growing", ylim=(0.4, 1.12))

    enough = studies["retrieval_growth"]["enough"]
    compared = [min(b["compared"] for b in size["beams"].values() if b["recall"] >= enough) for size in sizes]
    cost.plot(pages, pages, linestyle="-", marker="o", color=GREYS[0])
    cost.plot(pages, compared, linestyle="--", marker="s", color=GREYS[1])
    cost.text(pages[2] / 1.5, pages[2] * 1.6, "exact", color=GREYS[0], ha="right")
    cost.text(pages[2], compared[2] / 1.8, "HNSW", color=GREYS[1], va="top")
    cost.set(
        xscale="log", yscale="log", xlabel="pages", ylabel="vectors compared", title="(d) its cost", ylim=(60, 2e5)
    )
    return fig


def _reading(stages: list[dict]) -> Figure:
    """How reading came, stage by stage: answers word for word, and the heads that look at what is copied."""
    fig, (answers, heads) = plt.subplots(1, 2, figsize=(COLUMN, 1.75), sharex=True)
    tokens = np.concatenate([stage["tokens"] for stage in stages]) / 1e6
    kinds = (("one hop", 0.93, 26, "-"), ("two hops", 0.1, 27, "--"), ("withheld", 0.84, 1, ":"))
    for n, (kind, height, place, dash) in enumerate(kinds):
        shares = np.concatenate([stage[f"{kind}, verbatim"] for stage in stages])
        answers.plot(tokens, shares, color=GREYS[n], linestyle=dash)
        answers.text(place, height, kind, color=GREYS[n])
    answers.set(ylabel="right, word for word", ylim=(0, 1.05))
    curves = {name: np.concatenate([_curve(stage, name) for stage in stages]) for name in stages[-1]["heads"]}
    ranked = sorted(curves, key=lambda name: -curves[name][-1])
    for name in ranked[3:]:
        heads.plot(tokens, curves[name], color="0.75", linestyle="-", linewidth=0.6)
    for n, name in enumerate(ranked[:3]):
        heads.plot(tokens, curves[name], color=GREYS[n], linestyle=("-", "--", ":")[n])
    heads.set(ylabel="attention", ylim=(0, 1.05))
    for axes in (answers, heads):
        axes.set_yticks([0, 0.5, 1])
        for stage in stages[1:]:
            axes.axvline(stage["tokens"][0] / 1e6, color="0.6", linewidth=0.6, linestyle="-")
    fig.supxlabel("tokens (millions)", fontsize=8)
    return fig


def _curve(stage: dict, head: str) -> list[float]:
    """A head's attention in a stage; a block that was put in later has none before."""
    return [np.nan if x is None else x for x in stage["heads"].get(head, [None] * len(stage["tokens"]))]


def _points(axes, shares: list, places, marker: str, colour: str) -> None:
    """Values with their intervals; each share is {value, low, high} or those three."""
    rows = np.array([list(share.values()) if isinstance(share, dict) else share for share in shares], dtype=float)
    errors = np.abs(rows[:, 1:].T - rows[:, 0])
    axes.errorbar(rows[:, 0], places, xerr=errors, fmt=marker, color=colour, capsize=2, elinewidth=1, linestyle="none")


def _speed(known: dict) -> Figure:
    """How many times as fast as the field's library; a ratio of times is turned round."""
    ways = {
        "train BPE / tokenizers": "bpe_train_vs_tokenizers",
        "encode / tiktoken": "bpe_encode_vs_tiktoken",
        "train GPT-2 / transformers": "gpt2_train_vs_transformers",
        "generate / transformers": "gpt2_generate_vs_transformers",
        "train CLIP / open_clip": "clip_train_vs_open_clip",
    }
    found = []
    for name in ways.values():
        one = known[f"bench:bench.{name}"]
        ends = [one["value"], one["value"] - one["tolerance"], one["value"] + one["tolerance"]]
        found.append(sorted(ends := [1 / x for x in ends])[1:2] + sorted(ends)[::2] if "time" in one["unit"] else ends)
    fig, axes = plt.subplots(figsize=(COLUMN, 1.5))
    _points(axes, found, np.arange(len(ways)), "o", GREYS[0])
    axes.axvline(1, color=GREYS[2], linestyle=":")
    axes.set_yticks(range(len(ways)), ways)
    axes.set(xscale="log", xlabel="times as fast as the library", ylim=(len(ways) - 0.5, -0.5))
    axes.set_xticks([0.5, 1, 2, 4], ["½", "1", "2", "4"])
    axes.minorticks_off()
    return fig


def _system(study: dict) -> Figure:
    """Right answers of every arm, for the three kinds of questions; arms that change nothing there are left out."""
    arms = study["arms"]
    whole = next(iter(arms.values()))
    fig, panels = plt.subplots(1, len(whole), figsize=(WIDE, 0.5 + 0.155 * len(arms)), sharey=True)
    for n, (axes, group) in enumerate(zip(panels, whole, strict=True)):
        places = [place for place, one in enumerate(arms.values()) if not place or one[group] != whole[group]]
        _points(axes, [list(arms.values())[place][group] for place in places], np.array(places), "osD"[n], GREYS[n])
        axes.axvspan(*whole[group][1:], color="0.5", alpha=0.2, linewidth=0)
        axes.set(xlabel="right answers", title=group, xlim=(-0.03, 1.03), ylim=(len(arms) - 0.4, -0.6))
    panels[0].set_yticks(range(len(arms)), arms)
    return fig


def draw(fig: Figure, path: Path) -> None:
    """Write a figure as SVG, the same bytes every time."""
    with plt.rc_context({"svg.hashsalt": "fmnotes", "svg.fonttype": "path"}):
        fig.savefig(path, metadata={"Date": None, "Creator": None})
    plt.close(fig)
