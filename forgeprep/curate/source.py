"""A finished run that another one is made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from forgeprep.errors import UsageError
from forgeprep.pipeline.plan import Plan, open_plan
from forgeprep.schemas.columns import Column
from forgeprep.schemas.config import RunConfig
from forgeprep.shards.names import table_path
from forgeprep.shards.random_access import iter_tables
from forgeprep.shards.records import file_columns_of, files_there, iter_records, read_record, read_run
from forgeprep.shards.remedies import rebuild, without_record

Record = dict[str, Any]
KEYS = ("sample_id", "source_id", "clip_id")
"""The columns that every table of samples has, besides ``first`` and ``second``, the place in the shard."""


@dataclass(frozen=True, slots=True)
class Source:
    """A run.

    Attributes:
        out: its folder.
        run: its ``run.json``.
        config: what stands there of its configuration.
        plan: its plan.
        records: of its shards, in the plan's order.
    """

    out: Path
    run: dict[str, Any]
    config: RunConfig
    plan: Plan
    records: tuple[Record, ...]

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of its shards."""
        return file_columns_of(self.run)

    @property
    def official(self) -> bool:
        """Whether the dataset's authors made the split."""
        return self.run.get("official_split") is True


def open_source(out: Path) -> Source:
    """A run to make another one of.

    Raises:
        UsageError: the folder holds no run, or one that is not finished.
        VerifyError: its plan is damaged.
    """
    run = read_run(out)
    try:
        config = RunConfig.model_validate(run.get("config"))
    except ValueError:
        raise UsageError(f"{out}/run.json: damaged; make the run again with --overwrite") from None
    plan = open_plan(table_path(out, "plan"))
    records = []
    for brief in plan.briefs:
        record = read_record(out, brief.name)
        # Of a run that stages are being added to, some shards have them already.
        if record is None or not files_there(out, record) or set(record["stages"]) != set(config.stages):
            known = {file["path"] for _, one in iter_records(out) if one for file in one["files"]}
            if record is None and any(without_record(out, known).values()):
                raise UsageError(f"{out}: shards have no record, as in a copy without state/: {rebuild(out)}")
            raise UsageError(f"{out}: shard {brief.name} is not finished; give the run's own command again first")
        records.append(record)
    return Source(out, run, config, plan, tuple(records))


def samples_of(source: Source, record: Record, columns: Sequence[str] = ()) -> pa.Table:
    """The samples of a shard: :data:`KEYS`, further columns as far as there are, and the places.

    Raises:
        VerifyError: the shard is damaged.
    """
    path = source.out / record["files"][0]["path"]
    tables = list(iter_tables(path, list(dict.fromkeys([*KEYS, *columns]))))
    return pa.concat_tables(tables, promote_options="permissive") if tables else None


def all_samples(source: Source, columns: Sequence[str] = ()) -> Iterator[tuple[int, pa.Table]]:
    """Number of the shard and its samples, of all shards that have some."""
    for number, record in enumerate(source.records):
        table = samples_of(source, record, columns) if record["rows"] else None
        if table is not None:
            yield number, table
