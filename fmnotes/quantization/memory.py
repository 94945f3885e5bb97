"""What fine-tuning a decoder takes, forecast from its shape: counted tensor by tensor, so that it can be checked."""

from __future__ import annotations

from dataclasses import dataclass

from fmnotes.quantization.blockwise import NESTED_BLOCK

METHODS = ("full", "lora", "qlora")
MAPS = 7  # linear maps of a block: queries, keys, values, output, and three of the gated MLP


@dataclass(frozen=True)
class Decoder:
    """The shape of a LLaMA-like model, with the names of its published `config.json` in brackets.

    Args:
        vocab: entries of the vocabulary (vocab_size).
        d_model: width (hidden_size).
        n_layer: blocks (num_hidden_layers).
        n_head, n_kv: heads of queries, and of keys and values (num_attention_heads, num_key_value_heads).
        d_ff: width of the MLP (intermediate_size).
        tied: whether the output head is the embedding (tie_word_embeddings).
        qkv_bias: whether queries, keys and values have one, as in Qwen2.
        head: width of a head (head_dim); d_model / n_head if not given.

    Raises:
        ValueError: if heads do not divide: d_model by n_head, n_head by n_kv.
    """

    vocab: int
    d_model: int
    n_layer: int
    n_head: int
    n_kv: int
    d_ff: int
    tied: bool = False
    qkv_bias: bool = False
    head: int | None = None

    def __post_init__(self):
        if self.n_head % self.n_kv or (self.head is None and self.d_model % self.n_head):
            raise ValueError(f"d_model {self.d_model}, n_head {self.n_head} and n_kv {self.n_kv} do not divide")

    @property
    def d_q(self) -> int:
        """Width of all queries."""
        return self.n_head * (self.head or self.d_model // self.n_head)

    @property
    def d_kv(self) -> int:
        """Width of all keys, and of all values."""
        return self.d_q // self.n_head * self.n_kv

    @property
    def maps(self) -> list[tuple[int, int]]:
        """(out, in) of the seven matrices of a block."""
        d, q, kv, ff = self.d_model, self.d_q, self.d_kv, self.d_ff
        return [(q, d), (kv, d), (kv, d), (d, q), (ff, d), (ff, d), (d, ff)]

    @property
    def linear(self) -> int:
        """Parameters in the blocks' matrices: what is quantised."""
        return self.n_layer * sum(out * into for out, into in self.maps)

    @property
    def others(self) -> int:
        """All other parameters: embedding, head, gains, biases."""
        biases = self.n_layer * (self.d_q + 2 * self.d_kv) * self.qkv_bias
        return self.vocab * self.d_model * (2 - self.tied) + (2 * self.n_layer + 1) * self.d_model + biases

    def low_rank(self, rank: int) -> int:
        """Parameters of A and B beside every matrix of every block."""
        return self.n_layer * sum(rank * (out + into) for out, into in self.maps)

    @classmethod
    def of(cls, config) -> Decoder:
        """The shape that a config of `transformers` describes.

        Raises:
            ValueError: if it is no LLaMA-like model's.
        """
        kind = getattr(config, "model_type", "?")
        if kind not in ("llama", "mistral", "qwen2"):
            raise ValueError(f"a forecast knows the shapes of llama, mistral and qwen2, not {kind!r}")
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return cls(
            config.vocab_size,
            config.hidden_size,
            config.num_hidden_layers,
            config.num_attention_heads,
            config.num_key_value_heads or config.num_attention_heads,
            config.intermediate_size,
            config.tie_word_embeddings,
            kind == "qwen2",
            None if width * config.num_attention_heads == config.hidden_size else width,
        )


PUBLISHED = {
    "LLaMA-2-7B": Decoder(32_000, 4096, 32, 32, 32, 11_008),
    "Mistral-7B": Decoder(32_000, 4096, 32, 32, 8, 14_336),
    "Qwen2.5-14B": Decoder(152_064, 5120, 48, 40, 8, 13_824, qkv_bias=True),
}


def forecast(
    shape: Decoder,
    method: str,
    batch: int,
    length: int,
    rank: int = 16,
    number: int = 2,
    checkpointing: bool = False,
    block: int = 64,
    double: bool = True,
) -> dict[str, int]:
    """Bytes of a training step with `transformers`, `peft` and AdamW, by what they are for.

    Args:
        shape: of the model.
        method: "full" (all weights), "lora" (frozen weights, updates of every matrix in the blocks) or "qlora" (the
            same with these matrices in four bits).
        batch, length: sequences, and tokens of each.
        rank: of the updates.
        number: bytes of a weight and of an activation: 2 (bf16) or 4 (float32). Updates, their gradients and Adam's
            means are float32, as in `peft`; in "full" they are as the weights are.
        checkpointing: keep each block's input only, and compute one block at a time again.
        block, double: of the quantisation.

    Returns:
        "weights"; "constants" of the quantisation; "updates"; "gradients"; "optimizer"; "activations", kept by the
        forward pass for the backward pass, logits apart; "logits", with their copies while the loss is computed.

    Raises:
        ValueError: for an unknown method, or sizes below 1.
    """
    if method not in METHODS:
        raise ValueError(f"there is no method {method!r}, but {', '.join(METHODS)}")
    if min(batch, length, rank) < 1 or number not in (2, 4):
        raise ValueError(f"batch {batch}, length {length}, rank {rank} must be 1 or more, and number 2 or 4: {number}")
    trained = shape.linear + shape.others if method == "full" else shape.low_rank(rank)
    kept = number if method == "full" else 4
    coded = shape.linear if method == "qlora" else 0
    tokens = batch * length
    kept_back = _saved_per_token(shape, method, rank, number, checkpointing)
    again = _block(shape, method, rank, number) if checkpointing else 0
    return {
        "weights": (shape.linear - coded + shape.others) * number + coded // 2,
        "constants": _constants(shape, block, double) if coded else 0,
        "updates": 0 if method == "full" else 4 * trained,
        "gradients": kept * trained,
        "optimizer": 2 * kept * trained,
        "activations": tokens * (kept_back + again),
        "logits": tokens * shape.vocab * (4 + 4 + number),
    }


def saved_bytes(
    shape: Decoder, method: str, batch: int, length: int, rank: int, number: int, checkpointing: bool = False
) -> int:
    """What the forward pass keeps, the logits' probabilities with it: what saved_tensors_hooks can count."""
    return batch * length * (_saved_per_token(shape, method, rank, number, checkpointing) + 4 * shape.vocab)


def _saved_per_token(shape: Decoder, method: str, rank: int, number: int, checkpointing: bool) -> int:
    """Bytes that the forward pass keeps for a token, without the logits."""
    last = 4 * shape.d_model + 4  # the last norm's input, and its length
    gain = 2 * number * shape.d_model if method == "full" else 0  # what its gain and the head multiply
    if checkpointing:
        return shape.n_layer * number * shape.d_model + last + gain
    first = 0 if method == "full" else last  # frozen embeddings: the first norm has nothing to pass back
    return shape.n_layer * _block(shape, method, rank, number) + last + gain - first


def _block(shape: Decoder, method: str, rank: int, number: int) -> int:
    """Bytes that a block keeps for a token.

    Counted on `transformers`' LLaMA with fused attention. Norms compute in float32 and keep their input so. `peft`
    converts the input of every A to float32: in bf16 that is a copy for each of the seven, in float32 none.
    """
    d, q, kv, ff = shape.d_model, shape.d_q, shape.d_kv, shape.d_ff
    norms = 2 * (4 * d + 4)
    attention = number * (2 * q + 2 * kv) + 4 * shape.n_head  # q, k, v, the result, and the softmax's denominators
    mlp = 3 * number * ff  # the gate before and after its SiLU, and what it multiplies
    if method == "full":
        return norms + attention + mlp + 4 * number * d + number * ff  # inputs of the matrices, and of the norms' gains
    copies = 4 * (5 * d + q + ff) if number == 2 else 4 * (2 * d + ff)
    return norms + attention + mlp + copies + 4 * MAPS * rank


def _constants(shape: Decoder, block: int, double: bool) -> int:
    """Block maxima of every matrix: float32, or eight bits with a float32 for 256 of them and one for their mean."""
    total = 0
    for out, into in shape.maps:
        blocks = -(-out * into // block)
        total += blocks + 4 * -(-blocks // NESTED_BLOCK) + 4 if double else 4 * blocks
    return total * shape.n_layer
