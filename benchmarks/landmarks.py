"""What landmarks cost, how steady they are along a track, and how symmetric.

    python benchmarks/landmarks.py --landmarks dlib-5,dlib-68,centerface CLIP...

For each clip and landmarker: CPU time a face, how many faces have landmarks, the second difference of the points from
frame to frame in percent of the box's side (median and 95th percentile over points and frames) before and after
smoothing, and how far the points of the mirrored frame lie from the mirrored points. Last, where the parts of a face
lie in its box, as the template mean-face has it: medians over the clips' medians.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from forgeprep.faces.detectors import make_detector
from forgeprep.faces.landmarkers import Find, Points, get_landmarker
from forgeprep.faces.landmarks import with_landmarks
from forgeprep.faces.lookahead import frames_with_faces
from forgeprep.faces.tracks import Face, Survey
from forgeprep.media import process
from forgeprep.media.frames import Frame, turned
from forgeprep.media.regions import Box
from forgeprep.media.video import read_frames

Seen = Sequence[tuple[Frame, Sequence[Face]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--landmarks", default="dlib-5,dlib-68")
    parser.add_argument("--frames", type=int, default=40)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    print(
        f"{'clip':20} {'landmarks':14} {'ms a face':>9} {'found':>9} {'rough %':>14} {'smooth %':>14} {'mirror %':>9}"
    )
    places: dict[str, list[Points]] = {}
    for clip in given.clips:
        with process.reading():
            frames = frames_with_faces(partial(read_frames, clip), make_detector("libfacedetection"), Survey())
            seen = list(itertools.islice(frames, given.frames))
        for name in given.landmarks.split(","):
            places.setdefault(name, []).append(report(clip, name, seen))
    for name, own in places.items():
        middle = np.nanmedian(own, axis=0)
        told = (
            f"{part} {x:.3f} {y:.3f}" for part, (x, y) in zip(get_landmarker(name).scheme.parts, middle, strict=True)
        )
        print(f"{name}: {', '.join(told)}")


def report(clip: Path, name: str, seen: Seen) -> Points:
    """Print a line; where the parts of the face lie in its box, float64 (parts, 2)."""
    entry = get_landmarker(name)
    find, spent = entry.load(None), [0.0]

    def timed(frame: Frame, box: Box) -> Points | None:
        start = time.process_time()
        found = find(frame, box)
        spent[0] += time.process_time() - start
        return found

    rough = list(with_landmarks(seen, timed, lambda _: True, reach=0))
    smooth = list(with_landmarks(seen, find, lambda _: True))
    count = sum(len(faces) for _, faces in seen)
    found = sum(face.landmarks is not None for _, faces in rough for face in faces)
    each = 1000 * spent[0] / max(1, count)
    steady = " ".join(f"{median:6.2f} ({high:5.2f})" for median, high in map(jitter, (rough, smooth)))
    apart = mirrored(rough[:: max(1, len(rough) // 8)], find, entry.scheme.mirrored)
    print(f"{clip.name:20} {name:14} {each:9.2f} {found:4} of {count:3} {steady} {apart:9.2f}")
    parts = list(entry.scheme.parts.values())
    there = [
        [(face.landmarks[list(own)].mean(axis=0) + 0.5 - face.box[:2]) / (face.box[2] - face.box[0]) for own in parts]
        for _, faces in smooth
        for face in faces
        if face.landmarks is not None
    ]
    return np.asarray(np.median(there, axis=0) if there else np.full((len(parts), 2), np.nan), np.float64)


def jitter(seen: Seen) -> tuple[float, float]:
    """Median and 95th percentile of the second difference, in percent of the box's side."""
    shares = []
    for (_, before), (_, now), (_, after) in zip(seen, seen[1:], seen[2:], strict=False):
        points = [{face.track_id: face.landmarks for face in faces} for faces in (before, now, after)]
        for face in now:
            a, b, c = (own.get(face.track_id) for own in points)
            if a is not None and b is not None and c is not None:
                shares.append(100 * np.hypot(*(a - 2 * b + c).T).mean() / (face.box[2] - face.box[0]))
    return (float(np.median(shares)), float(np.percentile(shares, 95))) if shares else (np.nan, np.nan)


def mirrored(seen: Seen, find: Find, order: Sequence[int]) -> float:
    """Mean distance of the mirrored frame's points from the mirrored points, in percent of the box's side."""
    shares = []
    for frame, faces in seen:
        width = frame.size_wh[0]
        other = turned(replace(frame), (False, True, False))
        for face in faces:
            x0, y0, x1, y1 = face.box
            points = find(other, (width - x1, y0, width - x0, y1))
            if points is not None and face.landmarks is not None:
                back = np.stack([width - 1 - points[:, 0], points[:, 1]], axis=1)[list(order)]
                shares.append(100 * np.hypot(*(back - face.landmarks).T).mean() / (x1 - x0))
    return float(np.mean(shares)) if shares else np.nan


if __name__ == "__main__":
    main()
