"""Questions about a picture."""

from fmnotes.museum.referents import referring_expression, resolve

__all__ = ["referring_expression", "resolve"]
