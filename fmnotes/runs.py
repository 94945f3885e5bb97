"""Where runs leave their results, and JSON files that are whole or not there at all."""

import json
import os
from pathlib import Path


def folder(root: Path) -> Path:
    """Where runs leave their records and copies: ``$FMNOTES_RUNS``, or the folder ``runs`` of the project."""
    return Path(os.environ.get("FMNOTES_RUNS") or root / "runs")


def read(path: Path) -> dict:
    """The dict in a JSON file; an empty one if there is no file.

    Raises:
        ValueError: if the file holds anything else; it names the file.
    """
    if not path.exists():
        return {}
    mend = "take the committed one (`git restore`), or delete it and run its notebook again"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # no JSON, or no UTF-8
        raise ValueError(f"{path} is damaged ({error}): {mend}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a JSON object, but holds a {type(content).__name__}: {mend}")
    return content


def write(path: Path, content: dict) -> None:
    """Write a dict as JSON, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def replace(path: Path, text: str) -> None:
    """Whole or not at all: a reader never sees half a file."""
    half = path.with_name(f".{path.name}.{os.getpid()}")
    half.write_text(text, encoding="utf-8")
    os.replace(half, path)
