"""From pixels to words, as notebook 04 derives it.

Read `connectors.py` (four ways from patches to tokens), then `model.py` (a language model that is shown a picture).
"""

from fmnotes.connector.config import KINDS, ConnectorConfig
from fmnotes.connector.connectors import MLP, Linear, QFormer, Resampler
from fmnotes.connector.model import VisionLanguageModel

__all__ = ["KINDS", "MLP", "ConnectorConfig", "Linear", "QFormer", "Resampler", "VisionLanguageModel"]
