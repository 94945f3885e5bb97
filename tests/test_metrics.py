import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fmnotes import metrics
from fmnotes.metrics import (
    Interval,
    bits_per_byte,
    bootstrap_interval,
    difference_interval,
    power_law_fit,
    seed_interval,
)

# The two-sided 95 % and 99 % points of Student's t, from the printed tables.
TABLE = {1: (12.706, 63.657), 2: (4.303, 9.925), 3: (3.182, 5.841), 4: (2.776, 4.604), 5: (2.571, 4.032)}
TABLE |= {7: (2.365, 3.499), 10: (2.228, 3.169), 20: (2.086, 2.845), 29: (2.045, 2.756), 120: (1.980, 2.617)}


@pytest.mark.parametrize("freedom", TABLE)
def test_t_quantiles_are_the_tables(freedom):
    assert round(metrics._t_quantile(0.975, freedom), 3) == TABLE[freedom][0]
    assert round(metrics._t_quantile(0.995, freedom), 3) == TABLE[freedom][1]


@pytest.mark.parametrize("freedom", [1, 2, 3, 6, 9, 50])
def test_t_quantiles_invert_the_integral_of_the_density(freedom):
    edge = metrics._t_quantile(0.9, freedom)
    t = torch.linspace(-edge, edge, 200_001, dtype=torch.float64)
    density = torch.distributions.StudentT(torch.tensor(float(freedom), dtype=torch.float64)).log_prob(t).exp()
    assert torch.trapezoid(density, t).item() == pytest.approx(0.8, abs=1e-9)


def test_many_degrees_of_freedom_are_nearly_normal():
    assert metrics._t_quantile(0.975, 10_000) == pytest.approx(1.95996, abs=5e-4)


def test_seed_interval_by_hand():
    interval = seed_interval([1.0, 2.0, 3.0])  # s = 1, t = 4.3027
    assert interval == pytest.approx((2.0, 2 - 4.302653 / math.sqrt(3), 2 + 4.302653 / math.sqrt(3)), abs=1e-5)


def covered(interval, truth):
    return interval.low <= truth <= interval.high


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_intervals_hold_the_truth_as_often_as_they_say(level):
    generator = np.random.default_rng(0)
    draws = generator.normal(3.0, 2.0, size=(2000, 4))
    other = generator.normal(1.0, 0.5, size=(2000, 6))
    shares = [
        np.mean([covered(seed_interval(a, level), 3.0) for a in draws]),
        np.mean([covered(difference_interval(a, b[:4], level=level), 2.0) for a, b in zip(draws, other, strict=True)]),
    ]
    assert shares == pytest.approx([level] * 2, abs=4 * math.sqrt(level * (1 - level) / 2000))
    welch = np.mean([covered(difference_interval(a, b, False, level), 2.0) for a, b in zip(draws, other, strict=True)])
    assert level - 0.02 < welch < level + 0.05, "rounding down makes it somewhat wide"


def test_the_bootstrap_agrees_with_the_normal_interval_on_a_large_sample():
    values = np.random.default_rng(1).random(1000) < 0.7
    interval = bootstrap_interval(values, seed=0)
    error = 1.96 * values.std() / math.sqrt(1000)
    assert interval == pytest.approx((values.mean(), values.mean() - error, values.mean() + error), abs=0.003)
    assert bootstrap_interval(values, seed=0) == interval != bootstrap_interval(values, seed=1)
    narrow = bootstrap_interval(values, seed=0, level=0.5)
    assert interval.low < narrow.low < narrow.high < interval.high


def test_a_paired_difference_cancels_what_the_pair_shares():
    seeds = np.array([0.0, 10.0, 20.0, 30.0])
    a, b = seeds + [1.0, 1.1, 0.9, 1.0], seeds
    assert difference_interval(a, b).excludes_zero
    assert not difference_interval(a, b, paired=False).excludes_zero
    assert difference_interval(b, a).excludes_zero, "from below as well"


def test_welch_by_hand():
    interval = difference_interval(
        [1, 2, 3, 4], [2, 4, 6], paired=False
    )  # ν = 1.75² / (0.4167²/3 + 1.3333²/2) = 3.23, so 3
    error = math.sqrt(5 / 3 / 4 + 4 / 3)
    assert interval == pytest.approx((-1.5, -1.5 - 3.182446 * error, -1.5 + 3.182446 * error), abs=1e-5)
    assert difference_interval([2, 2], [1, 1, 1], paired=False) == (1, 1, 1)


@settings(max_examples=50)
@given(st.floats(-3, 3), st.floats(0.01, 100), st.lists(st.floats(0.1, 1e4), min_size=3, max_size=8, unique=True))
def test_a_power_law_is_found_again(k, c, x):
    x = np.array(x)
    if np.log(x).std() < 0.1:
        return
    exponent, prefactor = power_law_fit(x, c * x**k)
    assert exponent.value == pytest.approx(k, abs=1e-6) and prefactor.value == pytest.approx(c, rel=1e-5)


def test_a_power_laws_intervals_are_those_of_polyfits_covariance():
    x, y = np.array([1.0, 2.0, 3.0, 5.0, 9.0]), np.array([2.0, 3.1, 3.4, 5.2, 6.1])
    (slope, intercept), covariance = np.polyfit(np.log(x), np.log(y), 1, cov=True)
    reach = 3.182446 * np.sqrt(np.diag(covariance))  # t for 5 - 2 degrees of freedom
    exponent, prefactor = power_law_fit(x, y)
    assert exponent == pytest.approx((slope, slope - reach[0], slope + reach[0]), rel=1e-6)
    expected = np.exp([intercept, intercept - reach[1], intercept + reach[1]])
    assert prefactor == pytest.approx(tuple(expected), rel=1e-6)


def test_a_power_laws_intervals_hold_the_truth_as_often_as_they_say():
    generator, x, hits = np.random.default_rng(0), np.array([1.0, 2.0, 4.0, 8.0, 16.0]), []
    for _ in range(1000):
        exponent, prefactor = power_law_fit(x, 5 * x**-0.3 * np.exp(generator.normal(0, 0.1, size=5)))
        hits.append((covered(exponent, -0.3), covered(prefactor, 5.0)))
    assert np.mean(hits, axis=0) == pytest.approx([0.95, 0.95], abs=0.028)


def test_bits_per_byte():
    text = "한글 abc"
    uniform_over_bytes = len(text.encode()) * math.log(256)
    assert bits_per_byte(uniform_over_bytes, len(text.encode())) == pytest.approx(8.0)
    assert bits_per_byte(math.log(2) * 10, 20) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="bits per byte of 0 bytes"):
        bits_per_byte(1.0, 0)


def test_an_interval_prints_with_one_format():
    assert f"{Interval(0.8123, 0.80, 0.825):.2f}" == "0.81 [0.80, 0.82]"
    assert not Interval(0.0, 0.0, 0.1).excludes_zero


# Captions

captions = st.lists(st.sampled_from(["a", "star", "heart", "red", "blue", "of", "left"]), min_size=1, max_size=9)


def grams(words: list[str], n: int) -> Counter:
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def bleu_by_hand(said: list[list[str]], references: list[list[list[str]]]) -> float:
    right, total, length, wanted = [0] * 4, [0] * 4, 0, 0
    for words, texts in zip(said, references, strict=True):
        length += len(words)
        wanted += min((abs(len(text) - len(words)), len(text)) for text in texts)[1]
        for n in range(4):
            allowed = Counter()
            for text in texts:
                allowed |= grams(text, n + 1)
            right[n] += sum((grams(words, n + 1) & allowed).values())
            total[n] += max(0, len(words) - n)
    if 0 in right:
        return 0.0
    logs = sum(math.log(r / t) for r, t in zip(right, total, strict=True)) / 4
    return 100 * math.exp(min(0, 1 - wanted / length) + logs)


def cider_by_hand(said: list[list[str]], references: list[list[list[str]]]) -> float:
    def vector(words, n):
        return {g: k * math.log(len(references) / max(1, seen[g])) for g, k in grams(words, n).items()}

    seen, scores = Counter(), []
    for texts in references:
        seen.update({g for text in texts for n in range(1, 5) for g in grams(text, n)})
    for words, texts in zip(said, references, strict=True):
        for text in texts:
            penalty = math.exp(-((len(words) - len(text)) ** 2) / (2 * 6.0**2))
            for n in range(1, 5):
                ours, theirs = vector(words, n), vector(text, n)
                sizes = math.hypot(*ours.values()) * math.hypot(*theirs.values())
                dot = sum(min(x, theirs.get(g, 0)) * theirs.get(g, 0) for g, x in ours.items())
                scores.append(penalty * dot / sizes if sizes else 0.0)
    return 10 * float(np.mean(scores))


@given(st.lists(st.tuples(captions, st.tuples(captions, captions)), min_size=2, max_size=6))
@settings(deadline=None, max_examples=60)
def test_bleu_and_cider_are_those_of_their_papers(pairs):
    said, references = [words for words, _ in pairs], [list(texts) for _, texts in pairs]
    joined = [" ".join(words) for words in said], [[" ".join(text) for text in texts] for texts in references]
    assert metrics.bleu(*joined) == pytest.approx(bleu_by_hand(said, references), abs=1e-6)
    assert metrics.cider(*joined) == pytest.approx(cider_by_hand(said, references), abs=1e-6)


def test_captions_are_compared_by_their_words_alone():
    assert metrics.words("A red star, and a heart.") == ["a", "red", "star", "and", "a", "heart"]
    said, other = (
        ["A red star on the left.", "A blue heart at the top."],
        ["a red star on the left", "a heart, far away"],
    )
    assert metrics.bleu(said, [[text.upper()] for text in said]) == pytest.approx(100)
    assert metrics.cider(said, [[text] for text in said]) == pytest.approx(10)
    assert 0 <= metrics.bleu(said, [[text] for text in other]) < 100


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: seed_interval([1.0]), r"values must be a list of at least 2 numbers, not of shape \(1,\)"),
        (lambda: seed_interval([[1.0, 2.0]]), r"shape \(1, 2\)"),
        (lambda: seed_interval([1.0, math.nan]), "values holds a number that is not finite: nan"),
        (lambda: seed_interval([1.0, 2.0], level=95), "level is 95, but must lie between 0 and 1"),
        (lambda: bootstrap_interval([], seed=0), "at least 2 numbers"),
        (lambda: difference_interval([1, 2, 3], [1, 2]), "there are 3 of a and 2 of b"),
        (lambda: power_law_fit([1, 2], [1, 2]), "x must be a list of at least 3"),
        (lambda: power_law_fit([1, 2, 3], [1, 2, 3, 4]), "there are 3 x but 4 y"),
        (lambda: power_law_fit([1, 2, 3], [1, 0, 3]), "fitted to positive numbers"),
        (lambda: power_law_fit([2, 2, 2], [1, 2, 3]), "two different x"),
        (lambda: metrics.bleu([], []), "there are 0 and 0"),
        (lambda: metrics.cider(["a"], [["a"], ["b"]]), "there are 1 and 2"),
        (lambda: metrics.bleu(["a", "b"], [["a"], ["b", "c"]]), r"at least one; there are \[1, 2\]"),
    ],
)
def test_errors(call, match):
    with pytest.raises(ValueError, match=match):
        call()
