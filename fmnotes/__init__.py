"""fmnotes: the hardened half of a curriculum of notebooks; a module bears the name of the notebook that derives it."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The project's folder: notebooks, data, runs and README lie in it."""
