"""Compare two runs: their settings, their samples, and every column of the samples that both have."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from forgeprep.errors import VerifyError
from forgeprep.pipeline.differences import settings_differences
from forgeprep.schemas.drops import DROP_SCHEMA
from forgeprep.schemas.samples import SAMPLE_COLUMNS
from forgeprep.shards.encode import decode_image
from forgeprep.shards.random_access import Place, index_shard, read_at
from forgeprep.shards.read import shard_paths
from forgeprep.shards.records import iter_records, read_run

SHOWN = 5
_MASKS = {"mask", "mask_provided"}
_REASON = DROP_SCHEMA.get_field_index("reason")


@dataclass(slots=True)
class ColumnDifference:
    """How a column differs over the common samples.

    Attributes:
        name: the column.
        samples: samples whose values differ; of pictures, whose pixels differ.
        example: one of these.
        largest: the largest difference of a number, or of a pixel in levels of 255; None for other types.
        mean: the mean absolute difference over the pixels of all compared pictures, or over differing numbers.
        other_size: pictures of another size, whose pixels are not compared.
        mean_iou, least_iou: of masks that are not both empty; None for other columns.
    """

    name: str
    samples: int = 0
    example: str | None = None
    largest: float | None = None
    mean: float | None = None
    other_size: int = 0
    mean_iou: float | None = None
    least_iou: float | None = None


@dataclass(slots=True)
class Comparison:
    """What :func:`compare` found.

    Attributes:
        fingerprints: of both runs.
        settings: configuration and versions that differ, as ``name: A -> B``.
        only_a, only_b: how many samples one run alone has, with the first few.
        common: samples of both.
        columns_only_a, columns_only_b: columns that one run alone has.
        columns: those that differ.
        drops: reason -> drops in A and in B, where these differ.
        by_checksum: all files have equal checksums in both records; nothing was read.
    """

    fingerprints: tuple[str, str]
    settings: list[str] = field(default_factory=list)
    only_a: int = 0
    only_b: int = 0
    examples_a: list[str] = field(default_factory=list)
    examples_b: list[str] = field(default_factory=list)
    common: int = 0
    columns_only_a: list[str] = field(default_factory=list)
    columns_only_b: list[str] = field(default_factory=list)
    columns: list[ColumnDifference] = field(default_factory=list)
    drops: dict[str, tuple[int, int]] = field(default_factory=dict)
    by_checksum: bool = False

    @property
    def same(self) -> bool:
        """Whether both hold the same samples with the same values, however they are packed."""
        return not (self.only_a or self.only_b or self.columns_only_a or self.columns_only_b or self.columns)

    def to_json(self) -> str:
        """All of it, for programs."""
        return json.dumps({"same": self.same, **asdict(self)}, indent=2) + "\n"


@dataclass(slots=True)
class _Tally:
    """A column's figures while samples come in."""

    found: ColumnDifference
    total: float = 0.0
    count: int = 0
    ious: list[float] = field(default_factory=list)


def compare(a: Path, b: Path) -> Comparison:
    """Compare two runs; formats, shard sizes and the order of samples do not matter.

    Memory grows with the number of samples in ``b``, about 300 bytes each; pictures are read one by one.

    Raises:
        UsageError: a folder holds no run.
        VerifyError: a shard is missing or damaged.
    """
    runs = read_run(a), read_run(b)
    found = Comparison((str(runs[0].get("fingerprint")), str(runs[1].get("fingerprint"))))
    found.settings = settings_differences(*runs)
    found.drops = _drops(a, b)
    files = _checksums(a), _checksums(b)
    if files[0] and files[0] == files[1]:
        found.by_checksum = True
        # A shard in several formats has its samples in each of them.
        found.common = sum({path.rpartition(".")[0]: rows for path, (_, rows) in files[0].items()}.values())
        return found
    places = {sample_id: place for path in shard_paths(b) for sample_id, place in index_shard(path)}
    tallies: dict[str, _Tally] = {}
    for path in shard_paths(a):
        for sample_id, place in index_shard(path):
            other = places.pop(sample_id, None)
            if other is None:
                found.only_a += 1
                found.examples_a += [sample_id] if len(found.examples_a) < SHOWN else []
            else:
                found.common += 1
                _compare_samples(place, other, found, tallies)
    found.only_b, found.examples_b = len(places), sorted(places)[:SHOWN]
    order = {column.name: number for number, column in enumerate(SAMPLE_COLUMNS)}
    closed = [_closed(tally) for tally in tallies.values() if tally.found.samples]
    found.columns = sorted(closed, key=lambda c: (order.get(c.name, len(order)), c.name))
    return found


def _compare_samples(a: Place, b: Place, found: Comparison, tallies: dict[str, _Tally]) -> None:
    one, other = read_at(a), read_at(b)
    if found.common == 1:
        found.columns_only_a = [name for name in one if name not in other]
        found.columns_only_b = [name for name in other if name not in one]
    for name in one.keys() & other.keys():
        tally = tallies.setdefault(name, _Tally(ColumnDifference(name)))
        if _differs(one[name], other[name], tally):
            tally.found.samples += 1
            tally.found.example = min(tally.found.example or one["sample_id"], one["sample_id"])


def _differs(a: Any, b: Any, tally: _Tally) -> bool:
    if _is_picture(a) and _is_picture(b):
        return _pictures_differ(a["bytes"], b["bytes"], tally)
    if _are_pictures(a) and _are_pictures(b) and len(a) == len(b):
        # Of a sequence: all are looked at, for the figures.
        return sum(_differs(one, other, tally) for one, other in zip(a, b, strict=True)) > 0
    if a == b:
        return False
    if _are_numbers(a) and _are_numbers(b) and np.shape(a) == np.shape(b):
        apart = np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64))
        if not apart.any():
            return False
        _note(tally, apart)
    return True


def _pictures_differ(a: bytes, b: bytes, tally: _Tally) -> bool:
    if a == b and tally.found.name not in _MASKS:
        tally.count += 1
        return False
    one, other = decode_image(a), decode_image(b)
    if one.shape != other.shape:
        tally.found.other_size += 1
        return True
    if tally.found.name in _MASKS and (one.any() or other.any()):
        tally.ious.append(np.count_nonzero((one > 0) & (other > 0)) / np.count_nonzero((one > 0) | (other > 0)))
    apart = np.abs(one.astype(np.int16) - other)
    _note(tally, apart)
    return bool(apart.any())


def _note(tally: _Tally, apart: Any) -> None:
    tally.found.largest = max(tally.found.largest or 0.0, float(apart.max()))
    tally.total += float(apart.mean())
    tally.count += 1


def _closed(tally: _Tally) -> ColumnDifference:
    found = tally.found
    if found.largest is not None:
        found.mean = tally.total / tally.count
    if tally.ious:
        found.mean_iou, found.least_iou = float(np.mean(tally.ious)), min(tally.ious)
    return found


def _is_picture(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"bytes", "path"}


def _are_pictures(value: Any) -> bool:
    return isinstance(value, list) and any(map(_is_picture, value))


def _are_numbers(value: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    return all(isinstance(item, int | float) for item in values)


def _checksums(out: Path) -> dict[str, tuple[str, int]]:
    """Data file -> checksum and rows; empty if a record or a file is missing."""
    files: dict[str, tuple[str, int]] = {}
    for shard, record in iter_records(out):
        if record is None:
            raise VerifyError(f"{out}/state/{shard}.json: damaged; run again to make this shard")
        for file in record["files"]:
            if not (out / file["path"]).is_file():
                raise VerifyError(f"{out / file['path']}: missing; run again to make this shard")
            files[file["path"]] = file["sha256"], file["rows"]
    return files


def _drops(a: Path, b: Path) -> dict[str, tuple[int, int]]:
    counts = [Counter(d[_REASON] for _, r in iter_records(out) if r is not None for d in r["drops"]) for out in (a, b)]
    reasons = sorted(counts[0].keys() | counts[1].keys())
    return {r: (counts[0][r], counts[1][r]) for r in reasons if counts[0][r] != counts[1][r]}
