"""CLIP (Radford et al. 2021), as notebook 03 derives it.

Read `vision.py` and `text.py` (the two towers), `model.py` (how they meet), `loss.py` (which caption belongs to which
picture, and large batches on small memory), `evaluation.py` (retrieval, and the shape of the embeddings),
`pretrained.py` (towers that others have trained).
"""

from fmnotes.clip.config import CLIPConfig
from fmnotes.clip.evaluation import alignment, embed, recall, uniformity
from fmnotes.clip.loss import in_chunks, info_nce, siglip
from fmnotes.clip.model import CLIP, unit
from fmnotes.clip.pretrained import from_towers
from fmnotes.clip.text import TextEncoder, token_ids
from fmnotes.clip.vision import VisionTransformer, pixel_values

__all__ = [
    "CLIP", "CLIPConfig", "TextEncoder", "VisionTransformer", "alignment", "embed", "from_towers",
    "in_chunks", "info_nce", "pixel_values", "recall", "siglip", "token_ids", "uniformity", "unit",
]  # fmt: skip
