"""Draw verdicts into pictures, and write these as a video."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from forgeprep.io.atomic import publish, storage_errors, temporary_name
from forgeprep.media.frames import UInt8
from forgeprep.media.regions import IntBox
from forgeprep.media.sound import with_sound

FAKE, REAL = (206, 32, 150), (36, 110, 200)
"""Magenta and blue: nobody knows here what is right, so no red and green; and neither is a colour of skin."""
_CLOCK = 90_000


def annotate(
    picture: UInt8, faces: Sequence[tuple[IntBox, float, UInt8 | None]], threshold: float, cut: float = 0.5
) -> UInt8:
    """A picture with each face's box and score, and what looks forged tinted.

    Args:
        picture: uint8 (H, W, 3) RGB.
        faces: box in pixels, score, and map of the box, uint8 of any size, 255 surely forged.
        threshold: a score above it means fake.
        cut: of the map, 0 to 1; only what is above it is tinted, the more the surer.
    """
    drawn = picture.copy()
    height, width = picture.shape[:2]
    for (x0, y0, x1, y1), score, small in faces:
        a, b, c, d = max(0, x0), max(0, y0), min(width, x1), min(height, y1)
        if small is not None and a < c and b < d:
            heat = np.asarray(cv2.resize(small, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR), np.uint8)
            part = tint(heat[b - y0 : d - y0, a - x0 : c - x0].astype(np.float32) / 255, cut)[..., None]
            drawn[b:d, a:c] = (drawn[b:d, a:c] * (1 - part) + part * np.array(FAKE)).astype(np.uint8)
            above = (heat > 255 * cut).astype(np.uint8)
            lines, _ = cv2.findContours(above, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
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


def tint(heat: Any, cut: float) -> Any:
    """How strongly each place of a map, 0 to 1, is tinted, 0 to 0.65: not at all up to ``cut``, from there growing."""
    return np.where(heat > cut, 0.2 + 0.45 * (heat - cut) / max(1e-6, 1 - cut), 0.0)


@contextmanager
def written_video(path: Path, fps: float, sound: Path | None = None) -> Iterator[Callable[..., None]]:
    """A function that adds a picture to an H.264 file, which gets its name at the end; an error leaves nothing.

    Pictures are uint8 (H, W, 3) RGB; odd sides lose a pixel. ``add(picture, time_s)`` says when it is shown; without a
    time it follows the one before at the rate ``fps``. ``sound`` is a file whose sound goes into it, if it has any.

    Raises:
        StorageError: it cannot be written.
    """
    temporary, mixed = temporary_name(path), temporary_name(path)
    step = round(_CLOCK / fps) if fps > 0 else _CLOCK // 25
    last = -step
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with av.open(str(temporary), "w", format="mp4") as container:
                # The usual preset takes more than half of all the time that a clip is judged in, for a copy to look at.
                quick = {"preset": "veryfast"}
                stream: Any = container.add_stream("libx264", rate=Fraction(_CLOCK, step), options=quick)
                stream.codec_context.time_base = Fraction(1, _CLOCK)

                def add(picture: UInt8, time_s: float = math.nan) -> None:
                    nonlocal last
                    height, width = (max(2, side // 2 * 2) for side in picture.shape[:2])
                    if not stream.codec_context.is_open:
                        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
                    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:height, :width]), format="rgb24")
                    at = last + step if math.isnan(time_s) else round(time_s * _CLOCK)
                    last = max(at, last + 1)
                    frame.pts, frame.time_base = last, Fraction(1, _CLOCK)
                    container.mux(stream.encode(frame))

                yield add
                container.mux(stream.encode())
            if sound is not None and with_sound(temporary, sound, mixed):
                publish(mixed, path)
            else:
                publish(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
            mixed.unlink(missing_ok=True)
