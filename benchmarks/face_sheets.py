"""Contact sheets of a clip's tracks, to count by eye where a track passes from one person to another.

A row is a track: its number, first and last frame, and faces evenly over its time, each with its frame's number. A
green edge: found by the detector at that frame; yellow: between two detections; red: the correlation tracker's word.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from forgeprep.faces.tracks import Face, Survey
from forgeprep.media.frames import Frame, UInt8
from forgeprep.media.regions import window_rgb
from forgeprep.ops.geometry import square_crop_box

SIDE, FACES, ROWS = 100, 10, 16
"""Pixels of a face's picture, faces of a row, and rows of a page."""
COLOURS = {"detected": (0, 200, 0), "interpolated": (230, 200, 0), "tracked": (230, 0, 0)}


def write_sheets(frames: Iterator[Frame], found: Survey, folder: Path, name: str) -> list[Path]:
    """Write ``name-1.png``, ``name-2.png``, … into ``folder``; ``frames`` is the clip once more, from its start."""
    lives: dict[int, list[tuple[int, Face]]] = {}
    for index in found.frames:
        for face in found.faces_at(index):
            lives.setdefault(face.track_id, []).append((index, face))
    wanted: dict[int, list[tuple[int, int, Face]]] = {}
    for track, life in lives.items():
        for column, at in enumerate(np.linspace(0, len(life) - 1, min(FACES, len(life))).round().astype(int)):
            wanted.setdefault(life[at][0], []).append((track, column, life[at][1]))
    rows = {track: np.full((SIDE, 70 + SIDE * FACES, 3), 255, np.uint8) for track in sorted(lives)}
    for frame in frames:
        for track, column, face in wanted.get(frame.index, ()):
            at = 70 + SIDE * column
            rows[track][:, at : at + SIDE] = _picture(frame, face)
    for track, row in rows.items():
        for line, text in enumerate((str(track), str(lives[track][0][0]), str(lives[track][-1][0]))):
            cv2.putText(row, text, (4, 30 + 28 * line), cv2.FONT_HERSHEY_SIMPLEX, 0.8 - 0.2 * bool(line), (0, 0, 0), 2)
    folder.mkdir(parents=True, exist_ok=True)
    pages = []
    for start in range(0, len(rows), ROWS):
        page = folder / f"{name}-{start // ROWS + 1}.png"
        cv2.imwrite(str(page), np.vstack(list(rows.values())[start : start + ROWS])[..., ::-1])
        pages.append(page)
    return pages


def _picture(frame: Frame, face: Face) -> UInt8:
    picture = np.ascontiguousarray(window_rgb(frame, square_crop_box(face.box, 1.5), SIDE))
    high = max(1.0, float(np.quantile(picture, 0.98)))
    # People in a dark hall are told apart by eye only after this.
    picture = np.asarray(cv2.convertScaleAbs(picture, alpha=min(6.0, max(1.0, 230 / high))), np.uint8)
    cv2.rectangle(picture, (0, 0), (SIDE - 1, SIDE - 1), COLOURS[face.detection], 2)
    for colour, width in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(picture, str(frame.index), (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, width)
    return picture
