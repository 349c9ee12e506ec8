"""Fit the numbers of ``forgeprep/faces/appearance.py`` on some clips, and judge them on others.

    python benchmarks/faces_fit.py --fit HEADS CROWD … --judge OTHERS …

Every frame is searched, and faces are linked where boxes of neighbouring frames overlap by more than .6. Same: a face
and its own two to ten frames later. Different: neighbours in one shot, so far apart in time and within 1.2 sides, that
are seen side by side at some moment. Both weigh alike, so that 0 is even odds before anything is known.
"""

from __future__ import annotations

import argparse
import math
from collections import defaultdict
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from forgeprep.faces import appearance
from forgeprep.faces.appearance import Look, look_at
from forgeprep.faces.detectors import make_detector
from forgeprep.faces.search import SMALL_WH, is_cut
from forgeprep.media.regions import Box
from forgeprep.media.video import VIDEO_SUFFIXES, read_frames
from forgeprep.ops.geometry import iou

LAGS = 2, 4, 5, 7, 10
LINKED, NEAR = 0.6, 1.2
Pairs = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Seen:
    """A face at a frame; ``link`` is the chain of overlapping boxes that it belongs to."""

    index: int
    link: int
    box: Box
    look: Look


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fit", nargs="+", type=Path, required=True)
    parser.add_argument("--judge", nargs="*", type=Path, default=[])
    parser.add_argument("--frames", type=int, default=300, help="frames of each clip")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    same, other = (np.vstack(part) for part in zip(*(pairs_of(c, given.frames) for c in given.fit), strict=True))
    model = LogisticRegression(C=100, class_weight="balanced", max_iter=5000)
    model.fit(np.vstack([same, other]), np.r_[np.ones(len(same)), np.zeros(len(other))])
    print("PATTERN, COLOUR, BRIGHTNESS, OVERLAP", model.coef_[0].round(1), "BIAS", model.intercept_.round(1))
    used = np.array([appearance.PATTERN, appearance.COLOUR, appearance.BRIGHTNESS, appearance.OVERLAP])
    print(f"{'numbers in use, at log-odds':28}{'same':>7}{'refused at 0':>14}{'at 5':>8}{'other':>8}{'taken at 0':>12}")
    for clip in given.fit + given.judge:
        same, other = (part @ used + appearance.BIAS for part in pairs_of(clip, given.frames))
        row = f"{clip.stem:28}{len(same):7}{(same < 0).mean():14.4f}{(same < 5).mean():8.3f}{len(other):8}"
        print(row + (f"{(other >= 0).mean():12.4f}" if len(other) else ""))


def pairs_of(clip: Path, most: int) -> tuple[Pairs, Pairs]:
    """Features of pairs of one person and of two, float64 (N, 4): roots of the three distances, and the overlap."""
    assert clip.suffix in VIDEO_SUFFIXES, clip
    same, other = [], []
    for shot in shots_of(clip, most):
        beside = {(a.link, b.link) for faces in shot.values() for a in faces for b in faces}
        for index, faces in shot.items():
            for a in faces:
                for b in (face for lag in LAGS for face in shot.get(index + lag, ())):
                    if a.link == b.link:
                        same.append(features(a, b))
                    elif (a.link, b.link) in beside and are_near(a.box, b.box):
                        other.append(features(a, b))
    return np.array(same).reshape(-1, 4), np.array(other).reshape(-1, 4)


def features(a: Seen, b: Seen) -> list[float]:
    return [*map(math.sqrt, appearance.distances(a.look, b.look)), iou(a.box, b.box)]


def are_near(a: Box, b: Box) -> bool:
    sides = a[2] - a[0], b[2] - b[0]
    apart = math.hypot(a[0] + a[2] - b[0] - b[2], a[1] + a[3] - b[1] - b[3]) / 2
    return apart < NEAR * max(sides) and max(sides) < 2 * min(sides)


def shots_of(clip: Path, most: int) -> list[dict[int, list[Seen]]]:
    """Frame -> faces, for each shot."""
    detector = make_detector("libfacedetection")
    small: npt.NDArray[np.uint8] | None = None
    shots: list[dict[int, list[Seen]]] = [defaultdict(list)]
    before: list[Seen] = []
    links = 0
    for frame in takewhile(lambda f: f.index < most, read_frames(clip)):
        last, small = small, np.asarray(cv2.resize(frame.y, SMALL_WH, interpolation=cv2.INTER_AREA), np.uint8)
        if last is not None and is_cut(last, small):
            shots.append(defaultdict(list))
            before = []
        now: list[Seen] = []
        for found in sorted(detector.find(frame, detector.fine), key=lambda d: -d.score):
            if found.score < detector.least:
                continue
            free = [face for face in before if face.link not in {one.link for one in now}]
            nearest = max(free, key=lambda face: iou(face.box, found.box), default=None)
            if nearest is None or iou(nearest.box, found.box) <= LINKED:
                link, links = links, links + 1
            else:
                link = nearest.link
            now.append(Seen(frame.index, link, found.box, look_at(frame, found.box)))
        shots[-1][frame.index] = before = now
    return shots


if __name__ == "__main__":
    main()
