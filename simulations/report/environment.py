"""What a measurement was made with. Nothing here names the host, the user or a folder."""

import os
import platform
from importlib import metadata
from pathlib import Path

PACKAGES = ("torch", "numpy", "polars", "slicerank")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that carry the numbers."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed (run from its source)"
    return found


def machine() -> dict[str, str | int | float]:
    """CPU model, cores this process may use, torch's threads, memory in GiB, the GPU where there is one."""
    import torch

    found: dict[str, str | int | float] = {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_model(),
        "cores": _cores(),
        "threads": torch.get_num_threads(),
    }
    memory = _memory_gib()
    if memory is not None:
        found["memory_gib"] = memory
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name(0)
    return found


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name" and value.strip():
                return value.strip()
    return platform.processor() or platform.machine() or "unknown"


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory_gib() -> float | None:
    """Physical memory, or None where the system does not tell."""
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
    return round(size / 2**30, 1)
