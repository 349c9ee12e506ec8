"""Pack the samples of a run again: other sizes of shards, other formats."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from forgeprep.curate.source import Source, samples_of
from forgeprep.curate.targets import Part, Target, whole
from forgeprep.curate.write import Derived
from forgeprep.pipeline.plan import spread
from forgeprep.schemas.clips import SPLITS, Split
from forgeprep.schemas.drops import DROP_SCHEMA
from forgeprep.shards.names import shard_name

_SOURCE_OF_DROP = DROP_SCHEMA.get_field_index("source_id")


def repacked(source: Source, shard_size: int | None, formats: Sequence[str] | None) -> Derived:
    """The run with shards of about so many samples, and in these formats; None leaves them as they are.

    A source group stays in one shard. Equal runs give equal bytes, however they were packed before.
    """
    update = {"shard_size": shard_size, "formats": tuple(formats) if formats else None}
    config = source.config.model_copy(update={name: value for name, value in update.items() if value is not None})
    if shard_size is None:
        targets = [whole(record["shard"], 0, number, record) for number, record in enumerate(source.records)]
    else:
        targets = [target for split in SPLITS for target in _of_split(source, split, shard_size)]
    return Derived((source,), tuple(targets), config, step_of(shard_size, formats), source.official)


def step_of(shard_size: int | None, formats: Sequence[str] | None) -> dict[str, Any]:
    """What ``run.json`` says of shards that were packed again."""
    return {"command": "reshard", "shard_size": shard_size, "formats": list(formats) if formats else None}


def _of_split(source: Source, split: Split, shard_size: int) -> list[Target]:
    mine = [(number, record) for number, record in enumerate(source.records) if record["split"] == split]
    costs: Counter[str] = Counter()
    homes: dict[str, list[int]] = defaultdict(list)
    for number, record in mine:
        for clip in record["clips"]:
            costs[clip["source_id"]] += clip["written"]
            if number not in homes[clip["source_id"]]:
                homes[clip["source_id"]].append(number)
    parts = spread(costs, shard_size) if costs else []
    names = [shard_name(source.config.dataset, split, number) for number in range(len(parts))]
    alone = {tuple(sorted({clip["source_id"] for clip in record["clips"]})): place for place, record in mine}
    tables: dict[int, dict[str, pa.Table]] = {}
    targets = []
    for name, sources in zip(names, parts, strict=True):
        same = alone.get(tuple(sources))
        if same is not None and all(homes[one] == [same] for one in sources):
            targets.append(whole(name, 0, same, source.records[same]))
            continue
        for number in {number for one in sources for number in homes[one]} - tables.keys():
            tables[number] = _by_source(source, number)
        targets.append(_joined(source, name, split, sources, homes, tables))
    return targets


def _joined(
    source: Source,
    name: str,
    split: Split,
    sources: Sequence[str],
    homes: dict[str, list[int]],
    tables: dict[int, dict[str, pa.Table]],
) -> Target:
    parts, clips, drops = [], [], []
    for one in sources:
        for number in homes[one]:
            record = source.records[number]
            if one in tables[number]:
                parts.append(Part(0, number, tables[number][one]))
            clips += [clip for clip in record["clips"] if clip["source_id"] == one]
            drops += [drop for drop in record["drops"] if drop[_SOURCE_OF_DROP] == one]
    return Target(name, split, tuple(parts), tuple(clips), tuple(drops))


def _by_source(source: Source, number: int) -> dict[str, pa.Table]:
    """The places of a shard's samples by their source."""
    record = source.records[number]
    if not record["rows"]:
        return {}
    table = samples_of(source, record)
    found = {}
    for name in pc.unique(table["source_id"].cast(pa.string())).to_pylist():
        mine = table.filter(pc.equal(table["source_id"].cast(pa.string()), name))
        found[name] = mine.select(["sample_id", "first", "second"])
    return found
