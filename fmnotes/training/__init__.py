"""One training loop for every model: a language model, CLIP, a connector, a reranker.

Read `recipe.py` (the configuration, the schedule, the optimizer), `loop.py` (the loop), `batches.py` (data in an order
that needs no memory), `muon.py` (an optimizer for matrices), `cores.py` (a batch in parts), `checkpoint.py` (stop
anywhere, go on to the bit) and `log.py` (what is written down on the way).
It needs torch, numpy, safetensors and tqdm alone.
"""

from fmnotes.training.batches import Batches, TokenBatches, row_of_ids, shuffled
from fmnotes.training.checkpoint import latest_checkpoint, load_checkpoint, save_checkpoint
from fmnotes.training.cores import in_parts, with_gradients
from fmnotes.training.log import read_metrics
from fmnotes.training.loop import train
from fmnotes.training.muon import Muon
from fmnotes.training.recipe import TrainingConfig, adamw, quick_precision, schedule

__all__ = [
    "Batches",
    "Muon",
    "TokenBatches",
    "TrainingConfig",
    "adamw",
    "in_parts",
    "latest_checkpoint",
    "load_checkpoint",
    "quick_precision",
    "read_metrics",
    "row_of_ids",
    "save_checkpoint",
    "schedule",
    "shuffled",
    "train",
    "with_gradients",
]
