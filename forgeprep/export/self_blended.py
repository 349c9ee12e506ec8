"""SelfBlendedImages: whole frames of reals, with landmarks and boxes, and the lists of the splits::

    data/FaceForensics++/original_sequences/youtube/raw/frames/071/000.png
    data/FaceForensics++/original_sequences/youtube/raw/landmarks/071/000.npy   (n, 81, 2)
    data/FaceForensics++/original_sequences/youtube/raw/retina/071/000.npy      (n, 7, 2)
    data/FaceForensics++/train.json

The frames are decoded again from the run's dataset. A row of ``retina`` is a face: two corners of its box, both eyes,
the nose and both corners of the mouth. It learns from reals alone, and knows a video by the first three letters of its
name: videos of other datasets than FaceForensics++ are numbered.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from forgeprep.errors import UsageError
from forgeprep.export.base import ExportFormat, ExportParams, Part, Whole, npy_of
from forgeprep.io.storage import path_of_name
from forgeprep.media.colour import part_rgb
from forgeprep.media.video import read_frames
from forgeprep.shards.encode import encode_image

ROOT = "data/FaceForensics++"
POINTS = 81
"""dlib's 68 points, and 13 on the forehead."""
MOST = 1000
_EYES, _NOSE, _MOUTH = ((36, 42), (42, 48)), 30, (48, 54)


def part(part: Part, params: ExportParams) -> Iterator[dict[str, Any]]:
    """Write the frames of a shard's real clips."""
    clips: dict[str, dict[int, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for row in part.rows(("landmarks", "face_box")):
        if row["clip_method"] is None and len(row.get("landmarks") or ()) == 2 * POINTS:
            clips[row["clip_id"]][row["frame_index"]].append(row)
    names = _names(part)
    paths = {clip["clip_id"]: clip["path"] for clip in part.clips.rows if clip["clip_id"] in clips}
    root = path_of_name(str(part.run.get("root") or ""))
    for clip_id, frames in sorted(clips.items()):
        source, last = root / paths[clip_id], max(frames)
        if not source.exists():
            raise UsageError(f"{source}: is not there; bring the run's dataset back, or mount it")
        for frame in read_frames(source):
            if frame.index in frames:
                yield _write(part, frames[frame.index], part_rgb(frame, (0, 0, *frame.size_wh)), names)
            if frame.index >= last:
                break


def finish(whole: Whole, entries: Iterable[Mapping[str, Any]], params: ExportParams) -> None:
    """Write the list of each split, all three of them."""
    lists: dict[str, set[str]] = {"train": set(), "val": set(), "test": set()}
    for entry in entries:
        lists[entry["split"]].add(entry["video"])
    for split, videos in lists.items():
        whole.add_json(f"{ROOT}/{split}.json", [[video] for video in sorted(videos)])


def _write(part: Part, faces: list[dict[str, Any]], picture: npt.NDArray[np.uint8], names: Mapping[str, str]) -> Any:
    row = faces[0]
    video = names[row["clip_id"]]
    folder = f"{ROOT}/original_sequences/youtube/{row['compression'] or 'raw'}"
    stem = f"{video}/{row['frame_index']:03d}"
    faces = sorted(faces, key=lambda face: int(face["track_id"]))
    points = np.array([face["landmarks"] for face in faces], np.float64).reshape(-1, POINTS, 2)
    boxes = np.array([face["face_box"] for face in faces], np.float64).reshape(-1, 2, 2)
    part.add(f"{folder}/frames/{stem}.png", encode_image(picture))
    part.add(f"{folder}/landmarks/{stem}.npy", npy_of(np.round(points).astype(np.int32)))
    part.add(f"{folder}/retina/{stem}.npy", npy_of(np.concatenate([boxes, _five(points)], axis=1)))
    return {"split": part.split, "video": video}


def _five(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Both eyes, nose and corners of the mouth, (n, 5, 2), from dlib's points."""
    eyes = [points[:, first:end].mean(axis=1) for first, end in _EYES]
    return np.stack([*eyes, points[:, _NOSE], *(points[:, corner] for corner in _MOUTH)], axis=1)


def _names(part: Part) -> dict[str, str]:
    """clip_id -> the video's name: of FaceForensics++ its own, else its number among the run's reals."""
    reals = [clip["clip_id"] for clip in part.clips.rows if clip["method"] is None]
    if part.dataset == "ffpp":
        return {clip_id: clip_id.rpartition("/")[2] for clip_id in reals}
    if len(reals) > MOST:
        raise UsageError(f"self-blended holds {MOST:,} videos, and the run has {len(reals):,} real ones")
    return {clip_id: f"{number:03d}" for number, clip_id in enumerate(reals)}


SELF_BLENDED = ExportFormat(
    name="self-blended",
    summary="whole frames of reals, 81 landmarks and boxes, for SelfBlendedImages",
    part=part,
    finish=finish,
    needs=("landmarks",),
    every=False,
    hint="it takes reals with 81 landmarks a face; make the shards with --landmarks dlib-81",
    unit="frame",
)
