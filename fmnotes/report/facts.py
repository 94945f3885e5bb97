"""What the report may say: every number that it can ask for, from records, studies, checkpoints and recipes."""

import ast
import inspect
import json
import math
import struct
from pathlib import Path

from fmnotes import metrics, records

PROFILES = ("quick", "real", "bench")
STUDIES = {  # what the text reads; one that may not be there yet is said to be missing in its place
    "clip_contrast": "curves.json",
    "connector_kinds": "curves.json",
    "connector_museum": "exam.json",
    "gpt2_nano": "curves.json",
    "museum_probe": "result.json",
    "reading": "curves.json",
    "retrieval_growth": "curves.json",
    "training_ingredients": "curves.json",
    "training_optimizers": "curves.json",
    "system_ablations": "results.json",
}
PENDING = ("system_ablations",)
LEFT_OUT = {  # arms of training_ingredients, and what each is compared with
    "no warm-up @ 0.005": "all of them @ 0.005",
    "no cosine @ 0.005": "all of them @ 0.005",
    "no cosine @ 0.02": "all of them @ 0.02",
    "bf16 products @ 0.005": "all of them @ 0.005",
    "bf16 parameters @ 0.005": "all of them @ 0.005",
    "decay 1, of all @ 0.005": "decay 1 @ 0.005",
}


def shown(value: float, tolerance: float) -> str:
    """A record's number with digits down to the tolerance, and one more where that is a power of ten."""
    if isinstance(value, int) or tolerance == 0:
        return f"{value:,.0f}" if float(value).is_integer() else f"{value:,}"
    return f"{value:,.{decimals(tolerance)}f}".replace("-", "−")


def decimals(tolerance: float) -> int:
    """How many digits after the point a number with this tolerance is given."""
    return max(0, math.floor(-math.log10(tolerance)) + 1)


def entry(record: dict) -> dict:
    """A record as the text reads it: the number, and how it is printed, as it is and in per cent."""
    found = {key: record[key] for key in ("unit", "tolerance", "better", "settings")}
    for key in ("value", "limit", "chance"):
        number = record[key]
        known = number is not None
        found[key] = number
        found[f"{key}_shown"] = shown(number, record["tolerance"]) if known else None
        found[f"{key}_percent"] = shown(100.0 * number, 100 * record["tolerance"]) if known else None
    return found


def collect(root: Path) -> dict:
    """All that the text may ask for.

    Raises:
        FileNotFoundError: if records, a study or a checkpoint's card are missing.
    """
    found = {"records": {}, "studies": {}, "differences": {}}
    for profile in PROFILES:
        found["records"] |= {f"{profile}:{name}": entry(one) for name, one in records.load(profile, root).items()}
    for name, file in STUDIES.items():
        path = root / "data" / "studies" / name / file
        if path.exists() or name not in PENDING:
            found["studies"][name] = json.loads(path.read_text(encoding="utf-8"))
    arms = found["studies"]["training_ingredients"]["arms"]
    bits = {name: [run["bits"] for run in seeds] for name, seeds in arms.items()}
    for name, base in LEFT_OUT.items():
        found["differences"][name] = metrics.difference_interval(bits[name], bits[base])._asdict()
    best = {name: [run["bits"] for run in one["best"]] for name, one in found["studies"]["training_optimizers"].items()}
    for name in best.keys() - {"AdamW"}:
        found["differences"][name] = metrics.difference_interval(best[name], best["AdamW"])._asdict()
    found["models"], found["training"] = models(root), training(root)
    found["museum"], found["version"] = museum(), _version(root)
    found["costs"] = json.loads((root / "data" / "records" / "costs.json").read_text(encoding="utf-8"))
    found["level"] = inspect.signature(metrics.seed_interval).parameters["level"].default
    return found


def models(root: Path) -> dict[str, dict]:
    """Each checkpoint's configuration, and how many parameters its files hold."""
    found = {}
    for path in sorted((root / "data" / "checkpoints").glob("**/*.safetensors")):
        name = path.relative_to(root / "data" / "checkpoints").parent.as_posix()
        config = json.loads((path.parent / "config.json").read_text(encoding="utf-8"))
        one = found.setdefault(name, {"adapter": 0, "megabytes": 0.0} | config)
        one["adapter" if path.name.startswith("adapter") else "parameters"] = _parameters(path)
        one["megabytes"] += path.stat().st_size / 1e6
    return found


def _parameters(path: Path) -> int:
    """The numbers in a safetensors file, by its header: eight bytes of length, then JSON."""
    with path.open("rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")


def training(root: Path) -> dict[str, dict[str, float]]:
    """What each checkpoint took: by its card's table of stages, or by its recipe in `fmnotes/studies`."""
    gpt, towers = (
        _stages(root / "data" / "checkpoints" / name / "README.md") for name in ("gpt2-museum", "clip-museum")
    )
    found = {"gpt2-museum": {name: _total(gpt, name) for name in ("steps", "million tokens", "hours")}}
    found["gpt2-museum"]["stages"] = len(gpt)
    sizes = [[_number(part) for part in row["steps × pictures"].split("×")] for row in towers]
    pictures = sum(steps * size for steps, size in sizes)
    found["clip-museum"] = {"steps": sum(steps for steps, _ in sizes), "pictures": pictures}
    found["clip-museum"] |= {"hours": _total(towers, "hours"), "stages": len(towers)}
    stages = [ast.literal_eval(part) for part in _assigned(root, "connector_museum", "RECIPES").value.args]
    found["connector-museum"] = {"steps": sum(stages), "stages": len(stages)}
    stages = ast.literal_eval(_assigned(root, "retrieval_museum", "STEPS"))
    found["retrieval-museum"] = {"steps": sum(stages.values()), "stages": len(stages)}
    steps = ast.literal_eval(_assigned(root, "gpt2_small", "STEPS, EVERY"))[0]
    stages = len(ast.literal_eval(_assigned(root, "gpt2_small", "RATES")))
    found["gpt2-museum-small"] = {"steps": stages * steps, "stages": stages}
    return found


def _stages(card: Path) -> list[dict[str, str]]:
    """The rows of a card's table that begins with "stage"."""
    lines = [line.strip("| ").split("|") for line in card.read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    cells = [[cell.strip() for cell in line] for line in lines]
    first = next(n for n, row in enumerate(cells) if row[0] == "stage")
    last = next((n for n in range(first, len(cells)) if len(cells[n]) != len(cells[first])), len(cells))
    return [dict(zip(cells[first], row, strict=True)) for row in cells[first + 2 : last]]


def _number(text: str) -> float:
    return float(text.replace(",", ""))


def _total(rows: list[dict[str, str]], column: str) -> float:
    return sum(_number(row[column]) for row in rows)


def _assigned(root: Path, study: str, name: str) -> ast.expr:
    """What a study's source assigns to a name, not run: the studies import torch, and take longer than this report."""
    tree = ast.parse((root / "fmnotes" / "studies" / f"{study}.py").read_text(encoding="utf-8"))
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]).strip("()") == name:
            return statement.value
    raise ValueError(f"fmnotes/studies/{study}.py no longer assigns {name}: mend fmnotes/report.py")


def museum() -> dict[str, int]:
    """How large the small world is."""
    from fmnotes.museum import pages, prompt, questions, scenes, world
    from fmnotes.museum.render import SIDE

    counts = {"shapes": world.SHAPES, "colours": world.COLOURS, "sizes": world.SIZES, "held_out": world.HELD_OUT_PAIRS}
    counts |= {"types": questions.TYPES}
    found = {name: len(each) for name, each in counts.items()} | {"pages": sum(pages.KINDS.values())}
    return found | {"side": SIDE, "grid": scenes.GRID, "most": scenes.MOST_OBJECTS, "read": prompt.MOST_PAGES}


def _version(root: Path) -> str:
    lines = (root / "CITATION.cff").read_text(encoding="utf-8").splitlines()
    return next(line.removeprefix("version:").strip() for line in lines if line.startswith("version:"))
