"""Perturbations that store a picture and read it again: still-picture formats and video codecs.

All take uint8 (H, W, 3) RGB and give the same. A video codec gets the picture alone, as one key frame: the result
depends on that picture and the parameters only, not on earlier frames of the clip.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import cast

import av
import cv2
import numpy as np
from av.video.codeccontext import VideoCodecContext

from forgeprep.media.frames import UInt8

_X265 = "log-level=none:pools=none:frame-threads=1:wpp=0"
_VP9 = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "b": "0"}

ENCODERS = {"h264": "libx264", "h265": "libx265", "mpeg4": "mpeg4", "vp9": "libvpx-vp9"}
"""Name of a perturbation -> FFmpeg's name of its encoder; PyAV's wheels have all of them, other builds may not."""


def missing_encoder(names: Iterable[str]) -> str | None:
    """The first encoder that these perturbations need and PyAV lacks; None if all are there."""
    needed = (ENCODERS[name] for name in names if name in ENCODERS)
    return next((encoder for encoder in needed if encoder not in av.codecs_available), None)


def jpeg(image: UInt8, *, quality: int) -> UInt8:
    """Store as JPEG of ``quality``, 1 to 100, colour at half the resolution."""
    return _stored(image, ".jpg", [cv2.IMWRITE_JPEG_QUALITY, quality])


def jpeg_twice(image: UInt8, *, first: int, second: int) -> UInt8:
    """Store as JPEG of quality ``first``, then of ``second`` on a grid of blocks that lies 4 pixels off."""
    once = jpeg(image, quality=first)
    shifted = cv2.copyMakeBorder(once, 4, 0, 4, 0, cv2.BORDER_REPLICATE)
    return np.ascontiguousarray(jpeg(np.asarray(shifted, np.uint8), quality=second)[4:, 4:])


def webp(image: UInt8, *, quality: int) -> UInt8:
    """Store as lossy WebP of ``quality``, 1 to 100."""
    return _stored(image, ".webp", [cv2.IMWRITE_WEBP_QUALITY, quality])


def chroma_subsampling(image: UInt8, *, factor: int) -> UInt8:
    """Keep one colour for ``factor`` x ``factor`` pixels, and all of the luma."""
    height, width = image.shape[:2]
    ycc = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)
    small = max(1, round(width / factor)), max(1, round(height / factor))
    coarse = cv2.resize(ycc[..., 1:], small, interpolation=cv2.INTER_AREA)
    ycc[..., 1:] = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.cvtColor(ycc, cv2.COLOR_YCrCb2RGB), np.uint8)


def h264(image: UInt8, *, crf: int) -> UInt8:
    """Encode as H.264 by x264 at ``crf``, 0 to 51."""
    return _encoded(image, ENCODERS["h264"], "h264", {"preset": "medium", "crf": str(crf)})


def h265(image: UInt8, *, crf: int) -> UInt8:
    """Encode as H.265 by x265 at ``crf``, 0 to 51."""
    return _encoded(image, ENCODERS["h265"], "hevc", {"preset": "ultrafast", "crf": str(crf), "x265-params": _X265})


def mpeg4(image: UInt8, *, quantizer: int) -> UInt8:
    """Encode as MPEG-4 Part 2, the codec of DivX and Xvid, at a fixed ``quantizer``, 1 to 31."""
    return _encoded(image, ENCODERS["mpeg4"], "mpeg4", dict.fromkeys(("qmin", "qmax"), str(quantizer)))


def vp9(image: UInt8, *, quantizer: int) -> UInt8:
    """Encode as VP9 by libvpx at a fixed ``quantizer``, 0 to 63."""
    fixed = dict.fromkeys(("crf", "qmin", "qmax"), str(quantizer))
    return _encoded(image, ENCODERS["vp9"], "vp9", {**_VP9, **fixed})


def _stored(image: UInt8, suffix: str, options: list[int]) -> UInt8:
    done, data = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR) if done else None
    if picture is None:
        raise RuntimeError(f"OpenCV cannot store a picture of {image.shape[1]}x{image.shape[0]} as {suffix}")
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


def _encoded(image: UInt8, encoder: str, decoder: str, options: dict[str, str]) -> UInt8:
    height, width = image.shape[:2]
    # Planes of half the resolution need even sides.
    even = cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    planes = np.asarray(cv2.cvtColor(even, cv2.COLOR_RGB2YUV_I420), np.uint8)
    frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
    frame.pts = 0
    writer = cast(VideoCodecContext, av.CodecContext.create(encoder, "w"))
    writer.width, writer.height, writer.pix_fmt = frame.width, frame.height, "yuv420p"
    writer.time_base, writer.framerate, writer.thread_count = Fraction(1, 25), Fraction(25), 1
    writer.options = options
    packets = [*writer.encode(frame), *writer.encode(None)]
    reader = cast(VideoCodecContext, av.CodecContext.create(decoder, "r"))
    reader.thread_count = 1
    frames = [back for packet in packets for back in reader.decode(packet)] + reader.decode(None)
    decoded = cv2.cvtColor(frames[0].to_ndarray(format="yuv420p"), cv2.COLOR_YUV2RGB_I420)
    return np.ascontiguousarray(decoded[:height, :width], np.uint8)
