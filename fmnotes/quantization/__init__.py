"""Weights in four bits, and what fits into a memory.

Read `codes.py` (which sixteen numbers), `blockwise.py` (a tensor as codes and block maxima, as `bitsandbytes` stores
it), `linear.py` (a layer of them), `memory.py` (what training takes, forecast), `paging.py` (an optimizer whose state
may leave the memory).
"""

from fmnotes.quantization import memory, paging
from fmnotes.quantization.blockwise import Quantised, bits_per_number, dequantise, quantise
from fmnotes.quantization.codes import CODES, dynamic, fp4, integer, nf4
from fmnotes.quantization.linear import QuantLinear, quantise_model, weight_bytes

__all__ = [
    "CODES", "QuantLinear", "Quantised", "bits_per_number", "dequantise", "dynamic", "fp4", "integer", "memory",
    "nf4", "paging", "quantise", "quantise_model", "weight_bytes",
]  # fmt: skip
