"""What a training has seen: the sources and people of its samples, so that nobody takes figures on them for a test."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from forgeprep.errors import ForgeprepError, UsageError
from forgeprep.io.json_files import write_json
from forgeprep.io.safe_files import LIST_BYTES, read_json
from forgeprep.io.storage import to_path
from forgeprep.shards.read import shard_paths
from forgeprep.text import counted
from forgeprep.training.evaluation.truth import ClipFacts, clip_facts

FILE = "sources.json"
"""In a training's folder: split -> ``sources`` and ``people`` of its samples, names that begin with the dataset."""
_ANYONES = ("crops", "folder", "manifest")
"""Datasets of people's own, of which two may hold other videos by the same names: sizes tell them apart."""

Known = dict[str, dict[str, set[str]]]


def note_sources(run: Path, config: Mapping[str, Any]) -> None:
    """Write into a training's folder what it is about to see, what it has seen before, as of a run that grew, and what
    those have seen that it begins from."""
    known = _in_shards(config)
    for more in (_read(run), *_before(config, {run.resolve()})):
        _add(known, more)
    told = {split: {kind: sorted(names) for kind, names in kinds.items()} for split, kinds in known.items()}
    write_json(run / FILE, told)


def seen(run: Path, config: Mapping[str, Any], clips: Iterable[ClipFacts]) -> dict[str, Any] | None:
    """How many sources and people of ``clips`` a training has seen; None where nobody knows any more.

    Trainings that it began from, or whose features it learnt from, count as well. Of trainings of earlier versions the
    shards tell, while they are there.

    Returns:
        ``sources`` and ``people``: how many there are; ``train`` and ``val``: how many of these sources were in these
        splits of the training; ``people_train``: how many of the people were in train.
    """
    known = _known(run, config, set())
    if known is None:
        return None
    own = _names(clips)
    splits = {split: len(own["sources"] & known[split]["sources"]) for split in ("train", "val")}
    people = len(own["people"] & known["train"]["people"])
    return {"sources": len(own["sources"]), **splits, "people": len(own["people"]), "people_train": people}


def seen_line(found: Mapping[str, Any] | None) -> str:
    """What :func:`seen` found, in a line."""
    if found is None:
        return "Whether its sources were in this training is not known: it tells none, and its shards are gone."
    told = f"{found['train']:,} of {counted(found['sources'], 'source')} were in this training"
    # Where each source is a person of its own, the sources say all.
    if found["people_train"] and (found["people_train"], found["people"]) != (found["train"], found["sources"]):
        told += f", {found['people_train']:,} of {counted(found['people'], 'person', 'people')}"
    told += f", {found['val']:,} in its val" if found["val"] else ""
    known = found["train"] or found["people_train"] or found["val"]
    return f"{told}: figures on what it knows are no test." if known else f"{told}."


def _known(run: Path, config: Mapping[str, Any], been: set[Path]) -> Known | None:
    """What a training has seen, and those before it; ``been``: the folders that were looked at."""
    been.add(run.resolve())
    known = _read(run)
    if known is not None:
        return known
    try:
        known = _in_shards(config)
    except ForgeprepError:
        return None
    for more in _before(config, been):
        _add(known, more)
    return known


def _before(config: Mapping[str, Any], been: set[Path]) -> Iterator[Known | None]:
    """What the trainings have seen that one began from, or whose features it learns from."""
    for other in (config.get("init"), (config.get("options") or {}).get("features")):
        if isinstance(other, str) and Path(other).resolve() not in been:
            with suppress(OSError, ValueError):
                yield _known(Path(other), read_json(Path(other) / "config.json"), been)


def _add(known: Known, more: Known | None) -> None:
    for split, kinds in (more or {}).items():
        for kind, names in kinds.items():
            known[split][kind] |= names


def _read(run: Path) -> Known | None:
    """What stands in the folder; None where nothing does."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        told = read_json(run / FILE, LIST_BYTES)
        return {split: {kind: set(told[split][kind]) for kind in ("sources", "people")} for split in ("train", "val")}
    return None


def _in_shards(config: Mapping[str, Any]) -> Known:
    """What a training of this ``config.json`` sees.

    Raises:
        ForgeprepError: a run is not there any more, or damaged.
    """
    kind, methods = config.get("kind"), (config.get("recipe") or {}).get("methods")
    if methods is None and kind and kind[0] == "method":
        methods = [kind[1]]
    outs = [to_path(text) for text in config["shards"]]
    for out in outs:
        if not (shard_paths(out, "train") or shard_paths(out, "val")):
            raise UsageError(f"{out}: its shards are gone")
    return {split: _names(_clips(outs, split, methods)) for split in ("train", "val")}


def _clips(outs: Sequence[Path], split: str, methods: Collection[str] | None) -> Iterable[ClipFacts]:
    """The clips of a split, which not all runs need to have."""
    for out in outs:
        for clip in clip_facts(out, split)[0].values() if shard_paths(out, split) else ():
            if methods is None or clip.method is None or clip.method in methods:
                yield clip


def _names(clips: Iterable[ClipFacts]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {"sources": set(), "people": set()}
    for clip in clips:
        dataset = clip.group.partition("/")[0]
        found["sources"].add(f"{clip.group} {clip.size}" if dataset in _ANYONES and clip.size else clip.group)
        found["people"] |= {f"{dataset}/{person}" for person in clip.people}
    return found
