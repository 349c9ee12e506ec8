"""Clips of other codecs and pixel formats than H.264 in 4:2:0."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from tests.conftest import UInt8


def write_clip(
    path: Path,
    frames: list[UInt8],
    codec: str,
    pixel_format: str,
    *,
    crf: str = "18",
    aspect: tuple[int, int] | None = None,
    options: dict[str, str] | None = None,
) -> None:
    more = {"crf": crf} if codec == "libx264" else {}
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25, options={**more, **(options or {})})
        stream.width, stream.height, stream.pix_fmt = frames[0].shape[1], frames[0].shape[0], pixel_format
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = Fraction(*aspect)
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode())
