"""The rows of a finished shard with the columns of further stages."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from forgeprep.schemas.config import RunConfig
from forgeprep.schemas.samples import MAIN
from forgeprep.shards.encode import decode_image, encode_row
from forgeprep.shards.read import iter_rows
from forgeprep.stages.base import Stage, StageParams, sample_of

BATCH = 32
"""Samples in memory at a time."""


def added_rows(
    out: Path, record: Mapping[str, Any], steps: Sequence[tuple[Stage, StageParams]], config: RunConfig
) -> Iterator[dict[str, Any]]:
    """All rows, pictures encoded; what they hold already stays as it is, byte for byte.

    Args:
        out: the run's folder.
        record: the shard's commit record.
        steps: the further stages, all of them additive.
        config: the run's configuration with these stages.

    Raises:
        VerifyError: the shard is damaged.
    """
    file = record["files"][0]
    columns = [column for stage, _ in steps for column in stage.adds]
    read = {MAIN, *(name for stage, _ in steps for name in stage.reads)}
    rows = iter_rows(out / file["path"], decode=False)
    if not steps:
        yield from rows
        return
    while held := list(itertools.islice(rows, BATCH)):
        samples = [
            sample_of({name: _decoded(value) if name in read else value for name, value in row.items()}) for row in held
        ]
        for stage, params in steps:
            assert stage.apply is not None
            stage.apply(samples, params)
        for row, sample in zip(held, samples, strict=True):
            yield row | encode_row(sample.row(), columns, config.image_format, config.image_quality)


def _decoded(value: Any) -> Any:
    return decode_image(value["bytes"]) if isinstance(value, dict) and value.keys() == {"bytes", "path"} else value
