"""Make the commit records of a finished run again from its tables, as a copy without ``state/`` needs them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from forgeprep.errors import VerifyError
from forgeprep.io.lock import locked
from forgeprep.io.storage import parquet_source
from forgeprep.pipeline.configure import settings_of, shard_keys
from forgeprep.pipeline.plan import open_plan
from forgeprep.schemas.drops import DROP_SCHEMA
from forgeprep.schemas.renamed import CLIP_COLUMNS_RENAMED, current_row
from forgeprep.schemas.splits import with_read_split
from forgeprep.shards.names import TABLES, table_path
from forgeprep.shards.records import files_there, read_record, read_run, write_record
from forgeprep.shards.remedies import for_this_run

_FILE = ("path", "format", "rows", "bytes", "sha256")


def rebuild_records(out: Path) -> int:
    """Write the records that are missing or damaged, of all shards whose files are there; returns how many.

    They say what the tables say; whether the files are what the tables say is for
    :func:`forgeprep.shards.verify.verify` to find out.

    Raises:
        UsageError: the folder holds no run, or another process works there.
        VerifyError: a table or the plan is missing, damaged, or of another run.
        StorageError: a record cannot be written.
    """
    run = read_run(out)
    settings, formats = settings_of(run), len(run.get("formats") or ["parquet"])
    plan = open_plan(table_path(out, "plan"))
    files, clips, drops = (_rows(table_path(out, name), run, out) for name in TABLES)
    if len(files) != formats * len(plan.briefs):
        text = f"{table_path(out, 'shards')}: does not list the shards of the plan; run again to remake it"
        raise VerifyError(for_this_run(text, run, out))
    count = 0
    with locked(out, "OUT"):
        for number, brief in enumerate(plan.briefs):
            if read_record(out, brief.name) is not None:
                continue
            members = {clip.clip_id for group in plan.shard(number).groups for clip in group.clips}
            its_clips = [clip for clip in clips if clip["clip_id"] in members]
            its_drops = [[drop[name] for name in DROP_SCHEMA.names] for drop in drops if drop["clip_id"] in members]
            rows = sum(clip["written"] for clip in its_clips)
            record = {
                "key": shard_keys(settings, brief.name, brief.inputs)[0],
                "split": brief.split,
                "schema_version": run.get("schema_version", 0),
                "shard": brief.name,
                "stages": list(run["stages"]),
                # The table has them in the plan's order.
                "files": [{name: file[name] for name in _FILE} for file in files[number * formats :][:formats]],
                "rows": rows,
                "planned": rows + len(its_drops),
                "requested": brief.requested,
                "drops": its_drops,
                "clips": its_clips,
            }
            if files_there(out, record):
                write_record(out, record)
                count += 1
    return count


def _rows(path: Path, run: Mapping[str, Any], out: Path) -> list[dict[str, Any]]:
    try:
        rows: list[dict[str, Any]] = pq.read_table(parquet_source(path)).to_pylist()
    except (OSError, ValueError, pa.ArrowException) as error:
        text = f"{path}: cannot be read ({' '.join(str(error).split())[:200]}); run again to remake it"
        raise VerifyError(for_this_run(text, run, out)) from None
    return [with_read_split(current_row(row, CLIP_COLUMNS_RENAMED)) for row in rows]
