"""Clips coded like the genuine FaceForensics++, for benchmarks: real talking heads, forged here, in its layout.

Every head is scaled so that its face has the wanted size, and its picture is continued by mirror images of its rim to
the size of the frame; each fake rewrites a part of the face in one of five ways (``forgeries.py``). All is H.264 at
c23, yuv444p. Without footage the clips are the demo's, whose faces are as large.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from forgeries import Shot, Target, UInt8, forge, landmarks_model, lent_expression, style_of

from forgeprep.demo import make_demo

METHODS = {
    "Deepfakes": "swap-hull",
    "Face2Face": "expression",
    "FaceSwap": "swap-warp",
    "NeuralTextures": "mouth",
    "FaceShifter": "resynthesis",
}
"""Folder of a method -> the way that it is forged here."""
HEADS = ("vr_1", "lp_d10", "lp_s13", "vr_3")
"""Clips of the footage that are used, in this order."""
NAMES = ("720", "672", "939", "115")
"""Their names: two pairs of the official training split."""


def make_genuine(
    root: Path,
    footage: Path | None,
    *,
    people: int = 2,
    frames: int = 75,
    size: tuple[int, int] = (1280, 720),
    face: int = 150,
) -> None:
    """Write a tree in the layout of FaceForensics++, an original and five fakes for each of ``people`` (1, 2 or 4).

    ``face`` is the side of dlib's box in pixels; ``size`` is width and height of the frames.
    """
    if footage is None or not footage.is_dir():
        methods = [method for method in METHODS if method != "FaceShifter"]
        make_demo(root, people=people, seconds=frames / 25, size=size, compressions=("c23",), methods=methods)
        return
    shots = [_load(footage / f"{name}.mp4", frames, size, face) for name in HEADS[:people]]
    for number, shot in enumerate(shots):
        other = number ^ 1 if number ^ 1 < len(shots) else 0
        _write(root / f"original_sequences/youtube/c23/videos/{NAMES[number]}.mp4", shot.frames, size)
        for method, way in METHODS.items():
            name = f"{NAMES[number]}_{NAMES[number ^ 1]}.mp4"
            path = root / "manipulated_sequences" / method / "c23/videos" / name
            _write(path, _forged(way, shot, shots[other], number), size)


def _load(clip: Path, count: int, size: tuple[int, int], side: int) -> Shot:
    import dlib

    find, fit = dlib.get_frontal_face_detector(), landmarks_model()
    frames: list[UInt8] = []
    points: list[list[list[int]]] = []
    scale, box = 0.0, None
    for picture in _there_and_back(clip, count):
        if not scale:
            first = _largest(find(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), 1))
            scale = side / first.width()
        frame = _scaled(picture, scale, size)
        gray = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
        box = box if box is not None and len(frames) % 5 else _largest(find(gray, 0)) or box
        assert box is not None, f"{clip}: no face at that size"
        shape = fit(gray, box)
        points.append([[shape.part(i).x, shape.part(i).y] for i in range(68)])
        frames.append(frame)
    return Shot(clip.stem, 25.0, frames, np.array(points, np.float32))


def _there_and_back(clip: Path, count: int) -> Iterator[UInt8]:
    """So many frames of a clip, in BGR: from its end on it runs backwards."""
    with av.open(str(clip)) as container:
        pictures = [picture.to_ndarray(format="bgr24") for picture, _ in zip(container.decode(video=0), range(count))]  # noqa: B905
    order = [*range(len(pictures)), *range(len(pictures) - 2, 0, -1)]
    for number in range(count):
        yield pictures[order[number % len(order)]]


def _scaled(picture: UInt8, scale: float, size: tuple[int, int]) -> UInt8:
    """The picture scaled; what is larger than the frame is cut off."""
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    part = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=way)
    # Heads are in the upper half of a portrait.
    top, left = max(0, part.shape[0] - size[1]) // 3, max(0, part.shape[1] - size[0]) // 2
    return np.ascontiguousarray(part[top : top + size[1], left : left + size[0]])


def _continued(part: UInt8, missing: int, axis: int) -> UInt8:
    """The picture made longer at both ends by mirror images of its rim, which shows no face."""
    if missing <= 0:
        return part
    strip = max(8, part.shape[axis] // 10)
    first, last = np.split(part, [strip, part.shape[axis] - strip], axis=axis)[::2]
    edges = [(0, 0)] * 3
    edges[axis] = (missing // 2, 0)
    before = np.pad(first, edges, mode="symmetric")
    edges[axis] = (0, missing - missing // 2)
    after = np.pad(last, edges, mode="symmetric")
    middle = np.split(part, [strip, part.shape[axis] - strip], axis=axis)[1]
    return np.ascontiguousarray(np.concatenate([before, middle, after], axis=axis))


def _largest(boxes: Any) -> Any:
    return max(boxes, key=lambda box: box.area(), default=None)


def _forged(way: str, shot: Shot, source: Shot, number: int) -> Iterator[UInt8]:
    style = style_of(way, np.random.default_rng(number))
    for at, (frame, points) in enumerate(zip(shot.frames, shot.points, strict=True)):
        lent = lent_expression(source.points[at], source.points[0], points)
        target = Target(frame, points, source.frames[at], source.points[at], lent, at / shot.fps)
        yield forge(way, target, style)[0]


def _write(path: Path, frames: Iterable[UInt8], size: tuple[int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream: Any = None
        for frame in frames:
            if stream is None:
                stream = container.add_stream("libx264", rate=25, options={"crf": "23", "preset": "medium"})
                stream.width, stream.height = size
                stream.pix_fmt = "yuv444p"
            whole = _continued(_continued(frame, size[0] - frame.shape[1], axis=1), size[1] - frame.shape[0], axis=0)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(whole, format="bgr24")))
        container.mux(stream.encode())
