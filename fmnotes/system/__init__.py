"""One system of all parts, derived in notebook 06: a picture and a question in, an answer with its source out."""

from fmnotes.system.routing import FIELDS, KINDS, ONE_HOP, SIGHT, TWO_HOPS, Router, pointed_at, router, said
from fmnotes.system.stages import StageError, System, Trace, attention, load, resized

__all__ = [
    "FIELDS",
    "KINDS",
    "ONE_HOP",
    "SIGHT",
    "TWO_HOPS",
    "Router",
    "StageError",
    "System",
    "Trace",
    "attention",
    "load",
    "pointed_at",
    "resized",
    "router",
    "said",
]
