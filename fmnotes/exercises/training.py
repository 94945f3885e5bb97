"""The exercises of 02b_training: one step of AdamW, where a sum stops, and two bugs in a perplexity."""

from __future__ import annotations

import math
from collections.abc import Callable
from inspect import signature
from types import SimpleNamespace

import numpy as np
import torch

from fmnotes.exercises import Exercise, Mistake

# ------------------------------------------------------------------------------------------------ 02b.decouple

Step = tuple[float, float, float]


def adamw_step(w, g, m, v, t, lr, beta1, beta2, eps, decay) -> Step:
    m, v = averages(g, m, v, beta1, beta2)
    u = update(g, m, v, 1 - beta1**t, 1 - beta2**t, eps)
    return w - lr * u - lr * decay * w, m, v


def averages(g: float, m: float, v: float, beta1: float, beta2: float) -> tuple[float, float]:
    return beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2


def update(g: float, m: float, v: float, share1: float, share2: float, eps: float) -> float:
    """The direction of the step; ``share1`` and ``share2``, 1 - βᵗ, are the weights that the averages have so far."""
    return m / share1 / (math.sqrt(v / share2) + eps)


def with_parts(update: Callable = update, averages: Callable = averages) -> Callable[..., Step]:
    """The step with one of its parts replaced."""

    def step(w, g, m, v, t, lr, beta1, beta2, eps, decay):
        m, v = averages(g, m, v, beta1, beta2)
        return w - lr * update(g, m, v, 1 - beta1**t, 1 - beta2**t, eps) - lr * decay * w, m, v

    return step


def with_inputs(**changes: Callable[[SimpleNamespace], float]) -> Callable[..., Step]:
    """The right step, taken with other inputs than those given: for each, a function of all that are given."""

    def step(*inputs):
        given = signature(adamw_step).bind(*inputs).arguments
        changed = {name: change(SimpleNamespace(**given)) for name, change in changes.items()}
        return adamw_step(**given | changed)

    return step


def decay_after_the_step(w, g, m, v, t, lr, beta1, beta2, eps, decay):
    w, m, v = adamw_step(w, g, m, v, t, lr, beta1, beta2, eps, 0.0)
    return w * (1 - lr * decay), m, v


def averages_corrected_for_good(w, g, m, v, t, lr, beta1, beta2, eps, decay):
    w, m, v = adamw_step(w, g, m, v, t, lr, beta1, beta2, eps, decay)
    return w, m / (1 - beta1**t), v / (1 - beta2**t)


def adamw_of_torch(w, g, m, v, t, lr, beta1, beta2, eps, decay):
    weight = torch.tensor([w], dtype=torch.float64, requires_grad=True)
    weight.grad = torch.full_like(weight, g)
    optimizer = torch.optim.AdamW([weight], lr, (beta1, beta2), eps, decay)
    mean, square = (torch.tensor([average], dtype=torch.float64) for average in (m, v))
    optimizer.state[weight] = {"step": torch.tensor(t - 1.0), "exp_avg": mean, "exp_avg_sq": square}
    optimizer.step()
    return weight.item(), mean.item(), square.item()


def adamw_in_numpy(w, g, m, v, t, lr, beta1, beta2, eps, decay):
    betas = np.array([beta1, beta2])
    moments = betas * [m, v] + (1 - betas) * np.power(g, [1, 2])
    mean, square = moments / (1 - betas**t)
    return np.array([w * (1 - lr * decay) - lr * mean / (np.sqrt(square) + eps), *moments])


FIRST = "adamw_step(1.0, 2.0, 0.0, 0.0, 1, 0.1, 0.5, 0.9375, 0.5, 0.2)"
SECOND = "adamw_step(0.9, -1.0, 1.0, 0.25, 2, 0.1, 0.5, 0.9375, 0.5, 0.2)"
NO_GRADIENT = "adamw_step(1.0, 0.0, 0.0, 0.0, 1, 0.1, 0.5, 0.9375, 1e-08, 0.2)"

DECOUPLE = Exercise(
    id="02b.decouple",
    title="one step of AdamW",
    reread="Decoupled decay",
    solution=adamw_step,
    verified="a first step and later ones, gradients of both signs and none at all, with decay and without",
    cases=(
        (1.0, 2.0, 0.0, 0.0, 1, 0.1, 0.5, 0.9375, 0.5, 0.2),
        (0.9, -1.0, 1.0, 0.25, 2, 0.1, 0.5, 0.9375, 0.5, 0.2),
        (1.0, 0.0, 0.0, 0.0, 1, 0.1, 0.5, 0.9375, 1e-8, 0.2),
        (2.0, 1.0, 0.5, 0.5, 3, 0.1, 0.9, 0.99, 1e-8, 0.0),
        (-1.0, 0.0, 0.5, 0.25, 10, 0.01, 0.9, 0.999, 1e-8, 0.1),
    ),
    alternatives=(
        adamw_of_torch,
        adamw_in_numpy,
        lambda *inputs: torch.tensor(adamw_step(*inputs), dtype=torch.float64),
    ),
    tolerance=1e-12,
    mistakes=(
        Mistake(
            with_inputs(g=lambda a: a.g + a.decay * a.w, decay=lambda a: 0.0),
            "the decay goes through the gradient, which is L2 in Adam, the very thing that AdamW mends: what is added "
            f"to g is divided by √v̂ again. Look at a weight without gradient: {NO_GRADIENT} gives w = 0.900, a whole "
            "step of lr, as it would for any other decay. Asked for is 1 - lr·decay.",
        ),
        Mistake(
            with_inputs(decay=lambda a: a.decay / a.lr),
            f"you take away decay·w, and lr·decay·w is asked for: {NO_GRADIENT} gives w = 0.80, a fifth of the weight "
            "lost in one step. The paper has a factor of the schedule there and no lr; PyTorch multiplies by lr, and "
            "so do we.",
        ),
        Mistake(
            decay_after_the_step,
            "you decay the weight that has already stepped: (w - lr·u)(1 - lr·decay). Both terms are of the old w. "
            f"{FIRST} gives w = 0.9016, and the 0.0016 is a product of the two that belongs to neither.",
        ),
        Mistake(
            with_inputs(decay=lambda a: -a.decay),
            f"the decay has the wrong sign, so that weights grow by themselves: {NO_GRADIENT} gives w = 1.02, with no "
            "gradient at all.",
        ),
        Mistake(
            with_inputs(decay=lambda a: 0.0),
            f"that is Adam, and nothing decays: {NO_GRADIENT} gives w = 1.00. Without a gradient a weight still loses "
            "lr·decay of itself.",
        ),
        Mistake(
            with_inputs(lr=lambda a: -a.lr, decay=lambda a: -a.decay),
            f"the step climbs the loss: {FIRST} gives w = 1.06, though the gradient is positive. Subtract it.",
        ),
        Mistake(
            with_inputs(t=lambda a: math.inf),
            "the bias correction is missing: m and v start at 0, and after t steps they hold only 1 - βᵗ of what they "
            f"are to hold. {FIRST} gives w = 0.880. Divide each by its share before the step.",
        ),
        Mistake(
            with_parts(lambda g, m, v, share1, share2, eps: m / share1 / (math.sqrt(v) + eps)),
            f"m is corrected and v is not, so that the first steps are too long: {FIRST} gives w = 0.780. v starts "
            "at 0 too; divide it by 1 - β2ᵗ.",
        ),
        Mistake(
            with_parts(lambda g, m, v, share1, share2, eps: m / (math.sqrt(v / share2) + eps)),
            f"v is corrected and m is not, so that the first steps are too short: {FIRST} gives w = 0.940. m starts "
            "at 0 too; divide it by 1 - β1ᵗ.",
        ),
        Mistake(
            with_inputs(t=lambda a: a.t + 1),
            f"you correct with 1 - βᵗ⁺¹, but t counts from 1 and this step is in it already: {FIRST} gives w = 0.911. "
            "At t = 1, m/(1 - β1) has to be g itself.",
        ),
        Mistake(
            with_inputs(t=lambda a: a.t - 1),
            "you correct with 1 - βᵗ⁻¹, but t counts from 1: "
            f"{FIRST} raises ZeroDivisionError, since β⁰ is 1 and 1 - 1 is nothing.",
        ),
        Mistake(
            with_parts(lambda g, m, v, share1, share2, eps: m / share1 / math.sqrt(v / share2 + eps)),
            f"eps stands under the root: {FIRST} gives w = 0.886. It is added to the root, and that matters where v̂ is "
            "tiny: the root of 1e-8 is 1e-4.",
        ),
        Mistake(
            with_parts(
                lambda g, m, v, share1, share2, eps: m / share1 / (math.sqrt(v) + eps) * math.sqrt(share2),
            ),
            "eps is added to the root of v before the correction, as in the shorter form at the end of section 2 of "
            f"Adam's paper, where it is another eps: {FIRST} gives w = 0.930. Add it to the root of v̂.",
        ),
        Mistake(
            with_parts(lambda g, m, v, share1, share2, eps: m / share1 / (v / share2 + eps)),
            f"the root is missing: {FIRST} gives w = 0.936. v̂ is in squares of the gradient; only its root has "
            "the unit of m̂, so that the step has none.",
        ),
        Mistake(
            with_parts(averages=lambda g, m, v, b1, b2: (b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g)),
            f"v averages g, and g² is asked for: {FIRST} gives v = 0.125, and w = 0.876. With a negative gradient "
            "your v can fall below 0, and has no root.",
        ),
        Mistake(
            with_parts(averages=lambda g, m, v, b1, b2: ((1 - b1) * m + b1 * g, (1 - b2) * v + b2 * g**2)),
            f"β and 1 - β are exchanged in the averages: {FIRST} gives v = 3.750. β is how much of the *old* average "
            "stays, and the new gradient gets the small rest.",
        ),
        Mistake(
            with_parts(lambda g, m, v, share1, share2, eps: g / (math.sqrt(v / share2) + eps)),
            "you step along g, and m̂ is asked for: right in a first step, where they are equal, but then the memory "
            f"is lost. {SECOND} gives w = 0.930, against the last gradient alone, though m̂ is 0 there.",
        ),
        Mistake(
            averages_corrected_for_good,
            f"w is right, but you return m̂ and v̂: {FIRST} gives v = 4.00. The next step would correct them a second "
            "time. Return m and v as they are before the correction.",
        ),
    ),
)

# --------------------------------------------------------------------------------------------------- 02b.stall

STOPS = {"float32": 16_777_216, "fp16": 2048, "bf16": 256, "fp8 e4m3": 16}


def stops(float32: float | None, fp16: float | None, bf16: float | None, fp8: float | None) -> dict:
    return dict(zip(STOPS, (float32, fp16, bf16, fp8), strict=True))


STALL = Exercise(
    id="02b.stall",
    title="where a sum stops",
    reread="What a sum loses",
    solution=STOPS,
    verified="two to the number of bits of the mantissa, the hidden one counted: from there on the neighbours are 2 "
    "apart, x + 1 lies half-way, and the tie goes to the even one, which is x",
    alternatives=(
        stops(2.0**24, 2.0**11, 2.0**8, 2.0**4),
        {name: torch.tensor(value, dtype=torch.float32) for name, value in reversed(STOPS.items())},
        {name: np.int64(value) for name, value in STOPS.items()},
    ),
    mistakes=(
        Mistake(
            stops(3.4028234663852886e38, 65504, 3.3895313892515355e38, 448),
            "those are the largest numbers of the formats. A sum of ones stops long before: below 448, fp8 e4m3 has "
            "416 and nothing in between, and no step of 1 leads from the one to the other.",
        ),
        Mistake(
            stops(8_388_608, 1024, 128, 8),
            "one bit is missing, the 1 before the point: it is not stored, but it counts. In fp8 e4m3, 8 + 1 = 9 is "
            "1.001 · 2³ in binary, and its three bits are there. (1/eps gives your numbers too; but eps is the gap "
            "above 1, and half a gap is what gets lost.)",
        ),
        Mistake(
            stops(33_554_432, 4096, 512, 32),
            "there a 1 is less than half of the gap to the next number, and is lost. But it is lost where it is just "
            "half of the gap, too: a tie goes to the neighbour whose last bit is 0, not upwards.",
        ),
        Mistake(
            stops(16_777_215, 2047, 255, 15),
            "so close: that is the last number that still grows. In fp8 e4m3, 15 + 1 is a number of the format, so the "
            "sum takes this step, and then none. Asked for is where it stands.",
        ),
        Mistake(
            stops(16_777_217, 2049, 257, 17),
            "those are the first whole numbers that the formats do not have. The sum cannot stand on a number that "
            "does not exist: where is it rounded to?",
        ),
        Mistake(
            stops(256, 32, 256, 16),
            "that is 2 to the bits of the exponent, which say how far the numbers reach. How close they lie is in the "
            "mantissa: float32 and bf16 have the same exponent, but do not stop at the same place.",
        ),
        Mistake(
            stops(16_777_216, 256, 2048, 16),
            "fp16 and bf16 are exchanged: bf16 keeps the exponent of float32, 8 bits, and so has only 7 left for the "
            "mantissa, where fp16 has 10.",
        ),
        Mistake(
            stops(16_777_216, 256, 256, 16),
            "fp16 is wrong, the others are right: both have 16 bits, but fp16 spends 5 of them on the exponent and "
            "10 on the mantissa, bf16 8 and 7.",
        ),
        Mistake(
            stops(16_777_216, 2048, 2048, 16),
            "bf16 is wrong, the others are right: both have 16 bits, but fp16 spends 5 of them on the exponent and "
            "10 on the mantissa, bf16 8 and 7.",
        ),
        Mistake(
            {name: value for name, value in STOPS.items() if name != "fp8 e4m3"},
            "three of three are right, and the key 'fp8 e4m3' is missing: one bit of sign, four of exponent, three of "
            "mantissa.",
        ),
        Mistake(
            stops(2**32 - 1, 2**16 - 1, 2**16 - 1, 2**8 - 1),
            "so many bits would count so far if they were whole numbers. In a floating-point number some of the bits "
            "are the exponent and one the sign: fp8 e4m3 has just three for the digits.",
        ),
        Mistake(
            stops(10_000_000, 1000, 100, 10),
            "you counted decimal digits, seven for float32, and that is about right. But the formats count in binary: "
            "think in powers of two. In fp8 e4m3, 10 + 1 = 11 is 1.011 · 2³ in binary, and so it goes on.",
        ),
        Mistake(
            stops(math.inf, math.inf, math.inf, math.inf),
            "it does stop, and not at infinity either. The numbers of a format lie further and further apart, and at "
            "some number the next is so far away that x + 1 is rounded back to x.",
        ),
        Mistake(
            stops(None, None, None, None),
            "None is no number. If you mean that the sum grows for ever: it does not, since the gaps between a "
            "format's numbers double at every power of two, and a 1 stays a 1.",
        ),
    ),
)

# ---------------------------------------------------------------------------------------------- 02b.perplexity

Losses = list[list[float]]


def word_perplexity(losses: Losses, texts: list[str]) -> float:
    return math.exp(nats(losses) / words(texts))


def nats(losses: Losses) -> float:
    return sum(map(sum, losses))


def words(texts: list[str]) -> int:
    return sum(len(text.split()) for text in texts)


def mean_of_texts(losses: Losses, texts: list[str], value: Callable[[float, int], float], unit: Callable) -> float:
    """The mean over the texts of ``value(nats, units)``, as if all texts were of one length."""
    values = [value(sum(row), len(unit(row, text))) for row, text in zip(losses, texts, strict=True)]
    return sum(values) / len(values)


def perplexity_weighted(losses: Losses, texts: list[str]) -> np.float64:
    lengths = [len(text.split()) for text in texts]
    return np.exp(np.average([np.sum(row) / n for row, n in zip(losses, lengths, strict=True)], weights=lengths))


def perplexity_in_torch(losses: Losses, texts: list[str]) -> torch.Tensor:
    return torch.cat([torch.tensor(row) for row in losses]).sum().div(len(" ".join(texts).split())).exp()


def perplexity_as_product(losses: Losses, texts: list[str]) -> float:
    return math.prod(math.exp(loss) for row in losses for loss in row) ** (1 / words(texts))


ONE = "word_perplexity([[0.5, 1.0, 0.5]], ['red car'])"
TWO = "word_perplexity([[0.5, 0.5], [1.0, 1.0, 2.0, 1.0]], ['no', 'a blue car'])"

PERPLEXITY = Exercise(
    id="02b.perplexity",
    title="two bugs in a perplexity",
    reread="Per what?",
    solution=word_perplexity,
    verified="one text and several, texts of different lengths, words that return, line breaks and double spaces",
    cases=(
        ([[0.5, 1.0, 0.5]], ["red car"]),
        ([[0.5, 0.5], [1.0, 1.0, 2.0, 1.0]], ["no", "a blue car"]),
        ([[1.0, 1.0, 1.0]], ["one\ntwo"]),
        ([[1.0, 0.5, 1.0]], ["so  far"]),
        ([[1.0, 1.0, 0.5]], ["déjà vu"]),
        ([[1.0, 1.0, 0.5, 0.5]], ["ha ha ha"]),
        ([[1.5, 0.5, 1.0], [2.0, 1.5, 0.25, 0.25, 1.5], [3.0]], ["Run, Tom!", "He ran.\n\nHe  won.", "Hm"]),
    ),
    alternatives=(
        perplexity_weighted,
        perplexity_in_torch,
        perplexity_as_product,
        lambda losses, texts: np.exp(np.concatenate(losses).sum() / sum(map(len, map(str.split, texts)))),
    ),
    tolerance=1e-4,  # nats in float32
    mistakes=(
        Mistake(
            lambda losses, texts: mean_of_texts(losses, texts, lambda n, k: math.exp(n / k), lambda row, text: row),
            f"there are two bugs, and here is one: {ONE} gives 1.948. It has 2 nats in two words, one each, but you "
            "share them among three tokens. The other does not show with a single text.",
            given=True,
        ),
        Mistake(
            lambda losses, texts: math.exp(nats(losses) / sum(map(len, losses))),
            "the texts are thrown together now, as they should be. What is left: you divide by tokens, and words are "
            f"asked for. {ONE} gives 1.948, for 2 nats in two words.",
        ),
        Mistake(
            lambda losses, texts: mean_of_texts(
                losses, texts, lambda n, k: math.exp(n / k), lambda row, text: text.split()
            ),
            "the words are right now. What is left is a mean of perplexities, in which a short text weighs as much as "
            f"a long one: {TWO} gives 4.006, and 6 nats in four words make 4.482. First all nats and all words, then "
            "one exp.",
        ),
        Mistake(
            lambda losses, texts: math.exp(
                mean_of_texts(losses, texts, lambda n, k: n / k, lambda row, text: text.split())
            ),
            "the words are right, and exp stands outside now, but inside is still a mean of means: a word of a short "
            f"text weighs more than one of a long text. {TWO} gives 3.794, of 1 nat a word in the one text and 1.667 "
            "in the other, as if both had as many words.",
        ),
        Mistake(
            lambda losses, texts: math.exp(mean_of_texts(losses, texts, lambda n, k: n / k, lambda row, text: row)),
            "exp stands outside now, but inside is still a mean of means, and of tokens instead of words: "
            f"{ONE} gives 1.948, and with two texts of different lengths both bugs show.",
        ),
        Mistake(
            lambda losses, texts: 2 ** (nats(losses) / words(texts)),
            f"that is 2 to the nats: {ONE} gives 2.000, and e is asked for. 2 belongs to bits, e to nats; either way "
            "the perplexity is the same number.",
        ),
        Mistake(
            lambda losses, texts: math.exp(nats(losses) / math.log(2) / words(texts)),
            f"you turn nats into bits, and then take e to the bits: {ONE} gives 4.232. exp takes nats; with bits it "
            "would have to be 2 to them.",
        ),
        Mistake(
            lambda losses, texts: nats(losses) / words(texts),
            f"that is the loss of a word, in nats: {ONE} gives 1.000. The perplexity is e to it, among how many words "
            "the model wavers.",
        ),
        Mistake(
            lambda losses, texts: math.exp(nats(losses)) / words(texts),
            f"you divide after exp: {ONE} gives 3.695, half of e². Divide the nats by the words, and then take exp.",
        ),
        Mistake(
            lambda losses, texts: math.exp(nats(losses) / sum(map(len, texts))),
            f"len(text) counts characters: {ONE} gives 1.331, the perplexity of each of seven. text.split() "
            "has the words.",
        ),
        Mistake(
            lambda losses, texts: math.exp(nats(losses) / sum(len(text.encode()) for text in texts)),
            "you divide by bytes, as for bits per byte: word_perplexity([[1.0, 1.0, 0.5]], ['déjà vu']) gives 1.320, "
            "from nine bytes, and it has two words.",
        ),
        Mistake(
            lambda losses, texts: math.exp(nats(losses) / sum(text.count(" ") for text in texts)),
            f"you count spaces, and a text has one word more than gaps: {ONE} gives 7.389, as if it were one word.",
        ),
        Mistake(
            lambda losses, texts: math.exp(nats(losses) / sum(len(text.split(" ")) for text in texts)),
            'text.split(" ") splits at each single space and at nothing else: '
            "word_perplexity([[1.0, 1.0, 1.0]], ['one\\ntwo']) gives 20.086, as if it were one word, and "
            "word_perplexity([[1.0, 0.5, 1.0]], ['so  far']) gives 2.301, from three, one of them empty. "
            "text.split(), with nothing in it, takes any white space.",
        ),
        Mistake(
            lambda losses, texts: math.exp(nats(losses) / len(set(" ".join(texts).split()))),
            "you count different words, and each one counts as often as it is there: "
            "word_perplexity([[1.0, 1.0, 0.5, 0.5]], ['ha ha ha']) gives 20.086.",
        ),
        Mistake(
            lambda losses, texts: math.exp(nats(losses) / len("".join(texts).split())),
            "the texts are joined with nothing between, so that a last word and the next first one grow together: "
            f"{TWO} gives 7.389, since “noa” is one word.",
        ),
        Mistake(
            lambda losses, texts: math.exp(nats(losses) / (words(texts) + len(texts))),
            "you count each end as a word. Some published perplexities do; here a text has as many words as "
            f"text.split() says, and they carry the end's nats as well: {ONE} gives 1.948.",
        ),
        Mistake(
            lambda losses, texts: math.exp(sum(sum(row[:-1]) for row in losses) / words(texts)),
            f"the nats of the end token are left out: {ONE} gives 2.117. That the text is over had to be predicted "
            "too: the end has its nats, it only is no word.",
        ),
    ),
)

EXERCISES = [DECOUPLE, STALL, PERPLEXITY]
