"""Where the demo's files go: the tree of FaceForensics++, and the truth beside it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import av
import cv2
import numpy as np

from forgeprep.demo.animate import Motion, SensorNoise, backward_maps, make_fields, render
from forgeprep.demo.forge import forge_frame, make_forgery
from forgeprep.demo.people import UInt8, make_person

CRF = {"raw": 0, "c23": 23, "c40": 40}

PAIRS = (
    ("train", "071", "054"), ("val", "720", "672"), ("test", "953", "974"), ("train", "087", "081"),
    ("train", "881", "856"), ("val", "939", "115"), ("test", "000", "003"), ("train", "187", "234"),
)  # fmt: skip
"""Pairs of the official split, so that the demo's clips fall into the same splits as the real ones of that name."""


@dataclass(frozen=True, slots=True)
class ClipJob:
    """One clip to render, at all compressions. ``method`` is None for an original; then ``source`` is unused."""

    root: Path
    target: str
    source: str
    method: str | None
    numbers: dict[str, int]
    seconds: float
    size_wh: tuple[int, int]
    fps: int
    compressions: tuple[str, ...]
    seed: int
    pixel_format: str


def frame_count(identity: str, seconds: float, fps: int) -> int:
    """People's clips differ a little in length, as real ones do."""
    return max(2, round(seconds * fps) + (int(identity) % 3 - 1) * max(1, round(0.12 * seconds * fps / 3)))


def write_clip(job: ClipJob) -> int:
    """Render a clip and write it at every compression; returns the number of files.

    Frames go straight into the encoders: memory does not grow with the clip's length.
    """
    cv2.setNumThreads(0)
    length = frame_count(job.target, job.seconds, job.fps)
    if job.method == "FaceSwap":
        # As in the real dataset: a swap ends with the shorter of its two clips.
        length = min(length, frame_count(job.source, job.seconds, job.fps))
    name = f"{job.target}.mp4" if job.method is None else f"{job.target}_{job.source}.mp4"
    folder = "original_sequences/youtube" if job.method is None else f"manipulated_sequences/{job.method}"
    paths = [job.root / folder / compression / "videos" / name for compression in job.compressions]
    with ExitStack() as stack:
        sinks = [
            stack.enter_context(_Encoder(path, job, CRF[c])) for path, c in zip(paths, job.compressions, strict=True)
        ]
        if job.method is not None:
            mask_path = job.root / folder / "masks" / "videos" / name
            masks = stack.enter_context(_Encoder(mask_path, job, 20))
            truth = stack.enter_context(_truth_file(job, length))
        for frame, mask in _frames(job, length):
            for sink in sinks:
                sink.write(frame)
            if mask is not None:
                truth.write(np.packbits(mask, axis=-1).tobytes())
                masks.write(cv2.merge([mask.astype(np.uint8) * 255] * 3))
    return len(paths) + (job.method is not None)


def write_splits(root: Path, pairs: Sequence[tuple[str, str, str]]) -> None:
    """``splits/{train,val,test}.json`` in the official form: a list of pairs."""
    folder = root / "splits"
    folder.mkdir(parents=True, exist_ok=True)
    for split in ("train", "val", "test"):
        listed = [[a, b] for name, a, b in pairs if name == split]
        (folder / f"{split}.json").write_text(json.dumps(listed, indent=2) + "\n")


def _frames(job: ClipJob, length: int) -> Iterator[tuple[UInt8, Any]]:
    target = make_person(job.numbers[job.target], job.seed, job.size_wh)
    fields = make_fields(target)
    own = Motion(job.seed, int(job.target))
    noise = SensorNoise(job.seed, int(job.target), target.still.shape[:2])
    forgery, lent = None, own
    if job.method is not None:
        source = make_person(job.numbers[job.source], job.seed, job.size_wh)
        forgery, lent = make_forgery(job.method, target, source), Motion(job.seed, int(job.source))
    for number in range(length):
        t = number / job.fps
        expression = own.expression(t)
        maps = backward_maps(target, fields, own.pose(t), expression)
        frame = noise.add(render(target.still, fields, maps, expression), number)
        if forgery is None:
            yield frame, None
        else:
            yield forge_frame(forgery, frame, target, fields, own, lent, t)


@contextmanager
def _truth_file(job: ClipJob, length: int) -> Iterator[IO[bytes]]:
    """``truth/<method>/<target>_<source>.npz``, its array ``mask`` open to be written frame by frame."""
    width, height = job.size_wh
    path = job.root / "truth" / str(job.method) / f"{job.target}_{job.source}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        # A member made this way has no time stamp, so that equal masks give equal bytes.
        with archive.open(zipfile.ZipInfo("shape.npy"), "w") as member:
            np.lib.format.write_array(member, np.array([length, height, width]))
        info = zipfile.ZipInfo("mask.npy")
        info.compress_type = zipfile.ZIP_DEFLATED
        with archive.open(info, "w", force_zip64=True) as member:
            header = {"descr": "|u1", "fortran_order": False, "shape": (length, height, (width + 7) // 8)}
            np.lib.format.write_array_header_1_0(member, header)
            yield member


class _Encoder:
    """An H.264 file; one thread, so that the same frames give the same bytes."""

    def __init__(self, path: Path, job: ClipJob, crf: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.container = av.open(str(path), "w")
        # x264's macroblock tree reads memory it has not set: with it, equal frames give other bytes on another try.
        # Without loss any preset gives the same pixels; this one's are decoded three times as fast.
        preset = "ultrafast" if crf == 0 else "veryfast"
        options = {"crf": str(crf), "preset": preset, "threads": "1", "x264-params": "mbtree=0"}
        self.stream = self.container.add_stream("libx264", rate=job.fps, options=options)
        self.stream.width, self.stream.height = job.size_wh
        self.stream.pix_fmt = job.pixel_format

    def __enter__(self) -> _Encoder:
        return self

    def write(self, rgb: UInt8) -> None:
        self.container.mux(self.stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))

    def __exit__(self, failure: object, *_: object) -> None:
        if failure is None:
            self.container.mux(self.stream.encode())
        self.container.close()
