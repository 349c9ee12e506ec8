"""What a worker needs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Resources:
    """What a worker needs besides one CPU: bytes of memory, and the share of a GPU where there is one."""

    memory: int = 1 << 30
    gpus: float = 0.0
