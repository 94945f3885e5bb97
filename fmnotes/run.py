"""Execute notebooks from top to bottom, without a browser: what ``python -m fmnotes run`` does.

Each notebook runs through papermill in a process of its own, with the parameters that a *profile* sets
(``notebooks/profiles/<profile>.yaml``; the profile quick is the notebooks' own defaults). Executed copies go to
``runs/<profile>/<notebook>.ipynb``, records to ``runs/<profile>/records/``. Nothing under ``notebooks/`` is changed.

A notebook's name is its path under ``notebooks/`` without the ending: "01_bpe", "guide/09_moe".
"""

import multiprocessing
import os
import re
import resource
import signal
import sys
import time
import traceback
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fmnotes import ROOT, costs, records, runs

QUICK = "quick"  # the one profile without a file
SOLUTIONS = "solutions"  # a folder of notebooks without parameters and records; nbval executes them
OFFLINE = (QUICK, "smoke")  # profiles whose notebooks must not ask the hub for anything
SECONDS, MEMORY = {QUICK: 150, "smoke": 20}, 4e9  # what CONTRIBUTING.md promises of a notebook in those profiles
PATIENCE = 15  # seconds that an interrupted notebook has for ending its kernel


class RunError(Exception):
    """A request that cannot be run; the message says what there is instead."""


@dataclass
class Outcome:
    """What came of one notebook: status is "passed", "failed" or "skipped", peak its kernel's memory in bytes."""

    notebook: str
    status: str
    seconds: float = 0.0
    peak: int = 0
    message: str = ""
    verdicts: list[tuple[str, str]] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """True if the notebook ran through and no record left its tolerance."""
        return self.status == "passed" and all(verdict != "outside" for _, verdict in self.verdicts)


def available(root: Path = ROOT) -> list[str]:
    """Names of all notebooks but the solutions: the numbered first, then those in folders, each in reading order."""
    names = [path.relative_to(root / "notebooks").with_suffix("") for path in (root / "notebooks").rglob("*.ipynb")]
    names = [name for name in names if not any(part.startswith(".") for part in name.parts)]  # JupyterLab's checkpoints
    names = [name for name in names if name.parts[0] != SOLUTIONS]
    return [name.as_posix() for name in sorted(names, key=lambda name: (len(name.parts), name))]


def profile_parameters(profile: str, root: Path = ROOT) -> dict[str, dict]:
    """What the profile sets, ``{notebook: {parameter: value}}``. A notebook that is not in it has no such profile.

    Raises:
        RunError: if there is no such profile, or its file is not such a mapping.
    """
    from papermill.iorw import read_yaml_file
    from yaml import YAMLError

    if profile == QUICK:
        return {name: {} for name in available(root)}
    folder = root / "notebooks" / "profiles"
    if not (folder / f"{profile}.yaml").exists():
        there = sorted([QUICK, *(path.stem for path in folder.glob("*.yaml"))])
        raise RunError(f"There is no profile {profile!r}. There are: {', '.join(there)}.")
    try:
        chosen = read_yaml_file(str(folder / f"{profile}.yaml")) or {}
    except (YAMLError, UnicodeDecodeError) as error:
        raise RunError(f"notebooks/profiles/{profile}.yaml is no YAML, mend it: {error}") from error
    if not isinstance(chosen, dict) or not all(isinstance(values, dict | None) for values in chosen.values()):
        raise RunError(f"notebooks/profiles/{profile}.yaml must map each notebook to a mapping of parameter to value.")
    return {name: values or {} for name, values in chosen.items()}


def select(names: list[str], profile: str, everything: bool = False, root: Path = ROOT) -> list[str]:
    """The notebooks to run: those named, or else all numbered ones (or really ``everything``) that have the profile.

    A notebook in a folder may be named without it: "09_moe".

    Raises:
        RunError: if a named notebook does not exist or does not have the profile, or if nothing is left to run.
    """
    there, having = available(root), profile_parameters(profile, root)
    short = {Path(name).name: name for name in reversed(there)}  # the first of that name counts
    names = [name if name in there else short.get(name, name) for name in names]
    for name in names:
        if name not in there:
            raise RunError(f"There is no notebook {name!r}. There are: {', '.join(there) or 'none'}.")
        if name not in having:
            raise RunError(f"{name} has no profile {profile!r}. Notebooks with one: {', '.join(having) or 'none'}.")
    default = [name for name in there if name in having and (everything or re.fullmatch(r"\d[^/]*", name))]
    selected = list(dict.fromkeys(names)) or default
    if not selected:
        raise RunError(f"No notebook to run in the profile {profile!r}. Notebooks: {', '.join(there) or 'none'}.")
    return selected


def unreadable(notebook: str, root: Path = ROOT) -> str:
    """Why the notebook's file is no notebook; empty if it is one."""
    import nbformat

    path = root / "notebooks" / f"{notebook}.ipynb"
    try:
        nbformat.validate(nbformat.read(path, as_version=4))
    except Exception as error:  # no text, no JSON, JSON of another kind: each raises its own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        return f"{path.relative_to(root)} cannot be read as a notebook; mend it or take it away. {reason}"
    return ""


def check_parameters(notebook: str, values: dict, root: Path = ROOT) -> None:
    """Refuse parameters that the notebook does not have; papermill would only warn, and the value have no effect.

    Raises:
        RunError: if a name is not defined in the notebook's cell tagged "parameters".
    """
    from papermill import inspect_notebook

    defined = inspect_notebook(str(root / "notebooks" / f"{notebook}.ipynb"))
    if unknown := [name for name in values if name not in defined]:
        raise RunError(
            f"{notebook} has no parameter {', '.join(unknown)}. "
            f"Its cell tagged 'parameters' defines: {', '.join(defined) or 'nothing'}."
        )


def needs(notebook: str, root: Path = ROOT) -> list[str]:
    """The notebooks whose results this one reads: ``{"fmnotes": {"needs": ["01_bpe"]}}`` in its metadata."""
    import nbformat

    metadata = nbformat.read(root / "notebooks" / f"{notebook}.ipynb", as_version=4).metadata
    return metadata.get("fmnotes", {}).get("needs", [])


def run_one(notebook: str, profile: str, parameters: dict, label: str, root: Path = ROOT) -> Outcome:
    """Run one notebook in a process of its own, so that its peak memory is its own, and compare its records."""
    results = runs.folder(root).resolve() / profile
    source, copy = root / "notebooks" / f"{notebook}.ipynb", results / f"{notebook}.ipynb"
    fresh = results / "records" / f"{Path(notebook).name}.json"
    copy.parent.mkdir(parents=True, exist_ok=True)
    for old in (fresh, costs.path(profile, Path(notebook).name, root)):
        old.unlink(missing_ok=True)  # what an earlier run left says nothing about this one

    spawn = multiprocessing.get_context("spawn")
    receiver, sender = spawn.Pipe(duplex=False)
    arguments = (source, copy, {"PROFILE": profile, **parameters}, label, _environment(profile, results.parent), sender)
    process, start = spawn.Process(target=_execute, args=arguments), time.perf_counter()
    process.start()
    sender.close()  # the child's end is the only one now, so its death ends our waiting
    try:
        message, peak = receiver.recv()
    except EOFError:
        message, peak = "The process that ran it was killed (out of memory?).", 0
    except KeyboardInterrupt:
        process.terminate()
        process.join(PATIENCE)
        process.kill()
        raise
    process.join()
    seconds = time.perf_counter() - start
    if not message and not fresh.exists():
        message = f"It wrote no records. Its last cell needs Run({Path(notebook).name!r}, profile=PROFILE, seed=SEED)."
    if message:
        return Outcome(notebook, "failed", seconds, peak, message)
    costs.save(profile, Path(notebook).name, seconds, peak, root)
    return Outcome(notebook, "passed", seconds, peak, "", records.verdicts(profile, Path(notebook).name, root))


def run(names: list[str], profile: str = QUICK, everything: bool = False, root: Path = ROOT) -> int:
    """Run notebooks in order, print a table, and return the exit status: 0 if every one of them is good, else 1.

    A notebook that fails or cannot be read stops there, and with it those that need it; the others still run.

    Raises:
        RunError: for an unknown notebook, profile or parameter, or damaged records, before anything runs.
    """
    selected, values = select(names, profile, everything, root), profile_parameters(profile, root)
    broken = {notebook: unreadable(notebook, root) for notebook in selected}
    for notebook in (notebook for notebook in selected if not broken[notebook]):
        check_parameters(notebook, {"PROFILE": profile, **values[notebook]}, root)
    try:
        records.load(profile, root)
    except ValueError as error:
        raise RunError(str(error)) from error
    outcomes: dict[str, Outcome] = {}
    with _terminated_like_interrupted():
        for number, notebook in enumerate(selected, start=1):
            needed = [] if broken[notebook] else needs(notebook, root)
            missing = [name for name in needed if name in outcomes and outcomes[name].status != "passed"]
            if broken[notebook]:
                outcome = Outcome(notebook, "failed", message=broken[notebook])
            elif missing:
                outcome = Outcome(notebook, "skipped", message=f"It needs {', '.join(missing)}.")
            else:
                label = f"[{number}/{len(selected)}] {notebook}"
                outcome = run_one(notebook, profile, values[notebook], label, root)
            outcomes[notebook] = outcome
            if outcome.message:
                print(f"\n{notebook} {outcome.status}. {outcome.message}\n", flush=True)
    print(f"\nProfile {profile}; executed copies in {os.path.relpath(runs.folder(root) / profile)}\n")
    print(table(list(outcomes.values())))
    for line in [line for outcome in outcomes.values() for line in too_much(outcome, profile)]:
        print(f"\n{line}")
    for outcome in outcomes.values():
        if outside := [name for name, verdict in outcome.verdicts if verdict == "outside"]:
            print(f"\n{outcome.notebook}: outside its tolerance, or not recorded: {', '.join(outside)}")
    return 0 if all(outcome.good for outcome in outcomes.values()) else 1


def too_much(outcome: Outcome, profile: str) -> list[str]:
    """Warnings, where a notebook took more than is promised of the profile; a slow machine is no failure."""
    limit = SECONDS.get(profile)
    if limit is None:
        return []
    found = []
    if outcome.seconds > limit:
        found.append(f"{outcome.notebook}: {outcome.seconds:.0f} s, more than the {limit} s of the profile {profile}")
    if outcome.peak > MEMORY:
        found.append(f"{outcome.notebook}: {outcome.peak / 1e9:.1f} GB of memory, more than {MEMORY / 1e9:.0f} GB")
    return found


def table(outcomes: list[Outcome]) -> str:
    """One line a notebook: status, wall time, peak memory, and how many records are inside their tolerance."""
    rows = [("notebook", "status", "wall time", "peak memory", "records")]
    for outcome in outcomes:
        found = [verdict for _, verdict in outcome.verdicts]
        counts = [f"{found.count(kind)} {kind}" for kind in ("inside", "outside", "new") if kind in found]
        ran = outcome.status != "skipped"
        cost = (f"{outcome.seconds:.1f} s", f"{outcome.peak / 1e9:.2f} GB") if ran else ("-", "-")
        rows.append((outcome.notebook, outcome.status, *cost, ", ".join(counts) or "-"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def _environment(profile: str, runs: Path) -> dict[str, str]:
    """What a notebook's kernel finds in its environment, besides what we were started with."""
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"} if profile in OFFLINE else {}
    # The kernel "python3" of this environment, also where the user has another one of that name.
    return {"JUPYTER_PREFER_ENV_PATH": "1", "FMNOTES_RUNS": str(runs), **offline}


def _execute(source: Path, copy: Path, parameters: dict, label: str, environment: dict[str, str], sender) -> None:
    """In a process of its own: run a notebook and send (message, peak bytes); an empty message means success."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt_once)
    os.environ.update(environment)
    import papermill

    message = ""
    try:
        papermill.execute_notebook(
            source,
            copy,
            parameters,
            kernel_name="python3",
            cwd=source.parent,  # as JupyterLab does
            progress_bar={"desc": label, "dynamic_ncols": True},
            extra_arguments=["--log-level=CRITICAL"],  # the kernel's own log would tear the progress bar
        )
    except papermill.PapermillExecutionError as error:
        message = f"This is the cell that failed, and its error:\n\n{error.source}\n{error}"
    except KeyboardInterrupt:
        message = "Interrupted."
    except Exception:  # a kernel that died, a file that is no notebook: whatever it is, the others still run
        message = traceback.format_exc()
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss  # of the kernel and what it started
    sender.send((message, peak if sys.platform == "darwin" else peak * 1024))


def _interrupt_once(number, frame) -> None:
    """Unwind as Ctrl-C does, so that papermill ends the kernel, and let no second signal disturb it."""
    for either in (signal.SIGINT, signal.SIGTERM):
        signal.signal(either, lambda *_: None)
    raise KeyboardInterrupt


@contextmanager
def _terminated_like_interrupted():
    """Let SIGTERM (a time limit, ``docker stop``) end the run as Ctrl-C does, so that no kernel is left behind."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
