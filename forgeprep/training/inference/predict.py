"""``forgeprep predict``: faces of pictures and videos, each with its score and a map of what looks forged.

Faces are found, tracked and cut as by the stage ``crop``, at the scale of the shards that the detector learned from.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError

from forgeprep.datasets.listing import MAX_DEPTH
from forgeprep.errors import MediaError, UsageError
from forgeprep.faces.detectors import make_detector
from forgeprep.faces.search import find_faces
from forgeprep.faces.tracks import Survey
from forgeprep.io.atomic import atomic_write_bytes
from forgeprep.media import process as media_process
from forgeprep.media.frames import UInt8
from forgeprep.media.pictures import PICTURE_SUFFIXES, is_picture
from forgeprep.media.regions import IntBox, frame_rgb
from forgeprep.media.video import VIDEO_SUFFIXES, read_frames, read_rate
from forgeprep.ops.geometry import square_crop_box
from forgeprep.shards.encode import encode_image
from forgeprep.stages.crop.crops import cut
from forgeprep.stages.crop.params import CropParams
from forgeprep.training.evaluation.evaluate import _fitted, _padded, verdict_threshold
from forgeprep.training.evaluation.tables import load_detector
from forgeprep.training.inference.annotate import annotate, written_video
from forgeprep.training.models.detector import Detector
from forgeprep.training.recipe import Recipe
from forgeprep.training.trainer import pick_device
from forgeprep.training.transforms import collate, prepare, to_device

MINE = "*.judged.*"
"""The names of annotated copies; no input, where a folder is given."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A detector that is ready to judge.

    Attributes:
        detector: on its device.
        recipe: how its input is made.
        size: side of its input.
        threshold: a score above it means fake.
        crop: how faces are found and cut.
        device: where it runs.
    """

    detector: Detector
    recipe: Recipe
    size: int
    threshold: float
    crop: CropParams
    device: torch.device


def get_ready(run: Path, *, enlarge: float | None = None, device: str | None = None) -> Ready:
    """The best state of a training, and how the shards that it learned from were cut.

    Args:
        run: folder of the training.
        enlarge: crop over face box, 1 to 4, in place of the shards'.
        device: cpu or cuda; None takes a GPU where there is one.

    Raises:
        UsageError: no training that judges single frames, ``enlarge`` is out of range, or no such device.
        VerifyError: the checkpoint is damaged.
    """
    detector, config, facts = load_detector(run)
    if config["model"] == "bmn" or detector.clip_frames:
        raise UsageError(f"{run}: {config['model']} judges clips of shards: use forgeprep evaluate")
    place = pick_device(device)
    # Trainings of earlier versions do not say at which size: native resolution.
    shards = config.get("crop") or {"detector": "dlib-hog", "enlarge": config.get("enlarge") or 1.3}
    try:
        crop = CropParams(**shards | ({} if enlarge is None else {"enlarge": enlarge}))
    except ValidationError:
        if enlarge is None:
            raise UsageError(f"{run / 'config.json'}: the crops are damaged ({shards}); train again") from None
        raise UsageError(f"--enlarge: must be between 1 and 4 (got {enlarge:g})") from None
    threshold = verdict_threshold(detector, facts)
    return Ready(detector.to(place), Recipe(**config["recipe"]), config["size"], threshold, crop, place)


def media_files(given: Sequence[Path]) -> dict[Path, Path]:
    """The files, and of folders all pictures and videos below them, each once.

    Returns:
        Each file's place in the deepest folder that holds all that was given -> the file, named as it was given.

    Raises:
        UsageError: a file is not there, or there is none at all.
    """
    found: dict[Path, Path] = {}
    roots = []
    for path in given:
        if path.is_dir():
            root, inside = path.resolve(), sorted(_below(path))
            known = [entry for entry in inside if entry.suffix.lower() in PICTURE_SUFFIXES | VIDEO_SUFFIXES]
            entries = {root / entry.relative_to(path): entry for entry in known if not entry.match(MINE)}
        elif path.is_file():
            root = path.parent.resolve()
            entries = {root / path.name: path}
        else:
            what = (
                "neither a file nor a folder, but a pipe, a device or the like"
                if path.exists()
                else "no such file or folder"
            )
            raise UsageError(f"{path}: {what}")
        roots.append(root)
        for place, entry in entries.items():
            if entry.is_file():
                found.setdefault(place, entry)
    if not found:
        raise UsageError(f"{', '.join(map(str, given))}: no picture and no video")
    common = os.path.commonpath(roots)
    return {place.relative_to(common): file for place, file in found.items()}


def _below(folder: Path) -> Iterator[Path]:
    """All files below a folder; links to folders are not followed, nor is what is nested absurdly deep."""
    waiting = [(folder, 0)]
    while waiting:
        here, depth = waiting.pop()
        try:
            with os.scandir(here) as entries:
                for entry in entries:
                    if not entry.is_dir(follow_symlinks=False):
                        yield Path(entry.path)
                    elif depth < MAX_DEPTH:
                        waiting.append((Path(entry.path), depth + 1))
        except OSError:  # may not be read: holds nothing for us
            continue


def outputs(file: Path, target: Path) -> tuple[Path, Path]:
    """The annotated copy and the JSON of a file whose place below the folder of results is ``target``.

    Both add to the whole name, so that a.jpg and a.png do not meet, and no input is replaced.
    """
    kind = "png" if is_picture(file) else "mp4"
    return target.with_name(f"{target.name}.judged.{kind}"), target.with_name(f"{target.name}.json")


def predict_file(file: Path, ready: Ready, target: Path, *, every: int = 1) -> dict[str, Any]:
    """Judge a file and write its annotated copy and JSON, see :func:`outputs`.

    Returns:
        ``file``, ``threshold``, ``score`` (of the most suspicious track; None without a face), ``fake``, ``tracks``
        (track, score, fake, frames; the score is the mean over frames), ``faces`` (frame, time, track, box, score) and
        ``written``, the annotated copy.

    Raises:
        MediaError: the file cannot be read.
        StorageError: the results cannot be written.
    """
    found = find_faces(read_frames(file), make_detector(ready.crop.detector, ready.crop.min_face))
    if not found.frames:
        raise MediaError(str(file), "no frame of it can be decoded; fetch it again")
    faces: list[dict[str, Any]] = []
    copy, facts = outputs(file, target)
    pictures = _judged_pictures(file, found, ready, every, faces)
    if is_picture(file):
        atomic_write_bytes(copy, encode_image(next(pictures)))
    else:
        with written_video(copy, read_rate(file)) as add:
            for picture in pictures:
                add(picture)
    tracks = tracks_of(faces, ready.threshold)
    score = max((track["score"] for track in tracks), default=None)
    result = {
        "file": str(file), "threshold": ready.threshold, "score": score,
        "fake": None if score is None else score > ready.threshold,
        "tracks": tracks, "faces": faces, "written": str(copy),
    }  # fmt: skip
    atomic_write_bytes(facts, json.dumps(result, indent=1).encode() + b"\n")
    return result


def tracks_of(faces: Sequence[dict[str, Any]], threshold: float) -> list[dict[str, Any]]:
    """The verdict on each track: the mean score of its frames."""
    scores: dict[int, list[float]] = {}
    for face in faces:
        scores.setdefault(face["track"], []).append(face["score"])
    return [
        {"track": track, "score": mean, "fake": mean > threshold, "frames": len(own)}
        for track, own in sorted(scores.items())
        for mean in [float(np.mean(own))]
    ]


def _judged_pictures(
    file: Path, found: Survey, ready: Ready, every: int, faces: list[dict[str, Any]]
) -> Iterator[UInt8]:
    """The frames of a file with the verdicts drawn, which stay until the next; ``faces`` is filled on the way."""
    seen = min(ready.recipe.enlarge or ready.crop.enlarge, ready.crop.enlarge)
    last: list[tuple[IntBox, float, UInt8 | None]] = []
    for frame in read_frames(file):
        if frame.index % every == 0:
            own = found.faces_at(frame.index)
            scores, maps = judge_crops([cut(frame, face.box, ready.crop) for face in own], ready)
            boxes = [square_crop_box(face.box, seen) for face in own]
            last = list(zip(boxes, scores, maps, strict=True))
            faces += [
                {"frame": frame.index, "time_s": round(frame.time_s, 3), "track": face.track_id,
                 "box": [round(side, 1) for side in face.box], "score": round(score, 5)}
                for face, score in zip(own, scores, strict=True)
            ]  # fmt: skip
        yield annotate(frame_rgb(frame), last, ready.threshold)


def judge_crops(crops: Sequence[UInt8], ready: Ready) -> tuple[list[float], list[UInt8 | None]]:
    """Scores of crops, and their maps as uint8 (H, W) at the detector's scale, 255 surely forged."""
    scores: list[float] = []
    maps: list[UInt8 | None] = []
    ready.detector.eval()
    for crop in crops:
        row = {
            "number": 0, "image": crop, "label": 0, "method_number": 0, "compression": None, "sample_id": "",
            "enlarge": ready.crop.enlarge,
        }  # fmt: skip
        batch = to_device(collate([prepare(row, ready.recipe, ready.size, train=False)]), ready.device, noise=False)
        with torch.inference_mode():
            out = _padded(ready.detector, batch["image"])
        scores.append(float(ready.detector.score(out)[0]))
        heat = ready.detector.heat(out)
        if heat is None:
            maps.append(None)
        else:
            small = _fitted(heat.float(), batch["image"])[0, 0].clamp(0, 1).cpu().numpy()
            maps.append(np.asarray(255 * small, np.uint8))
    return scores, maps


def predict_all(
    given: Sequence[Path], ready: Ready, to: Path, *, every: int = 1
) -> Iterator[tuple[Path, dict[str, Any] | MediaError]]:
    """Judge files one after the other; a broken one gives its error and does not stop the rest.

    Results lie below ``to`` as the files lie in the deepest folder that holds all that was given.

    Raises:
        UsageError: a file is not there, there is none at all, or a result would replace one of them.
        StorageError: the results cannot be written.
    """
    files = media_files(given)
    inputs = {file.resolve() for file in files.values()}
    for place, file in files.items():
        for written in outputs(file, to / place):
            if written.resolve() in inputs:
                raise UsageError(f"{written}: is given, and would be overwritten; give another --to")
    with media_process.reading():
        for place, file in files.items():
            try:
                yield file, predict_file(file, ready, to / place, every=every)
            except MediaError as error:
                yield file, error
