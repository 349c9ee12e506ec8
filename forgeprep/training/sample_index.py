"""Where the samples for training lie, and what they are: columns over all shards of a split, no object a sample."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from forgeprep.datasets import get_dataset
from forgeprep.datasets.taxonomy import LEVELS, class_at
from forgeprep.errors import UsageError, VerifyError, unknown_name
from forgeprep.media import guard
from forgeprep.schemas.clips import SPLITS
from forgeprep.shards.random_access import iter_tables, known_format
from forgeprep.shards.read import shard_paths
from forgeprep.shards.records import read_run, run_meant
from forgeprep.shards.sequences import MARK as SEQUENCES
from forgeprep.training.targets import Target, table_by_target

TAR_GROUP = 64
"""Samples of a tar that count as a row group."""

_STAGES = {"mask": "mask", "mask_magnitude": "mask", "noise": "noise"}
_TREE = ("label", "forgery", "family", "method")
_SIDES = ("width", "height")
_MEMORY = 8 << 30
"""What an index may take: of hostile shards, whose few bytes claim more, it would take all."""

Ints = npt.NDArray[np.int64]
AnyInts = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True)
class SampleIndex:
    """Where all samples of a split lie; arrays of one length, in the order of the shards, as narrow as they can be.

    Attributes:
        paths: the shards.
        shard, first, second: place of each sample, see :class:`forgeprep.shards.random_access.Place`.
        group: number of its row group, over all shards.
        label: 0 real, 1 fake.
        method: number of its method in ``methods``, which begins with None, the reals.
        columns: what the shards hold.
        enlarge: crop over face box, the least of all samples.
        classes: the classes at each level of the label tree, real first.
        parts: where a sequence is made of rows: the frames' own index, and the numbers there of each one's, (N, T).
        frames: where a row is a sequence already: so many of its frames are taken, evenly spread, or repeated.
        crop_size: side in pixels that all crops of the split have; None where they differ, as at native resolution.
        target: the column that ``label`` is of.
    """

    paths: tuple[Path, ...]
    shard: AnyInts
    first: AnyInts
    second: AnyInts
    group: AnyInts
    label: AnyInts
    method: AnyInts
    methods: tuple[str | None, ...]
    columns: frozenset[str]
    enlarge: float
    classes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    frames: int = 0
    parts: tuple[SampleIndex, Ints] | None = None
    crop_size: int | None = None
    target: Target = "label"

    def __len__(self) -> int:
        return len(self.label)


def load_index(
    outs: Sequence[Path],
    split: str,
    needs: Sequence[str] = (),
    *,
    only: Collection[str] | None = None,
    kind: tuple[str, str] | None = None,
    numbered: Sequence[str | None] = (None,),
    target: Target = "label",
) -> SampleIndex:
    """The samples of a split in the runs at ``outs``.

    Args:
        outs: folders of runs.
        split: train, val or test.
        needs: of ``mask`` and ``noise``; the shards have to hold them.
        only: fakes of these methods, and all reals.
        kind: fakes with this value in this column (forgery, family or method), and all reals.
        numbered: methods that have numbers already; others follow these.
        target: the column that is taken as the label; samples of which it is null are left out.

    Raises:
        UsageError: no run, no sample, no such method, or a column is missing; the message names the stage to add.
        VerifyError: a shard is damaged.
    """
    paths = [path for out in outs for path in shard_paths(out, split)]
    where = ", ".join(map(str, outs))
    if not paths:
        raise UsageError(f"{where}: no shards of the split '{split}'; {_remedy(outs, split)}")
    try:
        columns = check_columns(paths, needs)
        with guard.memory(_MEMORY):
            table = _read_index(paths, target)
    except VerifyError as error:
        if error.__cause__ is None:  # Not damaged: a newer forgeprep made it, and the message says what to do.
            raise
        raise VerifyError(f"{error}; forgeprep verify tells more") from error
    if not table.num_rows and target != "label":
        raise UsageError(f"{where}: of no sample of the split '{split}' the {target} is known; learn 'label'")
    if not table.num_rows:
        raise UsageError(f"{where}: the split '{split}' holds no sample")
    enlarge, size = float(pc.min(table["enlarge"]).as_py()), _one_size(table)
    there = _distinct(table["method"])
    if only is not None:
        for name in only:
            if name not in there:
                raise unknown_name("method", name, sorted(there))
        table = table.filter(pc.or_(pc.is_null(table["method"]), _is_in(table["method"], only)))
    if kind is not None:
        table = table.filter(pc.or_(pc.equal(table["label"], 0), _is_in(table[kind[0]], [kind[1]])))
    methods = (*numbered, *sorted(_distinct(table["method"]) - set(numbered)))
    kinds = table.group_by(list(_TREE)).aggregate([]).to_pylist()
    arrays = {name: table[name].to_numpy() for name in ("shard", "first", "second", "group", "label")}
    return SampleIndex(
        tuple(paths), **arrays, method=_codes(table["method"], methods), methods=methods, columns=columns,
        enlarge=enlarge, classes=_classes(kinds), crop_size=size, target=target,
    )  # fmt: skip


def _remedy(outs: Sequence[Path], split: str) -> str:
    """What to do about a split that is not there."""
    if split != "val" or not any(shard_paths(out, "train") for out in outs):
        return run_meant(*outs)
    why = "the best state is chosen on it"
    with suppress(UsageError):
        config: Any = read_run(outs[0]).get("config") or {}
        if "val" not in (config.get("splits") or SPLITS):
            return f"{why}: make the run again with --splits train,val,test"
        options = get_dataset(str(config.get("dataset"))).params.model_fields
        flag = next((f"{name}={value}" for name, value in _VAL_OPTIONS.items() if name in options), None)
        if flag is not None:
            return f"{why}: make the run again with --option {flag}, in a new folder"
    return f"{why}: give a run that has one with --shards too"


_VAL_OPTIONS = {"val": "0.2", "ratios": "0.6,0.2,0.2"}
"""Options of datasets that make a val, and values that do."""


def refuse_same_samples(outs: Sequence[Path]) -> None:
    """Raise UsageError where two runs hold the same samples, in whichever splits.

    They would count twice, and one that is in train of the one and val of the other would be no test.
    """
    seen: list[tuple[Path, pa.Array]] = []
    for out in outs if len(outs) > 1 else ():
        tables = [table for path in shard_paths(out) for table in iter_tables(path, ["sample_id"])]
        chunks = [chunk for table in tables for chunk in table["sample_id"].cast(pa.string()).chunks]
        ids = pa.chunked_array(chunks, pa.string()).combine_chunks()
        for other, known in seen:
            count = pc.sum(pc.is_in(ids, value_set=known)).as_py() or 0
            if count:
                raise UsageError(
                    f"{other} and {out} hold {count:,} of the same samples; leave one out, or put them together with "
                    f"'forgeprep merge {other} {out} --out NEW'"
                )
        seen.append((out, ids))


def _read_index(paths: Sequence[Path], target: Target) -> pa.Table:
    """Place, row group, and what the index is made from, of all samples, a row each; names as dictionaries."""
    tables: list[pa.Table] = []
    groups = 0
    for number, path in enumerate(paths):
        for table in iter_tables(path, list(dict.fromkeys(["enlarge", "image_size", *_TREE, target]))):
            if target not in table.column_names:
                raise UsageError(
                    f"{path}: has no column '{target}', which the training is to learn; make the run again"
                )
            # A table is a row group of a Parquet file, else a multiple of TAR_GROUP samples.
            rows = np.arange(table.num_rows)
            group = groups + (rows // TAR_GROUP if path.suffix != ".parquet" else rows * 0)
            groups = int(group[-1]) + 1 if len(group) else groups
            try:
                made = _index_rows(
                    table_by_target(table.append_column("group", pa.array(group.astype(np.int32))), target)
                )
            except (KeyError, MemoryError, pa.ArrowException) as error:
                raise VerifyError(f"{path}: {' '.join(str(error).split())}") from error
            made["shard"] = pa.array(np.full(len(made["label"]), number, np.int32))
            tables.append(pa.table(made))
    return pa.concat_tables(tables).unify_dictionaries() if tables else pa.table({})


def _index_rows(table: pa.Table) -> dict[str, pa.ChunkedArray]:
    return {
        "first": table["first"],
        "second": table["second"],
        "group": table["group"],
        "label": table["label"].cast(pa.int8()),
        "enlarge": table["enlarge"].cast(pa.float64()),
        **{name: pc.list_element(table["image_size"], at).cast(pa.int32()) for at, name in enumerate(_SIDES)},
        **{name: table[name].cast(pa.string()).dictionary_encode() for name in _TREE[1:]},
    }


def _one_size(table: pa.Table) -> int | None:
    """The side that all crops have, or None."""
    first, *others = table.group_by(list(_SIDES)).aggregate([]).to_pylist()
    return int(first["width"]) if not others and first["width"] == first["height"] else None


def _distinct(column: pa.ChunkedArray) -> set[str]:
    return {name for name in pc.unique(column.cast(pa.string())).to_pylist() if name is not None}


def _is_in(column: pa.ChunkedArray, names: Collection[str]) -> pa.ChunkedArray:
    return pc.is_in(column.cast(pa.string()), value_set=pa.array(list(names), pa.string()))


def _codes(column: pa.ChunkedArray, names: Sequence[str | None]) -> npt.NDArray[np.int32]:
    """The number of each name; that of None is the first None's."""
    found = pc.index_in(column.cast(pa.string()), value_set=pa.array(names, pa.string()))
    return np.asarray(found.to_numpy(), np.int32)


def read_columns(index: SampleIndex, columns: Sequence[str]) -> pa.Table:
    """Value columns of all samples of an index, in its order; columns that a shard lacks are left out.

    Raises:
        VerifyError: a shard is damaged.
    """
    tables: list[pa.Table] = []
    for number, path in enumerate(index.paths):
        at, end = (int(place) for place in np.searchsorted(index.shard, [number, number + 1]))
        for table in iter_tables(path, columns) if at < end else ():
            keys = _keys(path, table["first"].to_numpy(), table["second"].to_numpy())
            own = _keys(path, index.first[at:end], index.second[at:end])
            taken = np.flatnonzero(np.isin(keys, own))
            tables.append(table.drop_columns(["first", "second"]).take(pa.array(taken)))
    return pa.concat_tables(tables, promote_options="default")


def _keys(path: Path, first: AnyInts, second: AnyInts) -> Ints:
    """A number for each place in a shard: its first number; in a Parquet file, row group and row."""
    begin = np.asarray(first, np.int64)
    return begin if path.suffix != ".parquet" else (begin << 32) | np.asarray(second, np.int64)


def read_values(index: SampleIndex, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows of :func:`read_columns` as dicts."""
    for batch in read_columns(index, columns).to_batches(max_chunksize=4096):
        yield from batch.to_pylist()


def sequence_index(index: SampleIndex, *, frames: int, step: int = 1) -> SampleIndex:
    """The sequences of an index: of each track every ``step``-th sample, ``frames`` of them, then the next so many.

    What is left at a track's end is covered by a sequence that ends with it. A track that is too short for one gives
    one whose frames repeat; a single picture gives none. A sequence is fake if any of its frames is.

    Raises:
        UsageError: all samples are single pictures.
    """
    table = read_columns(index, ["clip_id", "track_id", "frame_index"])
    clip = table["clip_id"].combine_chunks().dictionary_encode().indices.to_numpy()
    track, frame = (table[name].to_numpy() for name in ("track_id", "frame_index"))
    order = np.lexsort((frame, track, clip))
    ends = np.flatnonzero((np.diff(clip[order]) != 0) | (np.diff(track[order]) != 0)) + 1
    long = (frames - 1) * step + 1
    members: list[Ints] = []
    for numbers in np.split(order, ends):
        if 1 < len(numbers) < long:
            members.append(numbers[np.linspace(0, len(numbers) - 1, frames).round().astype(int)])
        starts = list(range(0, len(numbers) - long + 1, long)) if len(numbers) > 1 else []
        if starts and starts[-1] + long < len(numbers):
            starts.append(len(numbers) - long)
        members += [numbers[start : start + long : step] for start in starts]
    if not members:
        raise UsageError(f"{index.paths[0]}: holds single pictures alone; sequences need frames of videos")
    found = np.stack(members)
    found = found[np.lexsort(found.T[::-1])]
    first = found[:, 0]
    return replace(
        index, shard=index.shard[first], first=index.first[first], second=index.second[first], group=index.group[first],
        label=index.label[found].max(axis=1), method=index.method[found].max(axis=1), parts=(index, found),
    )  # fmt: skip


def frames_alone(index: SampleIndex) -> SampleIndex:
    """The index, whose samples have to be single frames; raises UsageError for shards of sequences."""
    if SEQUENCES in index.columns:
        raise UsageError(
            f"{index.paths[0]}: its samples are sequences (--sequence-length); this model takes "
            "single frames: make shards without --sequence-length"
        )
    return index


def check_columns(paths: Sequence[Path], needs: Sequence[str]) -> frozenset[str]:
    """The columns that all of these shards hold.

    Raises:
        UsageError: one of ``needs`` is not among them; the message names the stage to add.
        VerifyError: a shard is damaged.
    """
    found = {path: _columns(path) for path in paths}
    if len({SEQUENCES in columns for columns in found.values()}) > 1:
        raise UsageError(f"{paths[0].parents[2]} and others: sequences and single frames do not go together")
    for name in needs:
        for path, columns in found.items():
            if name not in columns:
                raise UsageError(
                    f"{path}: has no column '{name}'; make the shards with --stages crop,…,{_STAGES[name]}"
                )
    return frozenset.intersection(*found.values())


def _classes(kinds: Sequence[dict[str, Any]]) -> dict[str, tuple[str, ...]]:
    """The classes at each level; of ``label`` both always."""
    found = {}
    for level in LEVELS:
        names = {class_at(level, kind) for kind in kinds} | ({"fake"} if level == "label" else set())
        found[level] = ("real", *sorted(name for name in names if name is not None and name != "real"))
    return found


def _columns(path: Path) -> frozenset[str]:
    found = known_format(path).read_schema(path) or {}
    names = frozenset(found)
    # In a tar, a picture that is null has no file; what the stage `mask` has made is told by its other columns.
    return names | ({"mask", "mask_magnitude"} if "mask_source" in names and None in found.values() else set())
