"""``forgeprep verify``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from forgeprep.commands.flags import Debug, Json, Out
from forgeprep.commands.groups import single
from forgeprep.text import counted


def verify(
    out: Out,
    as_json: Json = False,
    rebuild: Annotated[
        bool,
        typer.Option(
            "--rebuild",
            help="First make missing records again from the tables, as for a copy without state/. [default: off]",
        ),
    ] = False,
    debug: Debug = False,
) -> None:
    """Check every shard against its records.

    Checksums, schema, counts, pictures. Exit code 1 and a list if something is off.
    """
    from dataclasses import asdict

    from forgeprep.commands.terminal import console, print_json
    from forgeprep.errors import ForgeprepError
    from forgeprep.io.lock import last_holder
    from forgeprep.shards.records import read_run
    from forgeprep.shards.verify import verify as problems_of
    from forgeprep.stages import columns_of

    holder = last_holder(out)
    if holder is not None and holder.works:
        raise ForgeprepError(f"{out}: a command is working here ({holder.process}); verify when it has ended")
    if rebuild:
        from forgeprep.pipeline.rebuild import rebuild_records

        count = rebuild_records(out)
        if not as_json:
            console.print(f"{out}: {count:,} records made again from the tables", markup=False)
    problems = problems_of(out, columns=columns_of(read_run(out)))
    rows = None if problems else _rows(out)
    if as_json:
        print_json({"out": str(out), "whole": not problems, "rows": rows, "problems": [asdict(p) for p in problems]})
        sys.exit(1 if problems else 0)
    for problem in problems:
        console.print(f"{problem.where}: {problem.what}", markup=False)
    if problems:
        console.print(f"{out}: {counted(len(problems), 'problem')}", markup=False)
        sys.exit(1)
    console.print(f"{out}: all shards are whole ({counted(rows or 0, 'row')})", markup=False)


app = single(verify, examples="forgeprep verify shards\nforgeprep verify copy --rebuild")


def _rows(out: Path) -> int:
    import pyarrow.parquet as pq

    from forgeprep.io.storage import parquet_source
    from forgeprep.shards.names import table_path

    table = pq.read_table(parquet_source(table_path(out, "clips")), columns=["written"])
    return sum(clip["written"] for clip in table.to_pylist())
