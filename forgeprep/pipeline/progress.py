"""How far a shard is, told to whoever watches the run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a shard is: clips finished, samples written, samples dropped."""

    clips: int = 0
    rows: int = 0
    drops: int = 0


Report = Callable[[str, Progress], None]
"""``report(shard, progress)``: called as shards advance; a retried shard starts over."""
