"""Numbers with their intervals: what a run measured, and how far another run might lie from it."""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Interval(NamedTuple):
    """An estimate and the interval around it; prints as ``0.812 [0.801, 0.823]`` under a format like ``.3f``."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether a difference is more than chance: only then may a winner be named."""
        return self.low > 0 or self.high < 0

    def __format__(self, spec: str) -> str:
        return f"{self.value:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"


def bootstrap_interval(values: Sequence[float], seed: int, level: float = 0.95, n: int = 2000) -> Interval:
    """The mean over examples, with its percentile bootstrap interval.

    The means of n resamples, drawn with replacement and as long as the sample; the interval holds their middle
    ``level`` (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3).

    Args:
        values: (examples,) one score an example, like 0 or 1 for right answers.
        seed: of the resampling.
        level: the share of resamples inside.
        n: how many resamples.
    """
    values, generator = _sample(values, "values", level=level), np.random.default_rng(seed)
    means = [values[generator.integers(len(values), size=len(values))].mean() for _ in range(n)]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(values.mean()), float(low), float(high))


def seed_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """The mean over seeds with Student's t interval, mean ± t s/√n (Student, Biometrika 6, 1908).

    Args:
        values: (seeds,) one result a seed.
        level: the probability that the interval holds the mean over all seeds, if results are normal.
    """
    values = _sample(values, "values", level=level)
    return _around(values.mean(), values.std(ddof=1) / math.sqrt(len(values)), len(values) - 1, level)


def difference_interval(a: Sequence[float], b: Sequence[float], paired: bool = True, level: float = 0.95) -> Interval:
    """The mean of a - b with its t interval.

    Paired: the t interval of the differences, for results that share a seed or an example, in the same order. Else
    Welch's interval for two samples of unequal variance (Welch, Biometrika 34, 1947), its degrees of freedom rounded
    down.

    Args:
        a, b: (seeds,) results of the two arms.
        paired: whether a[i] and b[i] belong together.
        level: as in ``seed_interval``.
    """
    a, b = _sample(a, "a", level=level), _sample(b, "b", level=level)
    if paired:
        if len(a) != len(b):
            raise ValueError(f"paired results come in pairs: there are {len(a)} of a and {len(b)} of b")
        return seed_interval(a - b, level)
    parts = np.array([a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)])
    freedom = parts.sum() ** 2 / (parts**2 / [len(a) - 1, len(b) - 1]).sum() if parts.any() else 1
    return _around(a.mean() - b.mean(), math.sqrt(parts.sum()), int(freedom), level)


def power_law_fit(x: Sequence[float], y: Sequence[float], level: float = 0.95) -> tuple[Interval, Interval]:
    """Fit y = c x^k by least squares of log y on log x.

    Args:
        x, y: (points,) positive, at least three points with two different x.
        level: as in ``seed_interval``; it assumes independent, normal errors of log y.

    Returns:
        (k, c), exponent and prefactor, with the t intervals of a straight line's slope and intercept (Draper and
        Smith, Applied Regression Analysis, 1998, sections 1.4 and 1.5), c's ends exponentiated.
    """
    x, y = _sample(x, "x", least=3, level=level), _sample(y, "y", least=3, level=level)
    if len(x) != len(y):
        raise ValueError(f"there are {len(x)} x but {len(y)} y")
    if min(x.min(), y.min()) <= 0 or len(set(x)) < 2:
        raise ValueError("a power law is fitted to positive numbers, with at least two different x")
    x, y = np.log(x), np.log(y)
    spread = ((x - x.mean()) ** 2).sum()
    k = ((x - x.mean()) * y).sum() / spread
    log_c = y.mean() - k * x.mean()
    noise = math.sqrt(((y - log_c - k * x) ** 2).sum() / (len(x) - 2))
    slope = _around(k, noise / math.sqrt(spread), len(x) - 2, level)
    intercept = _around(log_c, noise * math.sqrt(1 / len(x) + x.mean() ** 2 / spread), len(x) - 2, level)
    return slope, Interval(*(math.exp(end) for end in intercept))


def bits_per_byte(nats: float, n_bytes: int) -> float:
    """A text's negative log-likelihood in bits for each byte of its UTF-8: nats / (n_bytes ln 2).

    Unlike the loss for a token it does not depend on the tokenizer (Gao et al. 2020, The Pile, section 3.1).

    Args:
        nats: the sum over the text, end token included, not the mean.
        n_bytes: the text's length in bytes.
    """
    if n_bytes <= 0:
        raise ValueError(f"bits per byte of {n_bytes} bytes: a text of at least one byte is needed")
    return nats / (n_bytes * math.log(2))


def words(caption: str) -> list[str]:
    """A caption's words, small and without punctuation: what BLEU and CIDEr compare."""
    return re.findall(r"\w+", caption.lower())


def bleu(said: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """BLEU-4 of all captions together, 0 to 100 and not smoothed (Papineni et al. 2002), by sacrebleu.

    Args:
        said: one caption a picture.
        references: of each picture, the captions that people have given; all have as many.
    """
    import sacrebleu

    streams = [[" ".join(words(text)) for text in stream] for stream in zip(*_given(said, references), strict=True)]
    options = {"tokenize": "none", "smooth_method": "none", "force": True}
    return sacrebleu.corpus_bleu([" ".join(words(text)) for text in said], streams, **options).score


def cider(said: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """CIDEr-D, the mean over the captions, 0 to 10 (Vedantam et al. 2015), by pycocoevalcap; arguments as for `bleu`.

    Rare is what few of these very references say, so scores of different sets of pictures cannot be compared.
    """
    from pycocoevalcap.cider.cider import Cider

    given = {n: [" ".join(words(text)) for text in texts] for n, texts in enumerate(_given(said, references))}
    return float(Cider().compute_score(given, {n: [" ".join(words(text))] for n, text in enumerate(said)})[0])


def _given(said: Sequence[str], references: Sequence[Sequence[str]]) -> Sequence[Sequence[str]]:
    if not said or len(said) != len(references):
        raise ValueError(f"captions come with references, one list each: there are {len(said)} and {len(references)}")
    if len({len(texts) for texts in references}) > 1 or not references[0]:
        counts = sorted({len(texts) for texts in references})
        raise ValueError(f"all captions need the same number of references, at least one; there are {counts}")
    return references


def _around(value: float, error: float, freedom: int, level: float) -> Interval:
    reach = _t_quantile((1 + level) / 2, freedom) * error
    return Interval(float(value), float(value - reach), float(value + reach))


def _t_quantile(p: float, freedom: int) -> float:
    """Student's t: the value below which lies p > 1/2, by bisection of ``_t_inside``."""
    low, high = 0.0, math.pi / 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_inside(middle, freedom) < 2 * p - 1 else (low, middle)
    return math.sqrt(freedom) * math.tan(low)


def _t_inside(angle: float, freedom: int) -> float:
    """P(|t| < √freedom tan(angle)), for whole degrees of freedom (Abramowitz and Stegun 1964, 26.7.3 and 26.7.4)."""
    odd, cosine = freedom % 2, math.cos(angle)
    term, total = cosine**odd, 0.0
    for k in range(2 + odd, freedom + 1, 2):
        total += term
        term *= cosine**2 * (k - 1) / k
    if odd:
        return (angle + math.sin(angle) * total) * 2 / math.pi
    return math.sin(angle) * total


def _sample(values: Sequence[float], name: str, *, level: float, least: int = 2) -> np.ndarray:
    if not 0 < level < 1:
        raise ValueError(f"level is {level}, but must lie between 0 and 1")
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or len(values) < least:
        raise ValueError(f"{name} must be a list of at least {least} numbers, not of shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"{name} holds a number that is not finite: {values[~np.isfinite(values)][0]}")
    return values
