"""The exercises of 02_gpt2: the scale, the causal mask, the number of parameters, bits per byte, what a cache saves."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fmnotes.exercises import Exercise, Mistake

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

# -------------------------------------------------------------------------------------------------- 02.scale


def attention_weights(
    q: Float[Tensor, "*batch queries d"], k: Float[Tensor, "*batch keys d"]
) -> Float[Tensor, "*batch queries keys"]:
    return (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1)


def weights_step_by_step(q: Tensor, k: Tensor) -> Tensor:
    scores = torch.einsum("...qd,...kd->...qk", q * q.shape[-1] ** -0.5, k)
    exponentials = (scores - scores.amax(-1, keepdim=True)).exp()
    return exponentials / exponentials.sum(-1, keepdim=True)


def weights_fused(q: Tensor, k: Tensor) -> Tensor:
    values = torch.eye(k.shape[-2], dtype=k.dtype).expand(*k.shape[:-1], k.shape[-2])
    return F.scaled_dot_product_attention(q, k, values)


def _by(divide):
    """The weights of scores that are divided by what the function says of q, k and the plain scores."""
    return lambda q, k: (q @ k.mT / divide(q, k, q @ k.mT)).softmax(-1)


def _q_and_k(*shape: int, queries: int, keys: int, d: int) -> tuple[Tensor, Tensor]:
    dice = torch.Generator().manual_seed(0)
    return tuple(torch.randn(*shape, n, d, generator=dice, dtype=torch.float64) for n in (queries, keys))


SEE = "attention_weights(4 * eye(1, 4), eye(2, 4)) gives"
SCALE = Exercise(
    id="02.scale",
    title="weights that keep their softmax alive",
    reread="Why divide by √d?",
    solution=attention_weights,
    verified="one query and several, more keys than queries and fewer, a batch, and heads in a batch",
    cases=(
        (4 * torch.eye(1, 4), torch.eye(2, 4)),
        (4 * torch.eye(1, 4)[None], torch.eye(2, 4)[None]),
        _q_and_k(queries=4, keys=6, d=9),
        _q_and_k(2, 3, queries=7, keys=5, d=8),
    ),
    alternatives=(weights_step_by_step, weights_fused),
    tolerance=1e-6,
    mistakes=(
        Mistake(
            _by(lambda q, k, scores: 1),
            f"the scores are not divided at all, so that the wider the heads, the sharper the softmax: {SEE} "
            "[[0.98, 0.02]], as if the scores were 4 and 0 and not 2 and 0.",
        ),
        Mistake(
            _by(lambda q, k, scores: q.shape[-1]),
            f"divided by d and not by its root: {SEE} [[0.73, 0.27]]. The variance of a score is d, so its standard "
            "deviation is √d; by d, the weights even out as the width grows. (Queries *and* keys divided by √d, or one "
            "of them and then the scores, comes to the same.)",
        ),
        Mistake(
            _by(lambda q, k, scores: q.shape[-1] ** -0.5),
            f"multiplied by √d, which makes it worse: {SEE} [[1.0, 0.0]]. Scores are √d times too large, so divide.",
        ),
        Mistake(
            lambda q, k: (q @ k.mT).softmax(-1) / math.sqrt(q.shape[-1]),
            f"divided after the softmax: {SEE} [[0.49, 0.01]], which adds up to 1/√d, and the harm is done before. "
            "What has to be small are the scores.",
        ),
        Mistake(
            _by(lambda q, k, scores: math.sqrt(k.shape[-2])),
            f"divided by the root of the *number* of keys: {SEE} [[0.94, 0.06]] with two of them. A score is a sum of "
            "d products, however many keys there are.",
        ),
        Mistake(
            _by(lambda q, k, scores: math.sqrt(len(k))),
            f"divided by the root of len(k): {SEE} [[0.94, 0.06]]. That is the number of keys, or, where a batch "
            "stands in front, of its texts. A score is a sum of d products, however many there are of either.",
        ),
        Mistake(
            _by(lambda q, k, scores: math.sqrt(q.shape[1])),
            "q.shape[1] is the width only where q is a table. With a batch in front it is the number of queries, or of "
            "heads: attention_weights(4 * eye(1, 4)[None], eye(2, 4)[None]) gives [[[0.98, 0.02]]]. The width is the "
            "last, q.shape[-1].",
        ),
        Mistake(
            lambda q, k: (q @ k.permute(*reversed(range(k.ndim))) / math.sqrt(q.shape[-1])).softmax(-1),
            "right for two tables, but with a batch in front `k.T` turns *all* dimensions round: "
            "attention_weights(4 * eye(1, 4)[None], eye(2, 4)[None]) raises RuntimeError. `k.mT` turns the last two.",
        ),
        Mistake(
            _by(lambda q, k, scores: scores.std()),
            f"divided by the spread of just these scores: {SEE} [[0.8, 0.2]]. Then a weight depends on queries and "
            "texts that have nothing to do with it. √d is the spread to be expected, the same for all.",
        ),
        Mistake(
            lambda q, k: (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-2),
            f"the softmax runs over the queries, which compete for each key: {SEE} [[1.0, 1.0]], for there is one "
            "query. Each query spreads a whole of 1 over the keys: the last dimension.",
        ),
        Mistake(
            lambda q, k: q @ k.mT / math.sqrt(q.shape[-1]),
            f"those are the scores, and the scale is right. What is missing is the softmax: {SEE} [[2.0, 0.0]], and "
            "weights are positive and add up to 1.",
        ),
        Mistake(
            lambda q, k: (
                (q @ k.mT / math.sqrt(q.shape[-1]))
                .masked_fill(torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool).triu(1), -math.inf)
                .softmax(-1)
            ),
            f"the scale is right, but the future is hidden as well: {SEE} [[1.0, 0.0]]. Here every query may look at "
            "every key.",
        ),
    ),
)

# --------------------------------------------------------------------------------------------- 02.causal_mask


def causal_mask(new: int, total: int) -> Bool[Tensor, "new total"]:
    return torch.ones(new, total, dtype=torch.bool).tril(total - new)


def mask_by_positions(new: int, total: int) -> Bool[Tensor, "new total"]:
    key = torch.arange(total)
    return key <= key[total - new :, None]


def mask_in_lists(new: int, total: int) -> list[list[bool]]:
    return [[key <= query for key in range(total)] for query in range(total - new, total)]


MASK = Exercise(
    id="02.causal_mask",
    title="the causal mask",
    reread="The causal mask",
    solution=causal_mask,
    verified="one position, all positions at once, one or several new ones behind a cache",
    cases=((1, 1), (1, 2), (2, 2), (2, 3), (1, 4), (3, 3), (3, 5)),
    alternatives=(mask_by_positions, mask_in_lists, lambda n, t: np.tri(n, t, t - n, dtype=bool)),
    mistakes=(
        Mistake(
            lambda new, total: torch.ones(new, total, dtype=torch.bool).triu(total - new),
            "the triangle is the wrong way round: a position sees its future and not its past. causal_mask(2, 2) gives "
            "[[True, True], [False, True]], and the first of the two already sees the second.",
        ),
        Mistake(
            lambda new, total: ~causal_mask(new, total),
            "True and False are swapped: you mark what is hidden, and True is asked for where a position may look. "
            "causal_mask(1, 1) gives [[False]]: a single token would see nothing, not even itself.",
        ),
        Mistake(
            lambda new, total: torch.ones(new, total, dtype=torch.bool).tril(total - new - 1),
            "a position may look at itself, and yours sees only what is before it. causal_mask(1, 1) gives [[False]]: "
            "the softmax over no score at all is NaN.",
        ),
        Mistake(
            lambda new, total: torch.ones(new, total, dtype=torch.bool).tril(total - new + 1),
            "the diagonal lies one too far to the right, so that each position sees the very token that it is to "
            "predict. causal_mask(2, 2) gives [[True, True], [True, True]].",
        ),
        Mistake(
            lambda new, total: torch.ones(new, total, dtype=torch.bool).tril(),
            "right while new = total, but else your triangle starts at the first key, and it has to end at the last: "
            "causal_mask(1, 2) gives [[True, False]], though the new position is the second and may look at itself.",
        ),
        Mistake(
            lambda new, total: torch.ones(new, total, dtype=torch.bool).tril(new - total),
            "the triangle is shifted to the wrong side, so that the new positions see less with a cache than without: "
            "causal_mask(1, 2) gives [[False, False]]. Row i is the position total - new + i.",
        ),
        Mistake(
            lambda new, total: torch.ones(new, total, dtype=torch.bool),
            "nothing is hidden: right for a single new position, but causal_mask(2, 2) gives "
            "[[True, True], [True, True]], and the first may not see the second.",
        ),
        Mistake(
            lambda new, total: torch.eye(total, dtype=torch.bool)[total - new :],
            "each position sees only itself, so that no word learns of another: causal_mask(1, 2) gives "
            "[[False, True]], and the past belongs to it too.",
        ),
        Mistake(
            lambda new, total: causal_mask(new, total).T,
            "the mask lies on its side: rows are for the positions that look (new), columns for what they look at "
            "(total). causal_mask(1, 2) gives [[True], [True]].",
        ),
        Mistake(
            lambda new, total: causal_mask(new, new),
            "the new positions see only each other: causal_mask(1, 2) gives [[True]]. The keys in the cache want a "
            "column each, so that there are `total` of them.",
        ),
        Mistake(
            lambda new, total: causal_mask(total, total),
            "there is a row for every position: causal_mask(1, 2) gives [[True, False], [True, True]]. Only the last "
            "`new` positions ask; the others have had their turn.",
        ),
        Mistake(
            lambda new, total: torch.zeros(new, total).masked_fill(~causal_mask(new, total), -math.inf),
            "this is the mask that is added to the scores, 0 and -inf, and attention would be right with it. Asked for "
            "is the truth behind it, True where a position may look, but causal_mask(1, 1) gives [[0.0]]. `mask == 0` "
            "makes the one of the other.",
        ),
        Mistake(
            lambda new, total: causal_mask(new, total).float(),
            "every entry is in its place, but they are numbers, 1 and 0, not True and False: causal_mask(1, 1) gives "
            "[[1.0]]. Attention takes a mask of numbers for something to add to the scores, and hides nothing. "
            "`.bool()`, or dtype=torch.bool from the start.",
        ),
    ),
)

# ---------------------------------------------------------------------------------------------- 02.parameters


def count_parameters(vocab_size: int, context_length: int, d_model: int, n_layer: int) -> int:
    v, c, d = vocab_size, context_length, d_model
    return v * d + c * d + n_layer * (12 * d * d + 13 * d) + 2 * d


def count_part_by_part(vocab_size: int, context_length: int, d_model: int, n_layer: int) -> np.int64:
    def linear(n, m):
        return n * m + m

    d, norm = d_model, 2 * d_model
    attention = linear(d, 3 * d) + linear(d, d)
    mlp = linear(d, 4 * d) + linear(4 * d, d)
    blocks = [norm + attention + norm + mlp] * n_layer
    return np.sum([vocab_size * d, context_length * d, *blocks, norm])


PARAMETERS = Exercise(
    id="02.parameters",
    title="the number of parameters",
    reread="How many numbers is that?",
    solution=count_parameters,
    verified="one block and several, and three models you will meet: nano, mini, and the smallest published GPT-2",
    cases=((11, 6, 4, 1), (11, 6, 4, 2), (4096, 128, 64, 3), (50_257, 1024, 256, 12), (50_257, 1024, 768, 12)),
    alternatives=(count_part_by_part, lambda v, c, d, n: torch.tensor(d) * (v + c + 2 + n * (12 * d + 13))),
    mistakes=(
        Mistake(
            lambda v, c, d, n: 2 * v * d + c * d + n * (12 * d * d + 13 * d) + 2 * d,
            "the head is counted as well, but it is tied: it is the token embedding, used a second time. "
            "count_parameters(11, 6, 4, 1) gives 364, which is 11·4 too many.",
        ),
        Mistake(
            lambda v, c, d, n: c * d + n * (12 * d * d + 13 * d) + 2 * d,
            "the token embedding is missing. The head is tied to it, so that one table of V·D serves both, but one "
            "there is: count_parameters(11, 6, 4, 1) gives 276, which is 11·4 too few.",
        ),
        Mistake(
            lambda v, c, d, n: v * d + n * (12 * d * d + 13 * d) + 2 * d,
            "the positions are missing: GPT-2 learns a vector for each place of the context, C·D numbers. "
            "count_parameters(11, 6, 4, 1) gives 296, which is 6·4 too few.",
        ),
        Mistake(
            lambda v, c, d, n: n * (12 * d * d + 13 * d) + 2 * d,
            "both embeddings are missing, a vector for each token and one for each place: "
            "count_parameters(11, 6, 4, 1) gives 252, which is (11 + 6)·4 too few.",
        ),
        Mistake(
            lambda v, c, d, n: v * d + c * d + n * 12 * d * d,
            "those are the matrices, and most of it: count_parameters(11, 6, 4, 1) gives 260. Every linear layer also "
            "has a bias, and every norm a scale and a bias.",
        ),
        Mistake(
            lambda v, c, d, n: v * d + c * d + n * (12 * d * d + 4 * d) + 2 * d,
            "the biases of the linear layers are missing: 3 D of queries, keys and values, D of the projection, 4 D "
            "and D of the MLP. count_parameters(11, 6, 4, 1) gives 284, which is 9·4 too few.",
        ),
        Mistake(
            lambda v, c, d, n: v * d + c * d + n * (12 * d * d + 13 * d),
            "one norm is missing: after the last block the stream is normalised once more, before the head. "
            "count_parameters(11, 6, 4, 1) gives 312, which is 2·4 too few.",
        ),
        Mistake(
            lambda v, c, d, n: v * d + c * d + n * (12 * d * d + 9 * d) + 2 * d,
            "the norms of the blocks are missing: there is one before attention and one before the MLP, of 2 D each. "
            "count_parameters(11, 6, 4, 1) gives 304, which is 4·4 too few.",
        ),
        Mistake(
            lambda v, c, d, n: v * d + c * d + n * (12 * d * d + 9 * d),
            "no norm is counted: each has a scale and a bias, and there are two in a block and one at the end. "
            "count_parameters(11, 6, 4, 1) gives 296, which is 3·2·4 too few.",
        ),
        Mistake(
            lambda v, c, d, n: v * d + c * d + n * (12 * d * d + 11 * d) + d,
            "a LayerNorm has two vectors, a scale and a bias, and you count one of them. "
            "count_parameters(11, 6, 4, 1) gives 308, which is 3·4 too few.",
        ),
        Mistake(
            lambda v, c, d, n: v * d + c * d + n * (10 * d * d + 11 * d) + 2 * d,
            "attention makes queries, keys and values, three matrices with their biases, and you count one of them. "
            "count_parameters(11, 6, 4, 1) gives 280, which is 2·(4·4 + 4) too few.",
        ),
        Mistake(
            lambda v, c, d, n: v * d + c * d + n * (11 * d * d + 12 * d) + 2 * d,
            "the matrix behind attention is missing, D² + D, by which the heads' results go back into the stream. "
            "count_parameters(11, 6, 4, 1) gives 300, which is 4·4 + 4 too few.",
        ),
        Mistake(
            lambda v, c, d, n: v * d + c * d + n * (6 * d * d + 10 * d) + 2 * d,
            "the MLP goes from D to 4 D and back; yours stays at D: count_parameters(11, 6, 4, 1) gives 212.",
        ),
        Mistake(
            lambda v, c, d, n: v * d + c * d + 12 * d * d + 13 * d + 2 * d,
            "only one block is counted, and no two of them share a number: count_parameters(11, 6, 4, 2) gives 320, as "
            "many as with one layer.",
        ),
    ),
)

# ------------------------------------------------------------------------------------------- 02.bits_per_byte

Losses = list[Tensor]


def bits_per_byte(losses: Losses, text: str) -> float:
    nats = sum(float(window.sum()) for window in losses)
    return nats / math.log(2) / len(text.encode())


def bits_of_all_tokens(losses: Losses, text: str) -> Tensor:
    return torch.cat(losses).sum() * math.log2(math.e) / len(text.encode("utf-8"))


def bits_weighted_by_length(losses: Losses, text: str) -> np.float64:
    lengths = [len(window) for window in losses]
    mean = np.average([window.mean().item() for window in losses], weights=lengths)
    return mean / np.log(2) * sum(lengths) / len(bytes(text, "utf-8"))


def nats_by_means(losses: Losses) -> Tensor:
    """What the given code takes for the sum."""
    return sum(window.mean() for window in losses) / len(losses) * sum(len(window) for window in losses)


BITS = Exercise(
    id="02.bits_per_byte",
    title="two bugs in bits per byte",
    reread="Perplexity, and bits per byte",
    solution=bits_per_byte,
    verified="one window and several, windows of different lengths, letters of one byte, of two and of three",
    cases=(
        ([torch.tensor([3.0])], "é"),
        ([torch.tensor([2.0, 1.0])], "cat"),
        ([torch.tensor([1.0, 1.0]), torch.tensor([4.0])], "cats"),
        ([torch.tensor([2.0, 0.5, 1.0]), torch.tensor([3.0, 0.25])], "별, a star"),
        ([torch.tensor([1.0, 5.0]), torch.tensor([0.5, 2.0]), torch.tensor([2.5])], "그림은 파랗다."),
    ),
    alternatives=(bits_of_all_tokens, bits_weighted_by_length),
    tolerance=1e-3,  # nats in float32, or ln 2 as 0.6931
    mistakes=(
        Mistake(
            lambda losses, text: nats_by_means(losses) / math.log(2) / len(text),
            "there are two bugs, and here is one. The windows [1, 1] and [4] hold 6 nats, 2 a token, but the mean of "
            "their means is 2.5: bits_per_byte([tensor([1., 1.]), tensor([4.])], 'cats') gives 2.705 instead of 2.164. "
            "The other does not show in plain English.",
            given=True,
        ),
        Mistake(
            lambda losses, text: nats_by_means(losses) / math.log(2) / len(text.encode()),
            "the bytes are right now. What is left is the mean of means, in which a token of a short window weighs "
            "more than one of a long window: bits_per_byte([tensor([1., 1.]), tensor([4.])], 'cats') gives 2.705, as "
            "if the three tokens had 7.5 nats and not 6.",
        ),
        Mistake(
            lambda losses, text: torch.cat(losses).sum() / math.log(2) / len(text),
            "the nats are right now. What is left: len(text) counts characters, and “é” is one of those but two bytes "
            "of UTF-8. bits_per_byte([tensor([3.])], 'é') gives 4.328, twice what a byte costs.",
        ),
        Mistake(
            lambda losses, text: torch.cat(losses).sum() / len(text.encode()),
            "those are nats for each byte: a loss is a natural logarithm, and a bit is ln 2 nats. "
            "bits_per_byte([tensor([3.])], 'é') gives 1.5.",
        ),
        Mistake(
            lambda losses, text: torch.cat(losses).sum() * math.log(2) / len(text.encode()),
            "you multiply by ln 2, and have to divide: a nat is worth more than a bit, so that there are more bits "
            "than nats. bits_per_byte([tensor([3.])], 'é') gives 1.040 of 1.5 nats a byte.",
        ),
        Mistake(
            lambda losses, text: torch.cat(losses).mean() / math.log(2),
            "those are bits for each token, which depend on how the tokenizer cuts the text. "
            "bits_per_byte([tensor([3.])], 'é') gives 4.328; share the bits among the two bytes.",
        ),
        Mistake(
            lambda losses, text: torch.cat(losses).mean(),
            "that is the loss, nats for each token: bits_per_byte([tensor([3.])], 'é') gives 3. Where are the "
            "bits, and where the bytes?",
        ),
        Mistake(
            lambda losses, text: torch.cat(losses).mean() / math.log(2) / len(text.encode()),
            "you share the mean of a token among the bytes of the whole text. It takes the sum over all tokens: "
            "bits_per_byte([tensor([2., 1.])], 'cat') gives 0.721 of 1.5 nats, and the two tokens have 3.",
        ),
        Mistake(
            lambda losses, text: torch.cat(losses).sum() / math.log(2),
            "those are the bits of the whole text: divide them by its bytes. bits_per_byte([tensor([3.])], 'é') gives "
            "4.328, and the text has two.",
        ),
        Mistake(
            lambda losses, text: torch.cat(losses).mean().exp(),
            "that is the perplexity, e to the loss of a token: among how many tokens the model wavers. "
            "bits_per_byte([tensor([3.])], 'é') gives 20.086. Bits stay in the exponent.",
        ),
        Mistake(
            lambda losses, text: 2 ** bits_per_byte(losses, text),
            "one step too many: that is 2 to the bits, a perplexity for each byte. bits_per_byte([tensor([3.])], 'é') "
            "gives 4.482, which is 2 to the right answer.",
        ),
    ),
)

# ---------------------------------------------------------------------------------------------- 02.positions

POSITIONS = Exercise(
    id="02.positions",
    title="what a story costs without a cache",
    reread="The cache",
    solution=2790,
    verified="60 calls of 17, 18, … and at last 76 positions: 60 · (17 + 76) / 2. With the cache it is 17, and then 59 "
    "times one",
    mistakes=(
        Mistake(
            76,
            "that is what it takes *with* the cache, where nothing is computed twice. Without it, every call begins "
            "with the prompt's first token again.",
        ),
        Mistake(
            77,
            "so many tokens there are in the end, as if each went through the model once. Without the cache an early "
            "one goes through it again for every token that is drawn after it.",
        ),
        Mistake(
            1020,
            "that is 60 · 17, the prompt in each call. What was drawn is read as well, or the model would not know "
            "where the story stands.",
        ),
        Mistake(
            1830,
            "1 + 2 + … + 60 are the drawn tokens alone. Below them lies the prompt, computed anew in every call.",
        ),
        Mistake(3600, "60 calls of 60 positions each: no call is that simple. Which is the first, and which the last?"),
        Mistake(
            4560,
            "as if each call were as long as the last one, of 76. The first computes the prompt only, and then they "
            "grow.",
        ),
        Mistake(
            4620,
            "that is 60 · 77, as if the whole story were there from the first call on. It grows by one token a call, "
            "and the token drawn last is read by nobody.",
        ),
        Mistake(
            2850,
            "one too many in each call: 18, 19, … 77. The first token is drawn from the prompt as it is, and the last "
            "one, once drawn, is not computed any more.",
        ),
        Mistake(
            2926,
            "1 + 2 + … + 76 would be right if the prompt had been drawn token by token, too. It is given: the first "
            "call takes all of it at once.",
        ),
    ),
)

EXERCISES = [SCALE, MASK, PARAMETERS, BITS, POSITIONS]
