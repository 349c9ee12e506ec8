"""A contact sheet: samples of each method beside their originals, with all annotations."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

from forgeprep.errors import UsageError
from forgeprep.io.atomic import atomic_write_bytes
from forgeprep.report.panels import SheetRow, picture_columns
from forgeprep.shards.encode import encode_image
from forgeprep.shards.random_access import iter_values
from forgeprep.shards.read import find_rows, iter_rows
from forgeprep.shards.records import iter_records, read_run
from forgeprep.shards.sequences import MARK, frame_of, is_sequence, poster, split_frames

Row = dict[str, Any]
Group = tuple[str, str]
"""Method and compression, "" where there is none."""

MAX_ROWS = 240
"""The most rows: matplotlib cannot draw a higher sheet."""

_KEYS = ("sample_id", "clip_id", "frame_index", "track_id")
_SURENESS = ("sample_id", "clip_id", "label", "mask_source", "mask_confidence", "mask_agreement", MARK, "padded")


class Choice(NamedTuple):
    """A sample to show, and why; "" for the samples that are spread evenly."""

    group: Group
    sample_id: str
    why: str = ""


def contact_sheet(out: Path, file: Path, *, samples_per_method: int = 3) -> None:
    """Write a contact sheet of a run as PNG. The same run gives the same samples.

    Per method and compression, half of the samples, rounded down, have the masks of lowest confidence, each of another
    clip; the others are spread over the clips, and over the frames of these. Reals come last.

    Args:
        out: the run's folder.
        file: the PNG to write.
        samples_per_method: rows for each method and compression.

    Raises:
        UsageError: the run has no samples, or the number is less than 1 or makes the sheet too high.
        VerifyError: a shard is damaged.
        StorageError: the file cannot be written.
    """
    from forgeprep.report.draw import draw_sheet

    if samples_per_method < 1:
        raise UsageError(f"samples per method: must be at least 1 (got {samples_per_method})")
    rows = _load(_choose(out, samples_per_method))
    if not rows:
        raise UsageError(f"{out}: has no samples to show; give the --out folder of a run with shards")
    if len(rows) > MAX_ROWS:
        raise UsageError(
            f"{len(rows)} samples are too many for one sheet (at most {MAX_ROWS}); ask for fewer per method"
        )
    atomic_write_bytes(file, encode_image(draw_sheet(rows, picture_columns(read_run(out)))))


def _choose(out: Path, count: int) -> dict[Path, list[Choice]]:
    """Shard -> its samples to show: half of each group's have the least sure masks, the others are spread evenly."""
    clips = _clips(out)
    chosen: dict[Path, list[Choice]] = defaultdict(list)
    taken: dict[Group, set[str]] = defaultdict(set)
    for shard, choice in _least_sure(clips, count // 2):
        chosen[shard].append(choice)
        taken[choice.group].add(choice.sample_id)
    wanted: dict[Path, list[tuple[Group, str, float]]] = defaultdict(list)
    for group, members in clips.items():
        rest = count - len(taken[group])
        for turn in range(rest):
            clip_id, shard = members[_spread(turn, rest, len(members))]
            wanted[shard].append((group, clip_id, (turn + 0.5) / rest))
    for shard, places in wanted.items():
        samples: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
        names = {clip_id for _, clip_id, _ in places}
        for row in iter_rows(shard, _KEYS, decode=False):
            if row["clip_id"] in names:
                samples[row["clip_id"]].append((row["frame_index"], row["track_id"], row["sample_id"]))
        for group, clip_id, part in places:
            # A clip with few samples must not give the same one twice.
            free = [name for *_, name in sorted(samples[clip_id]) if name not in taken[group]]
            if free:
                chosen[shard].append(Choice(group, free[int(part * len(free))]))
                taken[group].add(chosen[shard][-1].sample_id)
    return dict(chosen)


def _least_sure(clips: dict[Group, list[tuple[str, Path]]], count: int) -> list[tuple[Path, Choice]]:
    """The sample with the least sure mask of each clip, for the ``count`` least sure clips of each group.

    How sure a mask is, its confidence says, or else its IoU with the dataset's own mask.
    """
    groups = {clip_id: group for group, members in clips.items() for clip_id, _ in members}
    least: dict[Group, dict[str, tuple[float, str, str, Path]]] = defaultdict(dict)
    for shard in sorted({shard for members in clips.values() for _, shard in members}) if count else ():
        for _, row in iter_values(shard, _SURENESS):
            group = groups.get(row["clip_id"])
            found = _sureness(row)
            if group is not None and found is not None:
                entry = (*found, row["sample_id"], shard)
                least[group][row["clip_id"]] = min(least[group].get(row["clip_id"], entry), entry)
    return [
        (shard, Choice(group, sample_id, f"lowest {name}"))
        for group, found in least.items()
        for _, name, sample_id, shard in sorted(found.values())[:count]
    ]


def _sureness(row: Row) -> tuple[float, str] | None:
    """How sure a fake's mask is, and the name of that figure; None where there is no figure."""
    if is_sequence(row):
        found = [_sureness(frame) for frame in split_frames(row)]
        return min((one for one in found if one is not None), default=None)
    if not row["label"] or row.get("mask_source") in (None, "absent"):
        return None
    if row["mask_source"] == "difference":
        return row["mask_confidence"], "confidence"
    return None if row["mask_agreement"] is None else (row["mask_agreement"], "IoU")


def _clips(out: Path) -> dict[Group, list[tuple[str, Path]]]:
    """Group -> its clips that have samples, as (clip_id, shard), in order."""
    clips: dict[Group, list[tuple[str, Path]]] = defaultdict(list)
    for _, record in iter_records(out):
        files = [out / file["path"] for file in record["files"]] if record is not None else []
        shard = next((file for file in files if file.is_file()), None)
        if record is None or shard is None:
            continue
        for clip in record["clips"]:
            if clip["written"]:
                clips[clip["method"] or "", clip["compression"] or ""].append((clip["clip_id"], shard))
    return {group: sorted(clips[group]) for group in sorted(clips, key=_order)}


def _order(group: Group) -> tuple[bool, Group]:
    """A sort key: reals last."""
    return not group[0], group


def _spread(turn: int, count: int, length: int) -> int:
    """The index of number ``turn`` of ``count`` positions that are spread evenly over ``length`` items.

    >>> [_spread(turn, 3, 30) for turn in range(3)]
    [5, 15, 25]
    """
    return int((turn + 0.5) * length / count)


def _load(chosen: dict[Path, list[Choice]]) -> list[SheetRow]:
    """The chosen samples with their originals, by method and compression, the least sure first."""
    found: list[tuple[tuple[bool, Group], bool, str, SheetRow]] = []
    for shard, picks in chosen.items():
        samples = find_rows(shard, (pick.sample_id for pick in picks))
        partners = {sample_id: original_of(row) for sample_id, row in samples.items()}
        originals = find_rows(shard, (name for name in partners.values() if name))
        for group, sample_id, why in picks:
            original = originals.get(partners[sample_id] or "")
            heading = " · ".join(part for part in (group[0] or "real", group[1]) if part)
            # The same frame of both: the sequences of a fake and its original have the same frames.
            number = poster(samples[sample_id], worst=bool(why))
            picture = None if original is None else frame_of(original, number)["image"]
            row = SheetRow(heading, frame_of(samples[sample_id], number), picture, why)
            found.append((_order(group), not why, sample_id, row))
    return [row for *_, row in sorted(found, key=lambda item: item[:3])]


def original_of(row: Row) -> str | None:
    """The sample_id of the original at the same track and frames, which lies in the same shard; None without one."""
    frame = row["original_frame"][0] if is_sequence(row) else row["original_frame"]
    return (
        None if row["original_id"] is None or frame is None else f"{row['original_id']}/{row['track_id']}/{frame:06d}"
    )
