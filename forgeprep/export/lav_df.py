"""LAV-DF and AV-Deepfake1M: whole clips and the times at which they are forged, for temporal localisation::

    metadata.min.json
    train/ffpp__c23__Deepfakes__071_054.mp4

The clips are those of the run's dataset, whose spans are stated: as ``forgeprep splice`` makes them. A fake of which no
spans are stated is forged from beginning to end. Times are in seconds; LAV-DF's own loader takes every clip for one
of 25 frames a second.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from forgeprep.errors import UsageError
from forgeprep.export.base import ExportFormat, ExportParams, Part, Whole
from forgeprep.io.storage import media_source, path_of_name
from forgeprep.media.video import read_times

_SPLIT = {"val": "dev"}


def part(part: Part, params: ExportParams) -> Iterator[dict[str, Any]]:
    """Copy or link the clips of a shard; yields the line of each."""
    root = path_of_name(str(part.run.get("root") or ""))
    wanted = {row["clip_id"] for row in part.rows(())}
    for clip in part.clips.rows:
        if clip["clip_id"] not in wanted:
            continue
        source = root / clip["path"]
        if not clip["fps"]:
            # Pictures have no times.
            part.counts["left_out"] += 1
            continue
        name = _name(clip["clip_id"], clip["path"], part.split)
        part.files.add_file(name, source, link=part.links)
        yield _line(clip, name, source) | {"split": _SPLIT.get(part.split, part.split)}


def finish(whole: Whole, entries: Iterable[dict[str, Any]], params: ExportParams) -> None:
    """Write the list of all clips."""
    lines = list(entries)
    names = {line.pop("clip_id"): line["file"] for line in lines}
    for line in lines:
        line["original"] = names.get(line["original"])
    whole.add_json("metadata.min.json", lines)


def _name(clip_id: str, path: str, split: str) -> str:
    # The loader keeps what it computes by the name without its folder.
    return f"{_SPLIT.get(split, split)}/{clip_id.replace('/', '__')}{PurePosixPath(path).suffix}"


def _line(clip: dict[str, Any], name: str, source: Path) -> dict[str, Any]:
    frames, fps = clip["header_frames"], clip["fps"]
    spans = [[0, frames, clip["label"]]] if clip["spans"] is None else clip["spans"]
    times = read_times(source).seconds
    # Frame rates may vary; what comes after the last frame is shown a frame later.
    begins = [*times, (times[-1] if times else 0.0) + 1 / fps]
    places = [(min(first, len(times)), min(first + count, len(times))) for first, count, label in spans if label]
    periods = [[round(begins[first], 6), round(begins[end], 6)] for first, end in places]
    channels, samples = _sound(source)
    return {
        "clip_id": clip["clip_id"],
        "file": name,
        "n_fakes": len(periods),
        "fake_periods": periods,
        "duration": round(begins[-1], 6),
        "original": clip["original_id"],
        "modify_video": bool(periods),
        "modify_audio": bool(clip.get("audio_label")),
        "video_frames": frames,
        "audio_channels": channels,
        "audio_frames": samples,
    }


def _sound(source: Path) -> tuple[int, int]:
    """Channels and samples of the first sound track, as the container says; zeros without one."""
    import av

    try:
        with av.open(media_source(source)) as container:
            for stream in container.streams.audio:
                length = float((stream.duration or 0) * stream.time_base) if stream.time_base else 0.0
                return int(stream.channels), round(length * stream.rate)
    except (av.FFmpegError, OSError) as error:
        raise UsageError(f"{source}: cannot be read ({error}); the run's dataset has changed") from None
    return 0, 0


LAV_DF = ExportFormat(
    name="lav-df",
    summary="whole clips and their forged spans in seconds, for LAV-DF and AV-Deepfake1M",
    part=part,
    finish=finish,
    every=False,
    links=True,
    unit="clip",
    hint="it takes videos, and this run has pictures",
)
