"""Draw verdicts into pictures, and write these as a video."""

from __future__ import annotations

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

FAKE, REAL = (220, 40, 40), (40, 160, 60)


def annotate(picture: UInt8, faces: Sequence[tuple[IntBox, float, UInt8 | None]], threshold: float) -> UInt8:
    """A picture with each face's box, score and map; red is forged.

    Args:
        picture: uint8 (H, W, 3) RGB.
        faces: box in pixels, score, and map of the box, uint8 of any size, 255 surely forged.
        threshold: a score above it means fake.
    """
    drawn = picture.copy()
    height, width = picture.shape[:2]
    for (x0, y0, x1, y1), score, small in faces:
        a, b, c, d = max(0, x0), max(0, y0), min(width, x1), min(height, y1)
        if small is not None and a < c and b < d:
            heat = np.asarray(cv2.resize(small, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR), np.uint8)
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


@contextmanager
def written_video(path: Path, fps: float) -> Iterator[Callable[[UInt8], None]]:
    """A function that adds a picture to an H.264 file, which gets its name at the end; an error leaves nothing.

    Pictures are uint8 (H, W, 3) RGB; odd sides lose a pixel.

    Raises:
        StorageError: it cannot be written.
    """
    temporary = temporary_name(path)
    rate = Fraction(round(fps * 1000) if fps > 0 else 25000, 1000)
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with av.open(str(temporary), "w", format="mp4") as container:
                stream: Any = container.add_stream("libx264", rate=rate)

                def add(picture: UInt8) -> None:
                    height, width = (max(2, side // 2 * 2) for side in picture.shape[:2])
                    if not stream.codec_context.is_open:
                        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
                    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:height, :width]), format="rgb24")
                    container.mux(stream.encode(frame))

                yield add
                container.mux(stream.encode())
            publish(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
