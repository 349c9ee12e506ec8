"""Who does the work of ``run`` and ``add``, and the work itself with its progress shown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from forgeprep.errors import UsageError
from forgeprep.io.machine import usable_cpus, usable_memory
from forgeprep.media import guard
from forgeprep.pipeline.executors.ray_start import RayStart, cluster_address
from forgeprep.schemas.resources import Resources
from forgeprep.text import counted

if TYPE_CHECKING:
    from forgeprep.commands.events import Emit
    from forgeprep.pipeline.run import Result
    from forgeprep.pipeline.run_folder import Prepared


@dataclass(frozen=True, slots=True)
class Force:
    """Who does the work; ``workers`` is None for as many as CPUs, memory and shards allow."""

    workers: int | None
    address: str | None
    clip_timeout_s: float
    worker_memory: int
    start_timeout_s: float | None

    def most(self, needs: Resources | None = None) -> int:
        """Workers at most, each of which ``needs`` so much: no more than this process may use CPUs and memory."""
        if self.workers is not None:
            return self.workers
        memory = usable_memory()
        room = usable_cpus() if memory is None else memory // (needs or Resources()).memory
        return max(1, min(usable_cpus(), room))


def force_of(values: Mapping[str, Any]) -> Force:
    """From the flags ``workers``, ``address``, ``clip_timeout``, ``worker_memory`` and ``start_timeout``.

    Without an address, more than one worker are those of the cluster that ``RAY_ADDRESS`` names, if it does.

    Raises:
        UsageError: a value is none, or two do not go together.
    """
    workers, address = _workers(values.get("workers")), values.get("address")
    if address is not None and workers == 0:
        raise UsageError("--workers 0 works in this process, --address on a cluster; give one of them")
    if address is not None or workers is None or workers > 1:
        address = cluster_address(address)
    timeout = _seconds("--clip-timeout", values.get("clip_timeout"))
    start = _seconds("--start-timeout", values.get("start_timeout"))
    memory = _worker_memory(values.get("worker_memory"))
    return Force(workers, address, guard.TIMEOUT_S if timeout is None else timeout, memory, start)


@contextmanager
def ray_begun(force: Force | None) -> Iterator[RayStart | None]:
    """Ray on its way up, where it may be needed."""
    if force is None or (force.address is None and force.most() <= 1):
        yield None
        return
    ray = RayStart(force.most(), force.address or "local")
    try:
        yield ray
    finally:
        ray.end()


def execute_shown(prepared: Prepared, force: Force, ray: RayStart | None, *, nothing: str | None, emit: Emit) -> Result:
    """Make the shards and show what became of them; ``nothing`` is said where all were there already."""
    from forgeprep.commands.events import emit_drops
    from forgeprep.commands.inspect import show_counts
    from forgeprep.commands.progress import live
    from forgeprep.commands.stopping import stoppable
    from forgeprep.commands.terminal import console
    from forgeprep.pipeline.make_shard import resources_of
    from forgeprep.pipeline.run import execute

    most = force.most(resources_of(prepared.config))
    workers = min(most, len(prepared.shards)) if force.workers is None else force.workers
    if ray is not None and force.address is None and workers <= 1:
        ray.end(wait=False)
    with live(prepared, emit) as board, stoppable(prepared.out):
        result = execute(
            prepared,
            workers=workers,
            address=force.address,
            report=board.post,
            ended=board.end_shard,
            ray=ray,
            clip_timeout_s=force.clip_timeout_s,
            worker_memory=force.worker_memory,
            start_timeout_s=force.start_timeout_s,
        )
    board.print_rate(result.kept)
    if nothing and not result.made and not result.failed:
        console.print(nothing)
    for name, message in result.failed:
        console.print(f"failed: shard {name}: {' '.join(message.split())}", markup=False)
    if result.failed:
        console.print(f"{len(result.failed):,} of {counted(len(prepared.shards), 'shard')} failed; the others are kept")
    else:
        show_counts(prepared.out)
        emit_drops(emit, prepared.out)
    return result


def _seconds(flag: str, value: Any) -> float | None:
    if value is None:
        return None
    try:
        seconds = float(value)
    except (TypeError, ValueError, OverflowError):
        seconds = 0.0
    if not 1 <= seconds <= 1e6:
        raise UsageError(f"{flag}: must be a number of seconds from 1 to a million (got {value!r})")
    return seconds


def _worker_memory(value: Any) -> int:
    if value is None:
        return guard.MEMORY
    told = re.fullmatch(r"(\d{1,9}(?:\.\d{1,6})?) *([MGT])i?B?", str(value).strip(), re.IGNORECASE)
    count = int(float(told[1]) * (1 << {"M": 20, "G": 30, "T": 40}[told[2].upper()])) if told else 0
    if not 256 << 20 <= count <= 1 << 50:
        raise UsageError(f"--worker-memory: must be a size of at least 256MB, such as 800MB or 2GB (got {value!r})")
    return count


def _workers(value: Any) -> int | None:
    if value is None:
        return None
    try:
        workers = int(value)
    except (TypeError, ValueError, OverflowError):
        workers = -1
    if not 0 <= workers <= 100_000:
        raise UsageError(f"--workers: must be a whole number from 0 to 100,000 (got {value!r})")
    return workers
