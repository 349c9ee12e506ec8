"""``forgeprep predict``: faces of pictures and videos, each with its score and a map of what looks forged.

Faces are found, tracked and cut as by the stage ``crop``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import torch

from forgeprep.errors import MediaError, UsageError
from forgeprep.ops.faces import make_detector
from forgeprep.ops.geometry import IntBox, frame_rgb, square_crop_box
from forgeprep.ops.tracks import find_faces
from forgeprep.ops.video import PICTURE_SUFFIXES, VIDEO_SUFFIXES, UInt8, is_picture, read_frames, read_header
from forgeprep.shards.records import atomic_write_bytes
from forgeprep.stages.cut import CropParams, cut
from forgeprep.training.evaluate import _fitted, _padded
from forgeprep.training.models.detector import Detector
from forgeprep.training.recipe import Recipe
from forgeprep.training.transforms import collate, prepare, to_device

FAKE, REAL = (220, 40, 40), (40, 160, 60)


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


def media_files(given: Sequence[Path]) -> list[Path]:
    """The files, and of folders all pictures and videos below them.

    Raises:
        UsageError: a file is not there, or there is none at all.
    """
    found: list[Path] = []
    for path in given:
        if path.is_dir():
            inside = (entry for entry in sorted(path.rglob("*")) if entry.is_file())
            found += [entry for entry in inside if entry.suffix.lower() in PICTURE_SUFFIXES | VIDEO_SUFFIXES]
        elif path.is_file():
            found.append(path)
        else:
            raise UsageError(f"{path}: no such file or folder")
    if not found:
        raise UsageError(f"{', '.join(map(str, given))}: no picture and no video")
    return found


def predict_file(file: Path, ready: Ready, to: Path, *, every: int = 1) -> dict[str, Any]:
    """Judge a file and write its annotated copy and JSON into a folder.

    Returns:
        ``file``, ``score`` (the mean over faces and frames; None without a face), ``fake``, ``faces`` (frame, time,
        track, box, score) and ``written``, the annotated file.

    Raises:
        MediaError: the file cannot be read.
        StorageError: the folder cannot be written.
    """
    found = find_faces(read_frames(file), make_detector(ready.crop.detector))
    faces: list[dict[str, Any]] = []
    to.mkdir(parents=True, exist_ok=True)
    still = is_picture(file)
    target = to / f"{file.stem}.{'png' if still else 'mp4'}"
    writer = None if still else _Video(target, read_header(file).fps)
    last: list[tuple[IntBox, float, UInt8 | None]] = []
    for frame in read_frames(file):
        if frame.index % every == 0:
            own = found.faces_at(frame.index)
            crops = [cut(frame, face.box, ready.crop) for face in own]
            scores, maps = judge_crops(crops, ready) if crops else ([], [])
            boxes = [square_crop_box(face.box, ready.crop.enlarge) for face in own]
            last = list(zip(boxes, scores, maps, strict=True))
            faces += [
                {"frame": frame.index, "time_s": round(frame.time_s, 3), "track": face.track_id,
                 "box": [round(side, 1) for side in face.box], "score": round(score, 5)}
                for face, score in zip(own, scores, strict=True)
            ]  # fmt: skip
        picture = annotate(frame_rgb(frame), last, ready.threshold)
        if writer is None:
            cv2.imwrite(str(target), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        else:
            writer.add(picture)
    if writer is not None:
        writer.close()
    score = float(np.mean([face["score"] for face in faces])) if faces else None
    result = {
        "file": str(file), "score": score, "fake": None if score is None else score > ready.threshold,
        "faces": faces, "written": str(target),
    }  # fmt: skip
    atomic_write_bytes(to / f"{file.stem}.json", json.dumps(result, indent=1).encode() + b"\n")
    return result


def judge_crops(crops: Sequence[UInt8], ready: Ready) -> tuple[list[float], list[UInt8 | None]]:
    """Scores of crops, and their maps as uint8 (H, W) at the crop's size, 255 surely forged."""
    scores: list[float] = []
    maps: list[UInt8 | None] = []
    ready.detector.eval()
    for crop in crops:
        row = {
            "number": 0, "image": crop, "label": 0, "method_number": 0, "compression": None, "sample_id": "",
            "enlarge": ready.crop.enlarge,
        }  # fmt: skip
        recipe = ready.recipe.model_copy(update={"enlarge": None})
        batch = to_device(collate([prepare(row, recipe, ready.size, train=False)]), ready.device, noise=False)
        with torch.inference_mode():
            out = _padded(ready.detector, batch["image"])
        scores.append(float(ready.detector.score(out)[0]))
        heat = ready.detector.heat(out)
        if heat is None:
            maps.append(None)
        else:
            small = _fitted(heat.float(), batch["image"])[0, 0].clamp(0, 1).cpu().numpy()
            scaled = cv2.resize(small, crop.shape[1::-1], interpolation=cv2.INTER_LINEAR)
            maps.append(np.asarray(255 * scaled, np.uint8))
    return scores, maps


def annotate(picture: UInt8, faces: Sequence[tuple[IntBox, float, UInt8 | None]], threshold: float) -> UInt8:
    """A picture with each face's box, score and map; red is forged."""
    drawn = picture.copy()
    height, width = picture.shape[:2]
    for (x0, y0, x1, y1), score, heat in faces:
        a, b, c, d = max(0, x0), max(0, y0), min(width, x1), min(height, y1)
        if heat is not None and a < c and b < d:
            part = heat[b - y0 : d - y0, a - x0 : c - x0].astype(np.float32)[..., None] / 255
            drawn[b:d, a:c] = (drawn[b:d, a:c] * (1 - 0.5 * part) + 0.5 * part * np.array(FAKE)).astype(np.uint8)
            lines, _ = cv2.findContours((heat >= 128).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(drawn, lines, -1, FAKE, 1, offset=(x0, y0))
        colour = FAKE if score > threshold else REAL
        thick = max(1, min(height, width) // 240)
        cv2.rectangle(drawn, (x0, y0), (x1, y1), colour, thick)
        text = f"{'fake' if score > threshold else 'real'} {score:.2f}"
        size = 0.45 * max(1.0, min(height, width) / 360)
        (w, h), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, thick)
        top = max(0, y0 - h - 8)
        cv2.rectangle(drawn, (max(0, x0), top), (max(0, x0) + w + 6, top + h + 8), colour, -1)
        where = (max(0, x0) + 3, top + h + 3)
        cv2.putText(drawn, text, where, cv2.FONT_HERSHEY_SIMPLEX, size, (255, 255, 255), thick, cv2.LINE_AA)
    return drawn


class _Video:
    """An H.264 file that is opened at its first frame; odd sides lose a pixel."""

    def __init__(self, file: Path, fps: float) -> None:
        self.container: Any = av.open(str(file), "w")
        self.fps = round(fps * 1000) if fps > 0 else 25000
        self.stream: Any = None

    def add(self, picture: npt.NDArray[np.uint8]) -> None:
        from fractions import Fraction

        height, width = picture.shape[0] // 2 * 2, picture.shape[1] // 2 * 2
        if self.stream is None:
            self.stream = self.container.add_stream("libx264", rate=Fraction(self.fps, 1000))
            self.stream.width, self.stream.height, self.stream.pix_fmt = width, height, "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:height, :width]), format="rgb24")
        self.container.mux(self.stream.encode(frame))

    def close(self) -> None:
        if self.stream is not None:
            self.container.mux(self.stream.encode())
        self.container.close()


def predict_all(
    given: Sequence[Path], ready: Ready, to: Path, *, every: int = 1
) -> Iterator[tuple[Path, dict[str, Any] | MediaError]]:
    """Judge files one after the other; a broken one gives its error and does not stop the rest."""
    for file in media_files(given):
        try:
            yield file, predict_file(file, ready, to, every=every)
        except MediaError as error:
            yield file, error
