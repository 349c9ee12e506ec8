"""``--json`` of ``run`` and ``add``: what happens, for schedulers and other programs, one JSON object a line."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgeprep.commands.terminal import console
from forgeprep.errors import ForgeprepError, one_line

if TYPE_CHECKING:
    from forgeprep.pipeline.run import Result
    from forgeprep.pipeline.run_folder import Prepared

Emit = Callable[..., None]
"""``emit(event, **facts)`` prints an event; without ``--json`` it does nothing."""


@contextmanager
def events(wanted: bool) -> Iterator[Emit]:
    """Inside, events go to standard output and all text for people to standard error.

    The last one is ``finished``, whatever happens; the caller emits it where the command comes to its own end.
    """
    if not wanted:
        yield lambda event, **facts: None
        return
    console.stderr = True
    try:
        yield _emit
    except BaseException as error:
        own = isinstance(error, ForgeprepError)
        code = error.exit_code if isinstance(error, ForgeprepError) else getattr(error, "code", None) or 1
        _emit(
            "finished", exit_code=code, error=one_line(error) if own else one_line(f"{type(error).__name__}: {error}")
        )
        raise
    finally:
        console.stderr = False


def _emit(event: str, **facts: Any) -> None:
    at = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    print(json.dumps({"event": event, "time": at, **facts}, allow_nan=False), flush=True)


def emit_planned(emit: Emit, prepared: Prepared) -> None:
    """What is to be made in all, with what is there already."""
    shards = prepared.shards
    emit(
        "planned",
        dataset=prepared.config.dataset,
        root=str(prepared.root),
        out=str(prepared.out),
        shards=len(shards),
        clips=sum(shard.clips for shard in shards),
        frames=sum(shard.requested for shard in shards),
    )


def emit_drops(emit: Emit, out: Path) -> None:
    """The samples of a finished run that could not be made, by reason."""
    import pyarrow.parquet as pq

    from forgeprep.io.storage import parquet_source
    from forgeprep.shards.names import table_path

    reasons = Counter(pq.read_table(parquet_source(table_path(out, "drops")), columns=["reason"])["reason"].to_pylist())
    emit("drops", total=reasons.total(), reasons=dict(sorted(reasons.items())))


def emit_finished(emit: Emit, result: Result) -> int:
    """How the run ended; returns its exit code."""
    code = 1 if result.failed else 0
    counts = {"made": len(result.made), "kept": len(result.kept), "failed": len(result.failed)}
    emit("finished", exit_code=code, shards=counts)
    return code
