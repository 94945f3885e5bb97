"""Retrieval-augmented generation, as notebook 05 builds it.

Read `reader.py` (a language model that reads pages), `pipeline.py` (search, read, answer, cite), `chat.py` (the same in
LangChain's terms).
"""

from fmnotes.rag.pipeline import Answer, Rag, follow
from fmnotes.rag.reader import Reader

__all__ = ["Answer", "Rag", "Reader", "follow"]
