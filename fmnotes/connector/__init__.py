"""From pixels to words, as notebook 04 derives it.

Read `connectors.py` (four ways from patches to tokens), `model.py` (a language model that is shown a picture), then
`adapter.py` (low-rank updates of it), `pretrained.py` (towers that others have trained) and `probes.py` (what a linear
map can read from what is passed on).
"""

from fmnotes.connector.config import KINDS, ConnectorConfig
from fmnotes.connector.connectors import MLP, Linear, QFormer, Resampler
from fmnotes.connector.model import VisionLanguageModel
from fmnotes.connector.pretrained import CausalLM, Eyes, from_towers

__all__ = [
    "KINDS", "MLP", "CausalLM", "ConnectorConfig", "Eyes", "Linear", "QFormer", "Resampler", "VisionLanguageModel",
    "from_towers",
]  # fmt: skip
