"""Where a measurement was taken, and how it is written down."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from grandmodel.core.clock import iso, system_clock
from grandmodel.core.files import write_json_atomic
from pipelines.checkout import commit_of_checkout
from pipelines.workspace import PROJECT

RESULTS = PROJECT / "benchmarks" / "results"


def machine() -> dict[str, Any]:
    """Return processor, cores and Python of this machine."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.system(),
    }


def commit() -> str:
    """Return the commit of the checkout, with ``+changes`` where sources differ from it."""
    return commit_of_checkout("benchmarks/results")


def write(name: str, content: dict[str, Any]) -> Path:
    """Write one result with its circumstances; return the path."""
    path = RESULTS / f"{name}.json"
    write_json_atomic(path, {"measured": iso(system_clock()), "commit": commit(), "machine": machine(), **content})
    return path
