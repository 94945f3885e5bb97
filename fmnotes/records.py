"""Records: every number that the project claims, written by the run that measured it.

A notebook records what it found, a fresh run lands in ``runs/<profile>/records/<notebook>.json`` (the folder ``runs``
can be moved with ``$FMNOTES_RUNS``), and ``commit`` moves fresh records to ``data/records/<profile>.json``. README's
tables are rendered from there. Both kinds of file hold ``{name: entry}``; an entry has the keys of ``Run.__call__``
and the run's provenance.
"""

import base64
import json
import math
import platform
import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fmnotes import ROOT, costs, runs

PROFILES = ("smoke", "quick", "study", "real", "gpu", "bench")
BETTER = ("higher", "lower", "equal")
CARDS = ("gpt2-museum", "gpt2-museum-small", "clip-museum", "connector-museum", "retrieval-museum")
RENDERED = ("README.md", "notebooks/guide/README.md", *(f"data/checkpoints/{name}/README.md" for name in CARDS))
PICTURES = {"data/records/bpe_compression.png": ("01_bpe", "Bytes per token on held-out text")}
_VERSIONED = ("fmnotes", "torch", "numpy", "transformers", "tokenizers", "tiktoken", "datasets", "faiss")
_BLOCK = re.compile(r"(<!-- records:(\w+):([\w.]+) -->\n)(.*?)(<!-- /records -->)", re.DOTALL)


class Run:
    """The records of one run of one notebook: call it once a number, and ``report()`` in the last cell.

    Args:
        notebook: the notebook's name without its ending, "01_bpe".
        profile: one of smoke, quick, study, real, gpu, bench.
        seed: the seed that the run was started with.
        root: the project's folder, if it is not the one that holds this package.
    """

    def __init__(self, notebook: str, profile: str = "quick", seed: int = 0, root: Path | None = None):
        _check_profile(profile)
        self.notebook, self.profile, self.seed, self.root = notebook, profile, seed, Path(root or ROOT)
        self.data: str | None = None  # a hash of what all of this run is measured on, unless a call names another
        self.settings: dict[str, str | int | float] = {}  # what was chosen: the data set's name, sizes
        self._entries: dict[str, dict] = {}
        self._cells: dict[str, tuple] = {}
        self._path = runs.folder(self.root) / profile / "records" / f"{notebook}.json"
        self._path.unlink(missing_ok=True)  # an older run's numbers are not this run's

    def __call__(
        self,
        name: str,
        value: float,
        *,
        unit: str,
        tolerance: float,
        limit: float | None = None,
        better: str = "higher",
        chance: float | None = None,
        data: str | None = None,
    ) -> None:
        """Record a number and write the run's file.

        Args:
            name: lower-case words joined by dots, the notebook's subject first: "bpe.bytes_per_token".
            value: a plain int or float. A float is stored to a hundredth of its tolerance.
            unit: what it is counted in: "bytes/token"; "" for a ratio.
            tolerance: how far another run of the same thing may lie from it, either way.
            limit: the best value that any model could reach, where it is known.
            better: "higher", "lower" or "equal" (neither is better).
            chance: what a guesser would get, where that means something.
            data: a hash of the data that it was measured on, if it is not the run's (`record.data = ...`).

        Raises:
            TypeError: if a number is not a plain int or float.
            ValueError: if a number is not finite, the tolerance negative, the name malformed or recorded before.
        """
        if not re.fullmatch(r"[a-z0-9_]+(\.[a-z0-9_]+)+", name):
            raise ValueError(f"record name {name!r}: lower-case words joined by dots are needed, like 'bpe.tokens'")
        if better not in BETTER:
            raise ValueError(f"record {name}: better is {better!r}, but must be one of {', '.join(BETTER)}")
        for what, number in {"value": value, "tolerance": tolerance, "limit": limit, "chance": chance}.items():
            if number is not None or what in ("value", "tolerance"):
                _check_number(name, what, number)
        if tolerance < 0:
            raise ValueError(f"record {name}: tolerance {tolerance} is negative")
        self._check_new(name)
        self._entries[name] = {
            "value": _rounded(value, tolerance),
            "unit": unit,
            "limit": None if limit is None else _rounded(limit, tolerance),
            "tolerance": tolerance,
            "better": better,
            "chance": chance,
            "notebook": self.notebook,
            "seed": self.seed,
            "data": data or self.data,
            "settings": self.settings,
            "device": _device(),
            "versions": _versions(),
        }
        runs.write(self._path, self._entries)

    def _check_new(self, name: str) -> None:
        """Refuse a second value, unless the reader ran the same JupyterLab cell again."""
        cell, before = _cell(), self._cells.get(name)
        again = before is not None and cell[0] is not None and cell[0] == before[0] and cell[1] != before[1]
        if name in self._entries and not again:
            raise ValueError(f"record {name} is already recorded in this run: give the second number its own name")
        self._cells[name] = cell

    def report(self) -> None:
        """Print what is committed and whether this run agrees; never the fresh value, so that the text is stable."""
        committed = load(self.profile, self.root)
        state = dict(verdicts(self.profile, self.notebook, self.root))
        rows = [("record", "committed", "unit", "tolerance", "limit", "")]
        for name, verdict in state.items():
            entry = committed.get(name, self._entries.get(name))
            value = _number(entry["value"]) if name in committed else "–"
            verdict = "not compared" if self.profile == "smoke" else verdict
            rows.append(
                (name, value, entry["unit"], "± " + _number(entry["tolerance"]), _number(entry["limit"]), verdict)
            )
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        aligned = ("{:<{}}", "{:>{}}", "{:<{}}", "{:>{}}", "{:>{}}", "{:<{}}")
        for row in rows:
            cells = (align.format(cell, width) for align, cell, width in zip(aligned, row, widths, strict=True))
            print("  ".join(cells).rstrip())


def load(profile: str, root: Path | None = None) -> dict[str, dict]:
    """The committed records of a profile, ``{name: entry}``; empty if there are none."""
    _check_profile(profile)
    return runs.read(Path(root or ROOT) / "data" / "records" / f"{profile}.json")


def show(profile: str, notebook: str, root: Path | None = None) -> None:
    """Print the committed records of a notebook in a profile that ran elsewhere, with where they come from."""
    entries = {name: entry for name, entry in load(profile, root).items() if entry["notebook"] == notebook}
    if not entries:
        print(f"Nothing is recorded yet: `make run NOTEBOOK={notebook} PROFILE={profile}` does.")
        return
    width, first = max(map(len, entries)), next(iter(entries.values()))
    for name, entry in entries.items():
        limit = "" if entry["limit"] is None else f"   limit {_number(entry['limit'])}"
        print(f"{name:{width}}  {_number(entry['value']):>8} {entry['unit']}{limit}")
    versions = ", ".join(f"{package} {number}" for package, number in first["versions"].items())
    print(f"profile {profile}, {_origin(first)}, {first['device']}; {versions}")


def verdicts(profile: str, notebook: str, root: Path | None = None) -> list[tuple[str, str]]:
    """Compare a notebook's fresh records with the committed ones.

    Returns:
        (name, verdict) pairs. The verdict is "inside" if the fresh value lies within the committed tolerance of the
        committed value, and unit and limit agree too; "new" if nothing is committed under the name; else "outside",
        also for a committed record that the fresh run did not write.
    """
    fresh = runs.read(runs.folder(Path(root or ROOT)) / profile / "records" / f"{notebook}.json")
    committed = load(profile, root)
    pairs = [(name, _verdict(committed.get(name), entry)) for name, entry in fresh.items()]
    lost = [name for name, entry in committed.items() if entry["notebook"] == notebook and name not in fresh]
    return pairs + [(name, "outside") for name in lost]


def faults(records: dict[str, dict]) -> list[str]:
    """What is wrong with records as evidence: a tolerance that zero or chance would pass, or a limit that is beaten."""
    found = []
    for name, entry in records.items():
        value, tolerance, limit, chance = (entry[key] for key in ("value", "tolerance", "limit", "chance"))
        if _near(value, 0, tolerance):
            found.append(f"{name}: tolerance {tolerance} is too wide, zero would pass for {value}")
        if chance is not None and _near(value, chance, tolerance):
            found.append(f"{name}: tolerance {tolerance} is too wide, chance ({chance}) would pass for {value}")
        beyond = 0 if limit is None else {"higher": value - limit, "lower": limit - value, "equal": 0}[entry["better"]]
        if beyond > tolerance:
            found.append(f"{name}: {value} is better than its limit {limit}, the best that is possible: one is wrong")
    return found


def commit(profile: str, root: Path | None = None) -> list[str]:
    """Make the fresh records of a profile the committed ones; a notebook's records are replaced as a whole.

    Returns:
        the names of the records that were written, removed or changed.

    Raises:
        FileNotFoundError: if no run of this profile has written records.
        ValueError: if two notebooks use one name, or a record has a fault (see ``faults``); nothing is written then.
    """
    _check_profile(profile)
    if profile == "smoke":
        raise ValueError("records of the smoke profile are not committed: its numbers mean nothing")
    root = Path(root or ROOT)
    fresh = {path.stem: runs.read(path) for path in sorted((runs.folder(root) / profile / "records").glob("*.json"))}
    if not fresh:
        raise FileNotFoundError(f"no fresh records of profile {profile}: make some with `make run PROFILE={profile}`")
    before = load(profile, root)
    records = {name: entry for name, entry in before.items() if entry["notebook"] not in fresh}
    for entries in fresh.values():
        for name, entry in entries.items():
            if name in records:
                raise ValueError(f"{name} is recorded by {records[name]['notebook']} and by {entry['notebook']}")
            records[name] = entry
    if found := faults(records):
        raise ValueError("records that prove nothing are not committed:\n" + "\n".join(found))
    records = dict(sorted(records.items(), key=lambda item: item[1]["notebook"]))
    runs.write(root / "data" / "records" / f"{profile}.json", records)
    costs.commit(profile, root)
    return [name for name in before | records if before.get(name) != records.get(name)]


def render(root: Path | None = None) -> list[str]:
    """Rewrite the tables between ``<!-- records:PROFILE:PREFIX -->`` and ``<!-- /records -->`` in README and cards.

    A block shows the records whose names begin with PREFIX, like ``bpe.``. Returns the files that changed.
    """
    root, changed = Path(root or ROOT), []
    for name in _rendered(root):
        old = (root / name).read_text(encoding="utf-8")
        new = _BLOCK.sub(lambda block: block[1] + _table(block[2], block[3], root) + block[5], old)
        if new != old:
            runs.replace(root / name, new)
            changed.append(name)
    for name, shown in _pictures(root).items():
        if not (root / name).exists() or (root / name).read_bytes() != shown:
            (root / name).write_bytes(shown)
            changed.append(name)
    return changed


def _rendered(root: Path) -> list[str]:
    return [name for name in RENDERED if (root / name).exists()]


def _pictures(root: Path) -> dict[str, bytes]:
    """The figures of committed notebooks that README shows: {file: PNG}, found by the beginning of their alt text."""
    found = {}
    for file, (notebook, alt) in PICTURES.items():
        path = root / "notebooks" / f"{notebook}.ipynb"
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"] if path.exists() else []
        for output in (output for cell in cells for output in cell.get("outputs", [])):
            if output.get("metadata", {}).get("image/png", {}).get("alt", "").startswith(alt):
                found[file] = base64.b64decode(output["data"]["image/png"])
    return found


def check(root: Path | None = None) -> list[str]:
    """Where README or a card parts from the committed records, or a block is broken; empty is what tests ask for."""
    root, found = Path(root or ROOT), []
    for name, shown in _pictures(root).items():
        if not (root / name).exists() or (root / name).read_bytes() != shown:
            found.append(f"{name} is not the notebook's figure: `python -m fmnotes records render`")
    for name in _rendered(root):
        text = (root / name).read_text(encoding="utf-8")
        blocks = list(_BLOCK.finditer(text))
        markers = text.count("<!-- records:"), text.count("<!-- /records -->")
        if markers != (len(blocks), len(blocks)):
            found.append(f"{name}: {markers[0]} opening and {markers[1]} closing marks make {len(blocks)} blocks")
        for block in blocks:
            if not _chosen(block[2], block[3], root):
                found.append(f"{name}: nothing is recorded for {block[2]}:{block[3]}")
            elif block[4] != _table(block[2], block[3], root):
                mend = "`python -m fmnotes records render`"
                found.append(f"{name}: {block[2]}:{block[3]} is not what is recorded: {mend}")
    return found


def _chosen(profile: str, prefix: str, root: Path) -> dict[str, dict]:
    return {name: entry for name, entry in load(profile, root).items() if name.startswith(prefix)}


def _table(profile: str, prefix: str, root: Path) -> str:
    chosen = _chosen(profile, prefix, root)
    if not chosen:
        return "*Nothing recorded yet.*\n"
    lines = ["| record | value | unit | limit | tolerance | better |", "|---|---:|---|---:|---:|---|"]
    for name, entry in chosen.items():
        value, limit, tolerance = (_number(entry[key]) for key in ("value", "limit", "tolerance"))
        lines.append(f"| {name} | {value} | {entry['unit']} | {limit} | ± {tolerance} | {entry['better']} |")
    origins = dict.fromkeys(f"*{entry['notebook']}: {_origin(entry)}*" for entry in chosen.values())
    return "\n".join([*lines, "", *origins]) + "\n"


def _origin(entry: dict) -> str:
    """What a record was measured on, in words."""
    settings = [f"{name} {value:,}" if isinstance(value, int) else f"{name} {value}"
                for name, value in entry.get("settings", {}).items() if name != "seed"]  # fmt: skip
    return ", ".join([*settings, f"seed {entry['seed']}"])


def _verdict(committed: dict | None, fresh: dict) -> str:
    if committed is None:
        return "new"
    limits = committed["limit"], fresh["limit"]
    same_limit = limits[0] == limits[1] if None in limits else _near(*limits, committed["tolerance"])
    near = _near(committed["value"], fresh["value"], committed["tolerance"])
    return "inside" if near and same_limit and committed["unit"] == fresh["unit"] else "outside"


def _near(a: float, b: float, tolerance: float) -> bool:
    return abs(a - b) <= tolerance * (1 + 1e-9)  # 0.1 + 0.2 must be within 0.2 of 0.1


def _rounded(value: float, tolerance: float) -> float:
    """To a hundredth of the tolerance: digits that mean nothing would only make two equal runs look different."""
    if isinstance(value, int):
        return int(value)
    value = float(value)
    return value if tolerance == 0 else round(value, math.floor(-math.log10(tolerance)) + 2)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,}"


def _check_number(name: str, what: str, number) -> None:
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise TypeError(f"record {name}: {what} must be a plain int or float, not {type(number).__name__}; try .item()")
    if not math.isfinite(number):
        raise ValueError(f"record {name}: {what} is {number}, not a finite number")


def _check_profile(profile: str) -> None:
    if profile not in PROFILES:
        raise ValueError(f"profile {profile!r} is unknown; there are {', '.join(PROFILES)}")


def _cell() -> tuple[str | None, int]:
    """The JupyterLab cell that is running, and the kernel's execution count; (None, 0) outside notebooks."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    parent = shell.get_parent() if hasattr(shell, "get_parent") else {}
    return parent.get("metadata", {}).get("cellId"), getattr(shell, "execution_count", 0)


def _device() -> str:
    torch = sys.modules.get("torch")
    return f"cuda {torch.cuda.get_device_name()}" if torch and torch.cuda.is_initialized() else "cpu"


def _versions() -> dict[str, str]:
    """Python and those of the libraries that change numbers which the run has loaded."""
    versions = {"python": platform.python_version()}
    for name in _VERSIONED:
        if name in sys.modules:
            try:
                versions[name] = version({"faiss": "faiss-cpu"}.get(name, name))
            except PackageNotFoundError:
                versions[name] = "unknown"
    return versions
