"""What a notebook's run takes, as the runner measured it: committed with its records, shown in its opening."""

import os
from pathlib import Path

from fmnotes import ROOT, runs


def path(profile: str, notebook: str, root: Path | None = None) -> Path:
    """Where the fresh cost of a notebook is kept."""
    return runs.folder(Path(root or ROOT)) / profile / "costs" / f"{notebook}.json"


def save(profile: str, notebook: str, seconds: float, peak: int, root: Path | None = None) -> None:
    """Note the wall time and the peak memory (bytes) of a run that passed, and how many cores it could use."""
    cost = {"seconds": round(seconds), "gigabytes": round(peak / 1e9, 1), "cores": os.cpu_count()}
    runs.write(path(profile, notebook, root), cost)


def commit(profile: str, root: Path | None = None) -> None:
    """Make the fresh costs of a profile the committed ones, in ``data/records/costs.json``."""
    root = Path(root or ROOT)
    committed = root / "data" / "records" / "costs.json"
    costs = runs.read(committed)
    for fresh in sorted((runs.folder(root) / profile / "costs").glob("*.json")):
        costs.setdefault(profile, {})[fresh.stem] = runs.read(fresh)
    if costs:
        runs.write(committed, costs)


def show(notebook: str, profile: str = "quick", root: Path | None = None) -> None:
    """Print what the last committed run of a notebook took."""
    cost = runs.read(Path(root or ROOT) / "data" / "records" / "costs.json").get(profile, {}).get(notebook)
    if cost:
        cores = f" on {cost['cores']} CPU cores" if cost.get("cores") else ""
        print(f"Measured: {cost['seconds']} s and {cost['gigabytes']} GB of memory{cores}, profile {profile}.")
    else:
        print(f"What a run in the profile {profile} takes is not measured yet.")
