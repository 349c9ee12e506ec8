"""Put runs together: each sample once, and nobody in two splits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from forgeprep.curate.source import Record, Source, samples_of
from forgeprep.curate.targets import CLIP_OF_DROP, Part, Target, filtered, whole
from forgeprep.curate.write import Derived
from forgeprep.datasets.splits import leak_text, leaks
from forgeprep.errors import UsageError
from forgeprep.pipeline.configure import SELECTION
from forgeprep.pipeline.differences import settings_differences
from forgeprep.schemas.clips import CLIP_SCHEMA, SPLITS, Clip, Split
from forgeprep.schemas.columns import columns_of_run, facts_of
from forgeprep.schemas.config import RunConfig
from forgeprep.schemas.drops import DROP_SCHEMA
from forgeprep.schemas.samples import SAMPLE_COLUMNS
from forgeprep.shards.names import shard_name
from forgeprep.shards.records import sequence_length_of
from forgeprep.text import counted

_OF_CLIP = [one.name for one in fields(Clip) if one.name in CLIP_SCHEMA.names]
_FRAME, _TRACK, _REASON = (DROP_SCHEMA.get_field_index(name) for name in ("frame_index", "track_id", "reason"))
_UNDECODED = ("unreadable", "worker_died", "decode_error", "missing_frame", "past_end")
_NOT_COUNTED = {"requested": (), "decoded": _UNDECODED, "detected": (*_UNDECODED, "no_face")}
"""Counts of a clip's frames, and the drops whose frames are none of them."""
_SPOT = ("frame_index", "original_frame", "track_id")
Spot = tuple[int, int]
"""Frame of the plan and track of a sample."""


@dataclass(slots=True)
class Merged:
    """Runs put together.

    Attributes:
        derived: the run.
        twice: samples that several of the runs hold; the first one's is taken.
        differences: settings in which a later run differs from the first, one line a run.
    """

    derived: Derived
    twice: int = 0
    differences: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Draft:
    """A shard while runs are put together."""

    split: Split
    parts: list[Part]
    clips: dict[str, dict[str, Any]]
    drops: list[Sequence[Any]]
    samples: dict[str, dict[str, Spot]] | None = None


def merged(sources: Sequence[Source]) -> Merged:
    """The run of all samples of these runs.

    Raises:
        UsageError: their samples have other columns, or somebody would stand in two splits.
        VerifyError: a shard is damaged.
    """
    first = sources[0]
    for other in sources[1:]:
        _check_columns(first, other)
    official = _check_splits(sources)
    _check_files(sources)
    drafts: list[_Draft] = []
    homes: dict[str, _Draft] = {}
    twice = 0
    for number, source in enumerate(sources):
        added: list[_Draft] = []
        for place, record in enumerate(source.records):
            twice += _add(sources, number, place, record, homes, drafts, added)
        for draft in added:
            homes |= dict.fromkeys(draft.clips, draft)
    config = _config(sources)
    step = {"command": "merge", "twice": twice}
    targets = tuple(_targets(sources, drafts, config.dataset))
    derived = Derived(tuple(sources), targets, config, step, official)
    return Merged(derived, twice, [text for other in sources[1:] if (text := _differing(first, other))])


def _add(
    sources: Sequence[Source],
    number: int,
    place: int,
    record: Record,
    homes: Mapping[str, _Draft],
    drafts: list[_Draft],
    added: list[_Draft],
) -> int:
    """Take a shard in; returns how many of its samples are there already."""
    common = {clip["clip_id"] for clip in record["clips"]} & homes.keys()
    if not common:
        drafts.append(_draft(whole("", number, place, record)))
        added.append(drafts[-1])
        return 0
    table = samples_of(sources[number], record, _SPOT) if record["rows"] else None
    is_common = (
        None if table is None else pc.is_in(table["clip_id"].cast(pa.string()), value_set=pa.array(sorted(common)))
    )
    own = None if table is None else table.filter(pc.invert(is_common))
    rest = {
        **record,
        "clips": [clip for clip in record["clips"] if clip["clip_id"] not in common],
        "drops": [drop for drop in record["drops"] if drop[CLIP_OF_DROP] not in common],
    }
    target = filtered("", number, place, rest, own, keep_empty=True)
    if target is not None:
        drafts.append(_draft(target))
        added.append(drafts[-1])
    again = 0
    for name in sorted(common):
        mine = None if table is None else table.filter(pc.equal(table["clip_id"].cast(pa.string()), name))
        again += _join_clip(sources, homes[name], name, (number, place), record, mine)
    return again


def _join_clip(
    sources: Sequence[Source], draft: _Draft, name: str, where: tuple[int, int], record: Record, rows: pa.Table | None
) -> int:
    """Add to a clip what another run has of it besides; returns how many of its samples are there already."""
    if draft.samples is None:
        draft.samples = _spots_of(sources, draft)
    have = draft.samples.setdefault(name, {})
    new, old = _spots(rows), list(have.values())
    again = len(new.keys() & have.keys())
    fresh = {sample_id: spot for sample_id, spot in new.items() if sample_id not in have}
    if fresh and rows is not None:
        ids = pa.array(sorted(fresh), pa.string())
        taken = rows.filter(pc.is_in(rows["sample_id"].cast(pa.string()), value_set=ids))
        draft.parts.append(Part(*where, taken.select(["sample_id", "first", "second"])))
        have |= fresh
    ours, more = ([drop for drop in drops if drop[CLIP_OF_DROP] == name] for drops in (draft.drops, record["drops"]))
    counts = {
        key: draft.clips[name][key] + len(_frames(new.values(), more, without) - _frames(old, ours, without))
        for key, without in _NOT_COUNTED.items()
    }
    there = set(have.values())
    frames = {frame for frame, _ in there}
    seen: set[tuple[Any, ...]] = set()
    kept: list[Sequence[Any]] = []
    for drop in [*draft.drops, *more]:
        spot = drop[_FRAME], drop[_TRACK]
        # What one run could not make and another one could is made.
        made = spot in there or (drop[_TRACK] is None and drop[_FRAME] in frames)
        if drop[CLIP_OF_DROP] != name or (not made and spot not in seen):
            kept.append(drop)
        seen |= {spot} if drop[CLIP_OF_DROP] == name else set()
    draft.drops = kept
    draft.clips[name] |= {"written": len(have), **counts}
    return again


def _frames(samples: Iterable[Spot], drops: Iterable[Sequence[Any]], without: Collection[str]) -> set[int]:
    """The frames of samples and of drops, but for drops of these reasons."""
    return {frame for frame, _ in samples} | {drop[_FRAME] for drop in drops if drop[_REASON] not in without}


def _spots_of(sources: Sequence[Source], draft: _Draft) -> dict[str, dict[str, Spot]]:
    """clip_id -> sample_id -> spot, of a shard's rows so far."""
    found: dict[str, dict[str, Spot]] = defaultdict(dict)
    for part in draft.parts:
        record = sources[part.source].records[part.record]
        table = samples_of(sources[part.source], record, _SPOT) if record["rows"] else None
        if table is None:
            continue
        if part.rows is not None:
            ids = part.rows["sample_id"].cast(pa.string()).combine_chunks()
            table = table.filter(pc.is_in(table["sample_id"].cast(pa.string()), value_set=ids))
        for clip_id, (sample_id, spot) in zip(table["clip_id"].to_pylist(), _spots(table).items(), strict=True):
            found[clip_id][sample_id] = spot
    return found


def _spots(rows: pa.Table | None) -> dict[str, Spot]:
    found = {}
    for row in [] if rows is None else rows.select(["sample_id", *_SPOT]).to_pylist():
        # Of a sample of several frames, the first one counts.
        at, of_original = (value[0] if isinstance(value, list) else value for value in list(row.values())[1:3])
        found[row["sample_id"]] = (at if of_original is None else of_original, row["track_id"])
    return found


def _draft(target: Target) -> _Draft:
    clips = {clip["clip_id"]: clip for clip in target.clips}
    return _Draft(target.split, list(target.parts), clips, list(target.drops))


def _targets(sources: Sequence[Source], drafts: Sequence[_Draft], dataset: str) -> Iterator[Target]:
    for split in SPLITS:
        mine = [draft for draft in drafts if draft.split == split]
        for number, draft in enumerate(mine):
            name = shard_name(dataset, split, number)
            yield Target(name, split, tuple(draft.parts), tuple(draft.clips.values()), tuple(draft.drops))


def _config(sources: Sequence[Source]) -> RunConfig:
    """That of the first run, for all datasets and all that was chosen of them; lossy where one of them is."""
    configs = [source.config for source in sources]
    lossy = next((config for config in configs if config.image_format != "png"), configs[0])
    splits = tuple(split for split in SPLITS if any(split in config.splits for config in configs))
    update: dict[str, Any] = {
        "dataset": "+".join(sorted({name for config in configs for name in config.dataset.split("+")})),
        "splits": splits,
        "image_format": lossy.image_format,
        "image_quality": lossy.image_quality,
    }
    for name in ("compression", "methods"):
        given = [getattr(config, name) for config in configs]
        update[name] = None if None in given else tuple(dict.fromkeys(one for names in given for one in names))
    if len(set(update["dataset"].split("+"))) > 1:
        update["options"] = {}
    return configs[0].model_copy(update=update)


def _check_columns(first: Source, other: Source) -> None:
    """Raise UsageError where two runs cannot be one; their stages are named."""
    a, b = first.config.stages, other.config.stages
    if set(a) != set(b):
        lacks = [(first, [name for name in b if name not in a]), (other, [name for name in a if name not in b])]
        told = "; ".join(f"{one.out} lacks {', '.join(names)}" for one, names in lacks if names)
        raise UsageError(f"merge: the runs have other stages ({told}); 'forgeprep add' adds some without the videos")
    lengths = sequence_length_of(first.run), sequence_length_of(other.run)
    if lengths[0] != lengths[1]:
        shown = " and ".join("single frames" if length is None else f"{length} frames" for length in lengths)
        raise UsageError(f"merge: samples of {first.out} and {other.out} are of {shown}; they do not go together")
    columns = [[facts_of(c) | {"doc": ""} for c in columns_of_run(s.run, SAMPLE_COLUMNS)] for s in (first, other)]
    if columns[0] != columns[1]:
        names = {c["name"] for one, two in (columns, columns[::-1]) for c in one if c not in two}
        raise UsageError(f"merge: {first.out} and {other.out} have other columns ({', '.join(sorted(names))})")


def _check_splits(sources: Sequence[Source]) -> bool:
    """Whether leaks that the datasets' authors made are kept; raises UsageError where putting runs together leaks."""
    every = [_clips(source) for source in sources]
    published: set[str] = set()
    for source, clips in zip(sources, every, strict=True):
        published |= leaks(clips).keys() if source.official else set()
    found = leaks(clip for clips in every for clip in clips)
    made = {name: places for name, places in found.items() if name not in published}
    homes: dict[str, str] = {}
    for clip in (clip for clips in every for clip in clips):
        if homes.setdefault(clip.clip_id, clip.split) != clip.split:
            made.setdefault(clip.source_id, found.get(clip.source_id, {clip.split: clip.clip_id}))
    if made:
        who = counted(len(made), "source video or person", "source videos or people")
        raise UsageError(
            f"merge: {who} would stand in more than one split: {leak_text(made)}; "
            "leave one of the runs out, or choose from it first with 'forgeprep select'"
        )
    return bool(found)


def _check_files(sources: Sequence[Source]) -> None:
    """Raise UsageError where two runs mean different files by one clip_id, as own folders of equal names may."""
    files: dict[str, tuple[str, Source]] = {}
    others: list[tuple[str, Source, Source]] = []
    for source in sources:
        for record in source.records:
            for clip in record["clips"]:
                if clip["sha256"] is not None:
                    digest, owner = files.setdefault(clip["clip_id"], (clip["sha256"], source))
                    others += [(clip["clip_id"], owner, source)] if digest != clip["sha256"] else []
    if others:
        name, one, other = others[0]
        raise UsageError(
            f"merge: {len(others):,} clips are other files in one run than in another ({name} in {one.out} and "
            f"{other.out}); give the files of one dataset other names, and make its run again"
        )


def _clips(source: Source) -> list[Clip]:
    return [Clip(**{name: clip[name] for name in _OF_CLIP}) for record in source.records for clip in record["clips"]]


def _differing(first: Source, other: Source) -> str:
    """In which settings and versions two runs differ, besides what was chosen."""
    runs = []
    for source in (first, other):
        config = {k: v for k, v in source.config.model_dump(mode="json").items() if k not in (*SELECTION, "dataset")}
        if source.config.dataset != first.config.dataset or source.config.dataset != other.config.dataset:
            config.pop("options")
        runs.append({"config": config, "versions": source.run.get("versions")})
    told = "; ".join(settings_differences(*runs))
    return f"{other.out}: was made with other settings than {first.out} ({told})" if told else ""
