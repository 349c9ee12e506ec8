"""From a picture that FFmpeg decoded to a :class:`~forgeprep.media.frames.Frame`, and facts of a file's coding."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from forgeprep.media.colour import chroma_at_full_size
from forgeprep.media.frames import Frame, Plane

_MATRICES = {1: "bt709", 4: "fcc", 5: "bt601", 6: "bt601", 7: "smpte240m", 9: "bt2020", 10: "bt2020"}
"""FFmpeg's AVColorSpace -> colour matrix; 0 is RGB and 2 is untagged."""
_LIMITED, _FULL = 1, 2
"""FFmpeg's AVColorRange; 0 is untagged."""
_HDR = {16: "pq", 18: "hlg"}
"""FFmpeg's AVColorTransferCharacteristic -> the curve's name."""
_PACKED = {
    "rgb24": (3, (0, 1, 2)), "rgba": (4, (0, 1, 2)), "rgb0": (4, (0, 1, 2)), "argb": (4, (1, 2, 3)),
    "bgr24": (3, (2, 1, 0)), "bgra": (4, (2, 1, 0)), "bgr0": (4, (2, 1, 0)), "abgr": (4, (3, 2, 1)),
    "0rgb": (4, (1, 2, 3)), "0bgr": (4, (3, 2, 1)),
}  # fmt: skip
"""Packed formats -> bytes of a pixel, and the positions of red, green and blue."""
_LEFT_SITED = frozenset({"h264", "hevc", "mpeg2video", "mpeg4"})
"""Codecs whose halved chroma lies on the left pixel by default; that of other codecs is centred in FFmpeg."""
_SITINGS = {"left": (0, 1), "centre": (1, 1), "topleft": (0, 0), "top": (1, 0)}
"""Where halved chroma may lie: on the first pixel (0) or between it and its neighbour (1), across and down."""
_TURNS = {
    (False, False, False): (0, False), (False, True, True): (180, False), (True, True, False): (90, False),
    (True, False, True): (270, False), (False, True, False): (0, True), (False, False, True): (180, True),
    (True, True, True): (90, True), (True, False, False): (270, True),
}  # fmt: skip
"""Transposed, mirrored, flipped -> clockwise degrees, and whether mirrored before that."""
_MOST_ASPECT = 4.0
"""A header that claims pixels more oblong than this is wrong."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a file says of its coding.

    Attributes:
        codec: FFmpeg's name of the codec, ``h264``.
        profile: the codec's profile, ``High 4:4:4 Predictive``; None where it has none.
        pixel_format: FFmpeg's name, ``yuv444p``; of a picture its mode, ``RGB``.
        color_range: ``limited`` or ``full``, as used here.
        color_matrix: ``bt601``, ``bt709``, …, as used here; None for RGB and gray.
        chroma_siting: where halved chroma lies: ``left``, ``centre``, ``topleft``, ``top``; None where it is whole.
        range_tagged, matrix_tagged: whether the file states them; else they are the usual assumption.
        pixel_aspect: width of a pixel over its height; frames are brought to square pixels.
        cropped: whether the container shows a part of the coded picture only; frames are that part.
        rotation: clockwise degrees by which frames are turned to be upright: 0, 90, 180, 270.
        mirrored: whether they are mirrored left to right before they are turned.
        interlaced: whether the first frame is made of two fields; frames are left as they are.
        hdr: ``pq`` or ``hlg`` where the brightness of the first frame is coded so (ITU-R BT.2100); pixels are left as
            they are, and look flat.
    """

    codec: str
    pixel_format: str
    color_range: str
    profile: str | None = None
    color_matrix: str | None = None
    chroma_siting: str | None = None
    range_tagged: bool = False
    matrix_tagged: bool = False
    pixel_aspect: float = 1.0
    cropped: bool = False
    rotation: int = 0
    mirrored: bool = False
    interlaced: bool = False
    hdr: str | None = None


def frame_of(picture: Any, index: int, time_s: float = 0.0, siting: tuple[float, float] | None = None) -> Frame:
    """A decoded picture as a frame; its planes are views wherever the format allows it.

    ``siting`` is that of its chroma, see :func:`siting_of`; centred without.

    Formats without planes of 8 to 16 bits of their own (packed YUV, palettes, big-endian samples) are first unpacked by
    FFmpeg, without loss of samples.
    """
    name = picture.format.name
    full = _is_full(picture)
    if name in _PACKED:
        step, order = _PACKED[name]
        rows = np.frombuffer(picture.planes[0], np.uint8).reshape(-1, picture.planes[0].line_size)
        pixels = rows[: picture.height, : picture.width * step].reshape(picture.height, picture.width, step)
        return Frame(index, time_s, tuple(pixels[..., i] for i in order), "rgb", (0, 0), full_range=True, siting=(0, 0))
    if not _has_planes(picture.format):
        return frame_of(_unpacked(picture), index, time_s, siting)
    parts = picture.format.components
    bits = parts[0].bits
    if picture.format.is_rgb:
        planes = tuple(_plane(picture, part) for part in parts[:3])
        return Frame(index, time_s, planes, "rgb", (0, 0), bits, full_range=True, siting=(0, 0))
    if len(parts) < 3:
        # FFmpeg takes gray as full range, whatever the tag says.
        return Frame(index, time_s, (_plane(picture, parts[0]),), "gray", (0, 0), bits, full_range=True, siting=(0, 0))
    planes = tuple(_plane(picture, part) for part in parts[:3])
    shift = _shift_of(picture)
    matrix = _MATRICES.get(int(picture.colorspace), "bt601")
    return Frame(index, time_s, planes, "yuv", shift, bits, matrix, full, siting or _centred(shift))


def facts_of(stream: Any, picture: Any, edges: tuple[int, int, int, int] = (0, 0, 0, 0)) -> Facts:
    """What a stream and its first decoded picture say; ``edges`` are those of :func:`edges_of`."""
    rotation, mirrored = _TURNS[orientation(picture)]
    rgb_or_gray = picture.format.is_rgb or len(picture.format.components) < 3
    space, tagged_range = int(picture.colorspace), int(picture.color_range)
    full = rgb_or_gray or _is_full(picture)
    return Facts(
        codec=stream.codec_context.codec.name,
        profile=stream.codec_context.profile or None,
        pixel_format=picture.format.name,
        color_range="full" if full else "limited",
        color_matrix=None if rgb_or_gray else _MATRICES.get(space, "bt601"),
        range_tagged=tagged_range in (_LIMITED, _FULL),
        matrix_tagged=space in _MATRICES,
        chroma_siting=_named(siting_of(picture, stream.codec_context.codec.name), _shift_of(picture)),
        pixel_aspect=pixel_aspect(stream),
        cropped=any(edges),
        rotation=rotation,
        mirrored=mirrored,
        interlaced=bool(picture.interlaced_frame),
        hdr=_HDR.get(int(stream.codec_context.color_trc)),
    )


def siting_of(picture: Any, codec: str) -> tuple[float, float] | None:
    """Where halved chroma lies, as :class:`~forgeprep.media.frames.Frame` has it; None where it is not halved.

    PyAV does not pass on the stream's siting, but FFmpeg's scaler uses it: the siting is found by which one reproduces
    the scaler's chroma. The codec's usual siting is taken for a picture without colour edges, and for one with an odd
    number of columns or rows whose chroma is halved: there the scaler stretches chroma over the picture anyway.
    """
    shift = _shift_of(picture)
    if picture.format.is_rgb or len(picture.format.components) < 3 or shift not in ((1, 1), (1, 0)):
        return None
    first = "left" if codec in _LEFT_SITED else "centre"
    if picture.width % (1 << shift[0]) or picture.height % (1 << shift[1]):
        return _siting(first, shift)
    from av.video.reformatter import Interpolation

    flags = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP
    plain = picture if _has_planes(picture.format) else _unpacked(picture)
    frame = frame_of(plain, 0)
    deep = f"p{frame.bits}le" if frame.bits > 8 else "p"
    wanted = frame_of(plain.reformat(format=f"yuv444{deep}", interpolation=flags), 0).planes[1]
    whole = (0, 0, *frame.size_wh)
    errors: dict[str, float] = {}
    for name in sorted(_SITINGS, key=lambda name: name != first):
        own = chroma_at_full_size(replace(frame, siting=_siting(name, frame.shift)), 1, whole)
        errors[name] = cv2.norm(own.astype(np.float32) / 2 ** (16 - frame.bits), wanted.astype(np.float32), cv2.NORM_L2)
    best = min(errors, key=lambda name: errors[name])
    return _siting(best if errors[best] < 0.8 * errors[first] else first, frame.shift)


def pixel_aspect(stream: Any) -> float:
    """Width over height of a stream's pixels; 1 where it does not say, or nothing sensible."""
    said = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
    aspect = float(said) if said else 1.0
    return aspect if 1 / _MOST_ASPECT <= aspect <= _MOST_ASPECT else 1.0


def edges_of(container: Any, stream: Any) -> tuple[int, int, int, int]:
    """Pixels that the container crops from the top, bottom, left and right: MP4's ``clap``, Matroska's crop.

    FFmpeg's decoders leave cropping to the player, and PyAV reports it only in its description of the file as text.
    """
    import av

    level = av.logging.get_level()
    av.logging.set_level(av.logging.INFO)
    try:
        told = container.dumps_format()
    finally:
        av.logging.set_level(level)
    streams = re.split(r"^ *Stream #\d+:(\d+)", told, flags=re.MULTILINE)[1:]
    own = dict(zip(map(int, streams[::2]), streams[1::2], strict=True)).get(stream.index, "")
    found = re.search(r"^ *Frame Cropping: (\d+)/(\d+)/(\d+)/(\d+)$", own, flags=re.MULTILINE | re.IGNORECASE)
    left, right, top, bottom = map(int, found.groups()) if found else (0, 0, 0, 0)
    return top, bottom, left, right


def orientation(picture: Any) -> tuple[bool, bool, bool]:
    """How to turn a picture for display, as :func:`forgeprep.media.frames.turned` takes it; in quarter turns."""
    from av.sidedata.sidedata import Type

    data = picture.side_data.get(Type.DISPLAYMATRIX)
    if data is None:
        return False, False, False
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(data)[:36])
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return False, a < 0, d < 0
    return True, c < 0, b < 0


def _is_full(picture: Any) -> bool:
    return int(picture.color_range) == _FULL or picture.format.name.startswith("yuvj")


def _has_planes(form: Any) -> bool:
    """Whether all samples but an alpha's lie in planes of their own, of 8 bits, or of more at the low end of 16."""
    parts = form.components
    own = len({part.plane for part in parts}) == len(parts)
    low = "msb" not in form.name
    return own and low and 8 <= parts[0].bits <= 16 and not (form.has_palette or form.is_big_endian)


def _unpacked(picture: Any) -> Any:
    form = picture.format
    parts = form.components
    bits = max(part.bits for part in parts)
    deep = bits > 8
    if form.is_rgb or form.has_palette:
        name = "gbrp16le" if deep else "rgb24"
    elif len(parts) < 3:
        name = "gray16le" if deep else "gray"
    else:
        shift = _shift_of(picture)
        kind = {(1, 1): "yuv420p", (1, 0): "yuv422p", (0, 1): "yuv440p"}.get(shift, "yuv444p")
        name = kind + (f"{10 if bits <= 10 else 12 if kind == 'yuv440p' else 16}le" if deep else "")
    return picture.reformat(format=name)


def _plane(picture: Any, part: Any) -> Plane:
    plane = picture.planes[part.plane]
    kind = np.uint8 if part.bits == 8 else np.uint16
    rows = np.frombuffer(plane, kind).reshape(-1, plane.line_size // np.dtype(kind).itemsize)
    return rows[: part.height, : part.width]


def _shift_of(picture: Any) -> tuple[int, int]:
    parts = picture.format.components
    if picture.format.is_rgb or len(parts) < 3:
        return 0, 0
    return _halvings(picture.width, parts[1].width), _halvings(picture.height, parts[1].height)


def _centred(shift: tuple[int, int]) -> tuple[float, float]:
    """The siting in the middle of the pixels that a sample covers."""
    return ((1 << shift[0]) - 1) / 2, ((1 << shift[1]) - 1) / 2


def _siting(name: str, shift: tuple[int, int]) -> tuple[float, float]:
    across, down = _centred(shift)
    return across * _SITINGS[name][0], down * _SITINGS[name][1]


def _named(siting: tuple[float, float] | None, shift: tuple[int, int]) -> str | None:
    return next((name for name in _SITINGS if siting is not None and _siting(name, shift) == siting), None)


def _halvings(whole: int, part: int) -> int:
    shift = 0
    while -(-whole >> shift) > part and shift < 3:
        shift += 1
    return shift
