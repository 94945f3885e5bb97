"""Retrieval, as notebook 05 builds it.

Read `lexical.py` (by words), `encoder.py` and `embeddings.py` (by vectors), `store.py` and `saving.py` (pages and where
they are kept), `pieces.py` (long pages), `fusion.py` (rankings made one), `reranker.py` (a reader of pairs),
`retriever.py` (all stages), `measures.py` (how good a ranking is). What needs faiss or LangChain is imported from its
own module: `embeddings`, `store`, `saving`, `retriever`.
"""

from fmnotes.retrieval.encoder import Encoder, EncoderConfig, maxsim
from fmnotes.retrieval.fusion import mmr, rrf
from fmnotes.retrieval.lexical import BM25, terms
from fmnotes.retrieval.measures import ndcg, recall, reciprocal_rank
from fmnotes.retrieval.pieces import further, split
from fmnotes.retrieval.reranker import CrossEncoder, paired

__all__ = [
    "BM25", "CrossEncoder", "Encoder", "EncoderConfig", "further", "maxsim", "mmr", "ndcg", "paired", "recall",
    "reciprocal_rank", "rrf", "split", "terms",
]  # fmt: skip
