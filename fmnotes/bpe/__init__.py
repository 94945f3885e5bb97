"""Byte-pair encoding at the byte level: train a vocabulary, encode, decode, save.

The hardened form of what notebook 01 derives (Sennrich et al. 2016, section 3.2; Radford et al. 2019, section 2.2).
Read `pieces.py` (cut text into pieces and count them), `trainer.py` (learn the merges), `tokenizer.py` (use them).
"""

from fmnotes.bpe.pieces import GPT2_PATTERN
from fmnotes.bpe.tokenizer import Tokenizer
from fmnotes.bpe.trainer import train_bpe

__all__ = ["GPT2_PATTERN", "Tokenizer", "train_bpe"]
