"""What helps where a part of a run is lost or damaged: what is said has to be true of this run."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from forgeprep.io.storage import parquet_source, path_of_name
from forgeprep.shards.names import table_path


def without_record(out: Path, known: Collection[str]) -> dict[str, bool]:
    """Files that the run's table lists and that are there, but that no record speaks of.

    Args:
        out: the run's folder.
        known: the paths of files, relative to ``out``, that records speak of.

    Returns:
        path -> whether all files of its shard are as long as the table says, so that ``verify --rebuild`` makes its
        record again.
    """
    try:
        table = pq.read_table(parquet_source(table_path(out, "shards")), columns=["path", "bytes"])
    except (OSError, ValueError, pa.ArrowException):
        return {}
    sizes = {str(row["path"]): row["bytes"] for row in table.to_pylist() if row["path"] not in known}
    there = {path: (out / path).stat().st_size for path in sizes if (out / path).is_file()}
    # A shard's files differ in their suffix, and its name has no dot.
    cut = {path.partition(".")[0] for path, size in sizes.items() if there.get(path) != size}
    return {path: path.partition(".")[0] not in cut for path in there}


def rebuild(out: Path) -> str:
    """The command that makes records again."""
    return f"'forgeprep verify {shlex.quote(str(out))} --rebuild' makes them again from the tables"


def again(run: Mapping[str, Any], out: Path) -> str | None:
    """The command that makes again what is lost of a run; None where none does: what it was made of is gone."""
    steps = run.get("derived") or []
    if run.get("adds_to") and not steps:
        # 'add' needs what is lost; a run that has all stages from the start gives the same.
        stages = ",".join(name for name in run.get("stages", ()) if name != "frames")
        return f"give 'forgeprep run' again with --stages {stages}"
    if not steps:
        return "run again"
    if any(path_of_name(source.get("out", "")).absolute() == out.absolute() for source in steps[-1].get("from", ())):
        return None
    return f"give the same 'forgeprep {steps[-1].get('command')}' command again"


def for_this_run(text: str, run: Mapping[str, Any], out: Path) -> str:
    """A problem's text, with what makes it again in this run for ``run again``."""
    command = again(run, out)
    if command is None:
        text = text.replace("run again to remake it", "take it from a copy of the run")
    return text.replace("run again", command or "take it from a copy of the run")
