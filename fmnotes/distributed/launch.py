"""Start processes on this machine, follow what they do, and leave none of them behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fmnotes.distributed import worker
from fmnotes.distributed.worker import Job


def launch(jobs: Sequence[Job], n: int, told: Callable[[dict], None] = lambda line: None) -> list[list[dict[str, Any]]]:
    """Run jobs one after another in `n` processes, by torchrun.

    Args:
        told: called with {"scheme", "step", "steps", "loss"} after each step.

    Returns:
        for each job, what `run` returned in each process.

    Raises:
        ValueError: if `n` is not positive.
        RuntimeError: if a process failed or was killed: it names its rank, how it ended, and the last checkpoint. The
            other processes have been ended too, as they are when the caller is interrupted.
    """
    if n < 1:
        raise ValueError(f"{n} processes: at least one is needed")
    with tempfile.TemporaryDirectory() as folder:
        file, errors = Path(folder) / "jobs.json", Path(folder) / "errors.txt"
        file.write_text(json.dumps([asdict(job) for job in jobs]))
        with errors.open("wb") as log:
            process = subprocess.Popen(
                [*_torchrun(n), str(file)], stdout=subprocess.PIPE, stderr=log, env=_environment(), text=True
            )
        try:
            for line in process.stdout:
                if line.startswith("{"):
                    told(json.loads(line))
            process.wait()
        finally:
            _end(process)
        if process.returncode:
            raise RuntimeError(_what_happened(errors.read_text(errors="replace"), n, jobs))
        ranks = [json.loads((file.parent / f"rank-{rank}.json").read_text()) for rank in range(n)]
    return [list(of_job) for of_job in zip(*ranks, strict=True)]


def _torchrun(n: int) -> list[str]:
    """Its address is this machine's own, on a port that is free: nothing is asked of a network."""
    own = ["--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0", "--local-addr", "127.0.0.1"]
    options = ["--nproc-per-node", str(n), *own, "-m", worker.__name__]
    return [sys.executable, "-m", "torch.distributed.run", *options]


def _environment() -> dict[str, str]:
    here = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


def _end(process: subprocess.Popen) -> None:
    """Ask torchrun to stop, which stops its processes; these end by themselves should it be killed."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    process.stdout.close()


def _what_happened(errors: str, n: int, jobs: Sequence[Job]) -> str:
    """The first failure that torchrun reports, in a sentence."""
    cause = re.search(r"Root Cause.*?rank\s*:\s*(\d+).*?exitcode\s*:\s*(-?\d+)", errors, re.DOTALL)
    if not cause:
        return f"torchrun failed before its {n} processes ran: {errors.strip()[-800:]}"
    rank, code = map(int, cause.groups())
    if code < 0:
        how = f"was killed by {signal.Signals(-code).name}"
    else:
        own = re.findall(rf"^\[rank{rank}\]: (\w+(?:Error|Exception|Interrupt).*)$", errors, re.MULTILINE)
        how = f"failed: {own[-1]}" if own else f"ended with code {code}"
    return f"rank {rank} of {n} {how}; the other processes were stopped{_last(jobs)}"


def _last(jobs: Sequence[Job]) -> str:
    folders = [Path(job.folder) for job in jobs if job.folder]
    found = [path for folder in folders for path in worker.checkpoint.complete(folder)]
    if not folders:
        return ""
    return (
        f". The last checkpoint is {found[-1]}; the same jobs go on from it"
        if found
        else ". No checkpoint is there yet"
    )
