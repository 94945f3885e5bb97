"""How well captions can be told apart at best: the Bayes ranker's recall on a gallery of scenes."""

import re
from collections.abc import Sequence
from itertools import combinations

import numpy as np
from jaxtyping import Float

from fmnotes.museum.captions import ATTRIBUTES, SINGULAR, logprob
from fmnotes.museum.scenes import Scene


def _mentioned(caption: str) -> frozenset[str]:
    """The looks that a caption speaks of: its runs of attribute words, as "large red", "circle"."""
    runs, run = set(), []
    for word in re.findall(r"\w+|[^\w ]", caption.lower()) + ["."]:
        word = SINGULAR.get(word, word)
        if word in ATTRIBUTES:
            run.append(word)
        elif run:
            runs.add(" ".join(run))
            run = []
    return frozenset(runs)


def _looks(scene: Scene) -> frozenset[str]:
    """All looks that one can speak of in this scene."""
    fields = [(thing.size, thing.colour, thing.shape) for thing in scene.objects]
    return frozenset(" ".join(words) for look in fields for n in (1, 2, 3) for words in combinations(look, n))


def likelihoods(captions: Sequence[str], scenes: Sequence[Scene]) -> Float[np.ndarray, "captions scenes"]:
    """log p(caption | scene) for every caption and every scene, in nats, −∞ where it is false.

    No caption is true of a scene in which a look that it mentions does not occur, so only the other scenes are scored.
    """
    different = list(dict.fromkeys(captions))  # short ones recur, and fit the most scenes
    scores = np.full((len(different), len(scenes)), -np.inf)
    looks = [_looks(scene) for scene in scenes]
    for row, caption in enumerate(different):
        mentioned = _mentioned(caption)
        for column, scene in enumerate(scenes):
            if mentioned <= looks[column]:
                scores[row, column] = logprob(caption, scene)
    rows = {caption: row for row, caption in enumerate(different)}
    return scores[[rows[caption] for caption in captions]]


def retrieval_ceiling(
    scores: Float[np.ndarray, "pairs pairs"], ks: Sequence[int] = (1, 5, 10)
) -> dict[str, dict[str, float]]:
    """The recall that nobody can beat on average: the Bayes ranker's, on a gallery where caption i belongs to scene i.

    `scores` are the log p(caption | scene) of `likelihoods`. Unread, a caption may belong to any scene alike, so
    p(scene | caption) = p(caption | scene) / Σ p(caption | every scene). For a caption the ranker orders the scenes,
    and for a scene the captions, by that probability; among equals it can only guess, and recall is its expectation.
    Returns {"caption to scene": {"recall@1": …}, "scene to caption": {…}}.
    """
    if scores.ndim != 2 or scores.shape[0] != scores.shape[1]:
        raise ValueError(f"caption i must belong to scene i, so a square table is wanted; got {scores.shape}")
    if np.isneginf(np.diag(scores)).any():
        raise ValueError(f"caption {np.argmin(np.diag(scores))} is false of its own scene")
    posterior = scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
    return {
        "caption to scene": {f"recall@{k}": _expected_recall(posterior, k) for k in ks},
        "scene to caption": {f"recall@{k}": _expected_recall(posterior.T, k) for k in ks},
    }


def _expected_recall(posterior: Float[np.ndarray, "queries items"], k: int) -> float:
    """How often item i is among the best k of query i, ties broken at random."""
    own = np.diag(posterior)[:, None]
    tied = np.isclose(posterior, own, rtol=0, atol=1e-9)
    better = ((posterior > own) & ~tied).sum(axis=1)
    return float(np.clip((k - better) / tied.sum(axis=1), 0, 1).mean())
