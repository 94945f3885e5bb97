"""The committed sample of the museum: `data/museum` as Parquet, made again by `python -m fmnotes museum build`.

Pictures are not stored: a scene and its seed say all, and they are rendered when a row is read.
"""

import json
from itertools import islice
from pathlib import Path

from fmnotes import ROOT, museum
from fmnotes.data import data_hash
from fmnotes.museum.scenes import Scene

FOLDER = ROOT / "data" / "museum"
ROWS = {  # how many rows of each split are committed
    "scenes": {"validation": 1000, "test": 1000, "composition": 1000},
    "captions": {"validation": 1000, "test": 1000, "composition": 1000},
    "questions": {"validation": 1200, "test": 1200, "composition": 1200},
    "pages": {"validation": 970, "test": 1940, "composition": 485},  # ten, twenty and five museums of 97 pages
    "knowledge": {"validation": 1000, "test": 1000, "composition": 500},
    "stories": {"validation": 500, "test": 500},
}


def rows(config: str, split: str) -> list[dict]:
    """The committed rows of one split, made anew from their seed."""
    return list(islice(museum.stream(config, split), ROWS[config][split]))


def build(folder: Path = FOLDER) -> dict[str, str]:
    """Write every split as Parquet, the hashes of their rows, and the contact sheet. Returns {file: hash}."""
    import pyarrow
    import pyarrow.parquet

    hashes = {}
    for config, splits in ROWS.items():
        (folder / config).mkdir(parents=True, exist_ok=True)
        for split in splits:
            made = rows(config, split)
            path = folder / config / f"{split}.parquet"
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(made), path, compression="zstd", compression_level=19)
            hashes[f"{config}/{split}"] = data_hash(made)
    (folder / "hashes.json").write_text(json.dumps(hashes, indent=2) + "\n", encoding="utf-8")
    _contact_sheet(folder / "contact_sheet.png")
    return hashes


def main() -> None:
    """Build, and say what was written."""
    build()
    size = sum(path.stat().st_size for path in FOLDER.rglob("*.parquet"))
    print(f"{len(list(FOLDER.rglob('*.parquet')))} Parquet files, {size / 1e6:.1f} MB, in data/museum")


def sample(config: str, count: int, seed: int) -> None:
    """Print some rows of the training stream to read: texts as they are, other rows as JSON."""
    for row in islice(museum.stream(config, "train", seed), count):
        print(row["text"] if "text" in row else json.dumps(row), end="\n\n")


def _contact_sheet(path: Path) -> None:
    """Twelve test pictures, twice enlarged."""
    from PIL import Image

    from fmnotes.museum.render import contact_sheet

    scenes = [Scene.from_row(row) for row in islice(museum.stream("scenes", "test"), 12)]
    sheet = Image.fromarray(contact_sheet(scenes, columns=6))
    sheet.resize((sheet.width * 2, sheet.height * 2), Image.Resampling.NEAREST).save(path, optimize=True)
