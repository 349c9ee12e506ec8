"""``forgeprep predict``: faces of pictures and videos, each with its score and a map of what looks forged.

Faces are found, tracked and cut as by the stage ``crop``, as for the shards that the model learned from.
"""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pydantic import ValidationError

from forgeprep.datasets.listing import MAX_DEPTH
from forgeprep.errors import MediaError, UsageError
from forgeprep.faces.appearance import Look, look_at
from forgeprep.faces.lookahead import frames_with_faces
from forgeprep.faces.persons import persons_of, thinned
from forgeprep.faces.tracks import Face, Survey
from forgeprep.io.atomic import atomic_write_bytes
from forgeprep.io.json_files import write_json
from forgeprep.io.settings import first_problem
from forgeprep.media import process as media_process
from forgeprep.media.frames import UInt8
from forgeprep.media.pictures import PICTURE_SUFFIXES, is_picture
from forgeprep.media.regions import IntBox, frame_rgb
from forgeprep.media.video import VIDEO_SUFFIXES, read_frames, read_rate
from forgeprep.ops.geometry import square_crop_box
from forgeprep.params.crop import CropParams
from forgeprep.pipeline.configure import versions
from forgeprep.shards.encode import encode_image
from forgeprep.stages import all_stages
from forgeprep.stages.crop.crops import can_cut, cut_face
from forgeprep.stages.crop.detector import detector_of, margin_of
from forgeprep.stages.crop.places import with_places
from forgeprep.training.inference.annotate import annotate, written_video
from forgeprep.training.inference.loaded import LoadedModel, load_model, outputs
from forgeprep.training.models import get_model
from forgeprep.training.transforms import prepare

_MOST_LOOKS = 64
MINE = "*.judged.*"
"""The names of annotated copies; no input, where a folder is given."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A model that is ready to judge faces of files.

    Attributes:
        loaded: the model.
        crop: how faces are found and cut.
        notes: what the user should know of that, a line each.
    """

    loaded: LoadedModel
    crop: CropParams
    notes: tuple[str, ...] = ()

    @property
    def map_threshold(self) -> float:
        """From where on a place of the map counts as forged: where the verdict is the map's mean, its threshold."""
        return self.loaded.model.tau if self.loaded.model.learns_label() else self.loaded.threshold


def get_ready(run: Path, given: Mapping[str, Any] | None = None, *, device: str | None = None) -> Ready:
    """The best state of a training, and how the shards that it learned from were cut.

    Args:
        run: folder of the training.
        given: parameters of the stage ``crop`` in place of the shards'; None stands for "not given".
        device: cpu or cuda; None takes a GPU where there is one.

    Raises:
        UsageError: no training that judges single frames, a parameter is unknown or out of range, or no such device.
        VerifyError: the checkpoint is damaged.
    """
    loaded = load_model(run, device)
    config = loaded.config
    if get_model(config["model"]).takes != "image":
        raise UsageError(f"{run}: {config['model']} takes sequences, from shards: use forgeprep evaluate")
    changes = {name: value for name, value in (given or {}).items() if value is not None}
    crop, notes = _crop_of(run, config)
    if crop.align_per == "clip":
        notes.append(f"{run}: its shards have one matrix a clip; here each frame has its own")
    for name, value in changes.items():
        if getattr(crop, name, None) != value:
            notes.append(f"{name}: {value} is asked for, the model learned from {getattr(crop, name, None)}")
    try:
        crop = CropParams(**crop.model_dump() | changes)
    except ValidationError as error:
        name, told = first_problem(error)
        if name == "enlarge":
            told = f"must be between 1 and 4 (got {changes[name]!r})"
        raise UsageError(f"--{(name or 'crop').replace('_', '-')}: {told}") from None
    return Ready(loaded, crop, tuple(notes))


def _crop_of(run: Path, config: Mapping[str, Any]) -> tuple[CropParams, list[str]]:
    """How the shards were cut as far as ``config.json`` tells, and what has to be said of that."""
    notes = []
    told: dict[str, Any] = dict(config.get("crop") or {})
    if "detector" not in told:
        # What forgeprep did before trainings said how their shards were cut: dlib-hog, at native resolution.
        told = {"detector": "dlib-hog", "enlarge": config.get("enlarge") or 1.3, **told}
        notes.append(f"{run}: does not say how the faces of its shards were found; they are found by dlib-hog")
    try:
        crop = CropParams(**told)
    except ValidationError:
        raise UsageError(f"{run / 'config.json'}: the crops are damaged ({told}); train again") from None
    before: Mapping[str, str] = config.get("crop_versions") or {}
    now = versions([all_stages()["crop"]], {"crop": crop.model_dump()}) if before else {}
    changed = [f"{name}: {before[name]} -> {now[name]}" for name in now if name in before and before[name] != now[name]]
    if changed:
        notes.append(f"{run}: its shards were cut by other versions ({'; '.join(changed)}); faces may differ a little")
    return crop, notes


def media_files(given: Sequence[Path]) -> dict[Path, Path]:
    """The files, and of folders all pictures and videos below them, each once.

    Returns:
        Each file's place -> the file, named as it was given. The place is its name, of a file in a folder its path
        below it; if two files would meet there, their paths below the deepest folder that holds all that was given.

    Raises:
        UsageError: a file is not there, or there is none at all.
    """
    found: dict[Path, Path] = {}
    places: dict[Path, Path] = {}
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
                places.setdefault(place, place.relative_to(roots[-1]))
    if not found:
        raise UsageError(f"{', '.join(map(str, given))}: no picture and no video")
    if len(set(places.values())) == len(places):
        return {places[place]: file for place, file in found.items()}
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


def outputs_of(file: Path, target: Path) -> tuple[Path, Path]:
    """The annotated copy and the JSON of a file whose place below the folder of results is ``target``.

    Both add to the whole name, so that a.jpg and a.png do not meet, and no input is replaced.
    """
    kind = "png" if is_picture(file) else "mp4"
    return target.with_name(f"{target.name}.judged.{kind}"), target.with_name(f"{target.name}.json")


def predict_file(file: Path, ready: Ready, target: Path, *, every: int = 1) -> dict[str, Any]:
    """Judge a file and write its annotated copy and JSON, see :func:`outputs_of`.

    Returns:
        ``file``, ``threshold``, ``score`` (of the most suspicious track; None without a face), ``fake``, ``tracks``
        (track, score, fake, frames, person; the score is the mean over frames), ``faces`` (frame, time, track, box,
        score), ``persons``, how many they are at most (:mod:`forgeprep.faces.persons`),
        ``at_once``, the most faces that were seen at a time, ``shots``, how many of them the video has, and
        ``written``, the annotated copy; and ``json``, the file that holds all this.

    Raises:
        MediaError: the file cannot be read.
        StorageError: the results cannot be written.
    """
    faces: list[dict[str, Any]] = []
    looks: dict[int, list[Look]] = {}
    copy, facts = outputs_of(file, target)
    found = Survey()
    pictures = _scored_pictures(file, ready, every, faces, looks, found)
    # Before anything is written, it shows whether the file can be read.
    first = next(pictures)
    if is_picture(file):
        atomic_write_bytes(copy, encode_image(first[0]))
    else:
        with written_video(copy, read_rate(file), sound=file) as add:
            for picture, time_s in itertools.chain([first], pictures):
                add(picture, time_s)
    threshold = ready.loaded.threshold
    persons = persons_of(looks, _together(faces))
    tracks = [{**track, "person": persons[track["track"]]} for track in tracks_of(faces, threshold)]
    score = max((track["score"] for track in tracks), default=None)
    result = {
        "file": str(file), "threshold": threshold, "score": score,
        "fake": None if score is None else score > threshold,
        "tracks": tracks, "faces": faces, "at_once": _at_once(faces), "shots": 1 + len(found.cuts),
        "persons": len(set(persons.values())), "written": str(copy), "json": str(facts),
    }  # fmt: skip
    write_json(facts, result)
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


def _at_once(faces: Sequence[Mapping[str, Any]]) -> int:
    """The most faces in one frame."""
    return max(Counter(face["frame"] for face in faces).values(), default=0)


def _together(faces: Sequence[Mapping[str, Any]]) -> set[tuple[int, int]]:
    """The pairs of tracks that are in one frame, the smaller first."""
    frames: dict[int, set[int]] = {}
    for face in faces:
        frames.setdefault(face["frame"], set()).add(face["track"])
    return {pair for tracks in frames.values() for pair in itertools.combinations(sorted(tracks), 2)}


def _scored_pictures(
    file: Path,
    ready: Ready,
    every: int,
    faces: list[dict[str, Any]],
    looks: dict[int, list[Look]],
    found: Survey,
) -> Iterator[tuple[UInt8, float]]:
    """The frames of a file with the verdicts drawn, which stay until the next, and the time of each.

    ``faces``, ``looks`` (of each track, some) and ``found`` are filled on the way.

    Raises:
        MediaError: the file cannot be read, or no frame of it.
    """
    crop = ready.crop
    last: list[tuple[IntBox, float, UInt8 | None]] = []
    frames = frames_with_faces(lambda: read_frames(file), detector_of(crop), found)
    for frame, seen in with_places(frames, crop, lambda index: index % every == 0, file):
        if frame.index % every == 0:
            here = [face for face in seen if can_cut(face, crop)]
            scores, maps = score_crops([cut_face(frame, face, crop) for face in here], ready)
            shown = [_shown(face, heat, ready) for face, heat in zip(here, maps, strict=True)]
            last = [(box, score, heat) for (box, heat), score in zip(shown, scores, strict=True)]
            for face in here:
                own = looks.setdefault(face.track_id, [])
                own.append(look_at(frame, face.box))
                if len(own) > _MOST_LOOKS:
                    own[:] = thinned(own, _MOST_LOOKS // 2)
            faces += [
                {"frame": frame.index, "time_s": round(frame.time_s, 3), "track": face.track_id,
                 "box": [round(side, 1) for side in face.box], "score": round(score, 5)}
                for face, score in zip(here, scores, strict=True)
            ]  # fmt: skip
        yield annotate(frame_rgb(frame), last, ready.loaded.threshold, ready.map_threshold), frame.time_s
    if not found.frames:
        raise MediaError(str(file), "no frame of it can be decoded; fetch it again")


def _shown(face: Face, heat: UInt8 | None, ready: Ready) -> tuple[IntBox, UInt8 | None]:
    """The upright box that is drawn for a face, and the map in it; that of an aligned crop is turned back."""
    margin = margin_of(ready.crop)
    seen = min(ready.loaded.recipe.enlarge or margin, margin)
    if face.aligned is None:
        return square_crop_box(face.box, seen), heat
    box = square_crop_box(face.aligned.square(margin), seen)
    if heat is None:
        return box, None
    side = box[2] - box[0]
    # The map shows the middle of the crop, if the model sees no more of it.
    scale = heat.shape[1] / face.aligned.side * margin / seen
    middle = (face.aligned.side - 1) / 2
    to_map = np.array([[scale, 0, (heat.shape[1] - 1) / 2 - scale * middle], [0, scale, 0], [0, 0, 1]])
    to_map[1, 2] = (heat.shape[0] - 1) / 2 - scale * middle
    matrix = (
        to_map @ np.vstack([face.aligned.matrix, [0, 0, 1]]) @ np.array([[1, 0, box[0]], [0, 1, box[1]], [0, 0, 1]])
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return box, np.asarray(cv2.warpAffine(heat, matrix[:2], (side, side), flags=flags), np.uint8)


def score_crops(crops: Sequence[UInt8], ready: Ready) -> tuple[list[float], list[UInt8 | None]]:
    """Scores of crops, and their maps as uint8 (H, W) at the model's scale, 255 surely forged."""
    loaded = ready.loaded
    rows = (
        {
            "number": 0, "image": crop, "label": 0, "method_number": 0, "compression": None, "sample_id": "",
            "enlarge": margin_of(ready.crop),
        }
        for crop in crops
    )  # fmt: skip
    scores: list[float] = []
    maps: list[UInt8 | None] = []
    for found in outputs(loaded, ([prepare(row, loaded.recipe, loaded.size, train=False)] for row in rows)):
        scores.append(float(found.scores[0]))
        heat = found.maps
        maps.append(None if heat is None else np.asarray(255 * heat[0, 0].clamp(0, 1).cpu().numpy(), np.uint8))
    return scores, maps


def predict_all(
    given: Sequence[Path], ready: Ready, to: Path, *, every: int = 1
) -> Iterator[tuple[Path, dict[str, Any] | MediaError]]:
    """Judge files one after the other; a broken one gives its error and does not stop the rest.

    Where results lie below ``to``, :func:`media_files` says.

    Raises:
        UsageError: a file is not there, there is none at all, or a result would replace one of them.
        StorageError: the results cannot be written.
    """
    files = media_files(given)
    inputs = {file.resolve() for file in files.values()}
    for place, file in files.items():
        for written in outputs_of(file, to / place):
            if written.resolve() in inputs:
                raise UsageError(f"{written}: is given, and would be overwritten; give another --to")
    with media_process.reading():
        for place, file in files.items():
            try:
                yield file, predict_file(file, ready, to / place, every=every)
            except MediaError as error:
                yield file, error
