"""One model on many devices, as notebook 02c derives it.

Read `arithmetic.py` (what every device holds, what goes over the wire, and what that means at scale), `worker.py` (what
runs in each process), `checkpoint.py` (written by some processes, read by others), then `launch.py`.
"""

from fmnotes.distributed.arithmetic import (
    DEVICES,
    NODE,
    SCHEMES,
    Device,
    Traffic,
    activation_bytes,
    held,
    ring_bytes,
    step_seconds,
    traffic,
)
from fmnotes.distributed.launch import launch
from fmnotes.distributed.worker import Job, run, units

__all__ = [
    "DEVICES", "NODE", "SCHEMES", "Device", "Job", "Traffic", "activation_bytes", "held", "launch", "ring_bytes", "run",
    "step_seconds", "traffic", "units",
]  # fmt: skip
