"""What was measured, and on what."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

from whole.running import BENCH_PYTHON

PACKAGES = ("duckdb", "dbt-core", "dbt-duckdb", "great-expectations", "prefect")


def described() -> dict[str, str]:
    """Versions and machine, by what they are of."""
    asked = [str(BENCH_PYTHON), "-c", "import importlib.metadata as m; print(m.version('dlt'))"]
    return {
        "python": platform.python_version(),
        **{package: importlib.metadata.version(package) for package in PACKAGES},
        "dlt": subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip(),
        "cpu": _found("/proc/cpuinfo", "model name") or platform.machine(),
        "cores": str(os.cpu_count()),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB",
        "system": platform.platform(),
    }


def _found(path: str, key: str) -> str | None:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), None)
