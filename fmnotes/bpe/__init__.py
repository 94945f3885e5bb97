"""Byte-pair encoding at the byte level: train a vocabulary, encode, decode, save.

The hardened form of what notebook 01 derives (Sennrich et al. 2016, section 3.2; Radford et al. 2019, section 2.2).
Read `pieces.py` (cut text into pieces and count them), `trainer.py` (learn the merges), `tokenizer.py` (use them).
"""

from fmnotes.bpe.pieces import GPT2_PATTERN
from fmnotes.bpe.tokenizer import Tokenizer
from fmnotes.bpe.trainer import train_bpe

# The special tokens of all notebooks, in the order of their ids: end, pad, image, page, question, answer.
SPECIAL_TOKENS = ("<|endoftext|>", "<|pad|>", "<|image|>", "<|page|>", "<|question|>", "<|answer|>")

__all__ = ["GPT2_PATTERN", "SPECIAL_TOKENS", "Tokenizer", "train_bpe"]
