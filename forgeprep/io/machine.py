"""How many CPUs and how much memory this process may use: what the machine has, less what a container leaves of it."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")


def usable_cpus() -> int:
    """CPUs that this process may use at a time: those it is bound to, and no more than its cgroups' quotas; at least 1.

    A quota of 1.5 CPUs counts as 1.
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.floor(min([bound, *_quotas()])))


def usable_memory() -> int | None:
    """Bytes of memory that this process and its children may take together; None where the system does not say."""
    try:
        machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None
    return min([machine, *_memory_limits()])


def used_memory() -> int | None:
    """Bytes that the innermost cgroup with a limit has taken already; None without one."""
    for folder in _own_folders("memory"):
        for name, limit in (("memory.current", "memory.max"), ("memory.usage_in_bytes", "memory.limit_in_bytes")):
            if _number(folder / limit) is not None and (used := _number(folder / name)) is not None:
                return used
    return None


def _quotas() -> Iterator[float]:
    """CPUs that each of the process's cgroups may use; those without a quota are left out."""
    for folder in _own_folders("cpu"):
        words = _read(folder / "cpu.max").split() or [
            _read(folder / "cpu.cfs_quota_us").strip(),
            _read(folder / "cpu.cfs_period_us").strip(),
        ]
        # "max 100000" and "-1 100000" are no quota.
        if len(words) == 2 and all(word.isdigit() and int(word) for word in words):
            yield int(words[0]) / int(words[1])


def _memory_limits() -> Iterator[int]:
    for folder in _own_folders("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limit = _number(folder / name)
            if limit:
                yield limit


def _own_folders(controller: str) -> Iterator[Path]:
    """The folders of this process's cgroups, versions 2 and 1, each with all above it: their limits hold, too.

    In a container that does not see its own path, only the top is found, which is then the container's.
    """
    for line in _read(OWN_GROUPS).splitlines():
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if number == "0":
            tops = [CGROUPS, CGROUPS / "unified"]
        elif controller in names.split(","):
            tops = [CGROUPS / controller, CGROUPS / names]
        else:
            continue
        for top in tops:
            own = top / path.strip("/")
            yield from (folder for folder in (own, *own.parents) if folder == top or folder.is_relative_to(top))


def _number(path: Path) -> int | None:
    text = _read(path).strip()
    return int(text) if text.isdigit() else None


def _read(path: Path) -> str:
    with suppress(OSError, ValueError):
        return path.read_text(encoding="utf-8")
    return ""
