"""Small files that claim to be large, and large ones that hold nothing: what takes memory and time for no picture."""

from __future__ import annotations

import io
import os
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import PIL.Image

from tests.conftest import UInt8
from tests.helpers.fuzz import good_pair

Bomb = Callable[[random.Random], tuple[str, bytes]]


def png(width: int, height: int, *more: tuple[bytes, bytes, int | None], data: bytes = bytes(1 << 16)) -> bytes:
    """A PNG of one gray; ``more`` are chunks before the picture: name, bytes, and the length that is claimed."""

    def chunk(name: bytes, inside: bytes, claimed: int | None = None) -> bytes:
        length = len(inside) if claimed is None else claimed
        return struct.pack(">I", length) + name + inside + struct.pack(">I", zlib.crc32(name + inside))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    between = b"".join(chunk(*one) for one in more)
    return b"\x89PNG\r\n\x1a\n" + header + between + chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b"")


def chunk_claim(draw: random.Random) -> tuple[str, bytes]:
    """A chunk of gigabytes in a few hundred bytes."""
    name = draw.choice([b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf", b"prVt", b"PLTE", b"fdAT", b"IDAT", b"acTL"])
    claimed = draw.choice([0xFFFFFFFF, 0xFFFFFFF3, 0x7FFFFFFF, 0xF0000000, 3_000_000_000, 1_500_000_000])
    return "png", png(64, 64, (name, draw.randbytes(500), claimed), data=bytes(64 * 193))


def packed_text(draw: random.Random) -> tuple[str, bytes]:
    """A packed text or profile of 300 MB."""
    packed = zlib.compress(bytes(300 << 20), 9)
    name, before = draw.choice([(b"zTXt", b"a\0\0"), (b"iCCP", b"a\0\0"), (b"iTXt", b"a\0\1\0\0\0")])
    return "png", png(64, 64, (name, before + packed, None), data=bytes(64 * 193))


def pixel_claim(draw: random.Random) -> tuple[str, bytes]:
    """A header of nearly as many pixels as are allowed, and no data for them."""
    width, height = draw.choice([(8192, 8192), (8000, 8000), (16384, 4096), (65000, 1000)])
    return "png", png(width, height)


def real_flood(draw: random.Random) -> tuple[str, bytes]:
    """As many pixels as are allowed, all there, of one colour."""
    side = draw.choice([8000, 8190])
    return "png", png(side, side, data=bytes((3 * side + 1) * side))


def animated(draw: random.Random) -> tuple[str, bytes]:
    """A moving PNG of more frames than atoms."""
    control = struct.pack(">IIIIIHHBB", 0, 60000, 60000, 0, 0, 1, 1, 0, 0)
    return "png", png(64, 64, (b"acTL", struct.pack(">II", 0x7FFFFFFF, 0), None), (b"fcTL", control, None))


def jpeg_scans(draw: random.Random) -> tuple[str, bytes]:
    """A progressive JPEG of a large picture with thousands of empty scans: each costs a pass over all of it."""
    out = io.BytesIO()
    PIL.Image.new("L", (64, 64)).save(out, "JPEG", progressive=True)
    data = bytearray(out.getvalue())
    at = data.find(b"\xff\xc2")
    data[at + 5 : at + 9] = struct.pack(">HH", 8000, 8000)
    scan = data[data.rfind(b"\xff\xda") : -2]
    return "jpg", bytes(data[:-2]) + bytes(scan) * draw.choice([300, 3000]) + b"\xff\xd9"


def webp_claim(draw: random.Random) -> tuple[str, bytes]:
    """A WebP of 16383 x 16383, or with a chunk of gigabytes."""
    data = bytearray(cv2.imencode(".webp", np.zeros((64, 64, 3), np.uint8))[1].tobytes())
    if draw.random() < 0.5:
        data[26:30] = b"\xff\x3f\xff\x0f"
    else:
        data[16:20] = struct.pack("<I", 0xFFFFFF00)
    return "webp", bytes(data)


def bmp_claim(draw: random.Random) -> tuple[str, bytes]:
    """A BMP of nearly as many pixels as are allowed."""
    bits = draw.choice([8, 24, 32])
    header = struct.pack("<IiiHHIIiiII", 40, 8190, draw.choice([8190, -8190]), 1, bits, 0, 0, 0, 0, 0, 0)
    return "bmp", b"BM" + struct.pack("<IHHI", 54 + 1000, 0, 0, 54) + header + bytes(1000)


def tiff_claim(draw: random.Random) -> tuple[str, bytes]:
    """A TIFF of one strip that is said to hold gigabytes."""
    side = draw.choice([8000, 8190])
    tags = [(256, 4, side), (257, 4, side), (258, 3, draw.choice([8, 16, 32])), (259, 3, draw.choice([1, 5, 8])),
            (262, 3, 1), (273, 4, 200), (277, 3, 1), (278, 4, side), (279, 4, 0x7FFFFFF0)]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return "tif", b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(400)


PICTURES: tuple[Bomb, ...] = (
    chunk_claim, packed_text, pixel_claim, real_flood, animated, jpeg_scans, webp_claim, bmp_claim, tiff_claim,
)  # fmt: skip


def huge_video(good: bytes, draw: random.Random) -> bytes:
    """A video whose boxes claim counts and sizes of gigabytes, or whose sequence parameters claim a huge picture."""
    hurt = bytearray(good)
    for name, offset in draw.sample([(b"stsz", 8), (b"stts", 4), (b"stts", 8), (b"stco", 4), (b"stsc", 4)], 2):
        at = hurt.find(name)
        hurt[at + 4 + offset : at + 8 + offset] = struct.pack(
            ">I", draw.choice([0x7FFFFFFF, 0xFFFFFFFF, 300_000_000, 60_000_000])
        )
    if draw.random() < 0.5:
        at = hurt.find(b"stsz")
        hurt[at + 8 : at + 12] = struct.pack(">I", draw.choice([0, 1, 1000]))
    if draw.random() < 0.3:
        at = hurt.find(b"avcC")
        for _ in range(3):
            hurt[at + 12 + draw.randrange(14)] = draw.randrange(256)
    return bytes(hurt)


def repeated(good: bytes, times: int) -> bytes:
    """A video all of whose samples are said to be the first one, again and again: frames without end."""
    moov = good.find(b"moov") - 4
    size = struct.unpack_from(">I", good, moov)[0]
    if moov + size != len(good):
        raise ValueError("the header must come last")
    data, head = good[:moov], good[moov:]
    first = struct.unpack_from(">I", head, head.find(b"stsz") + 16)[0]
    start = struct.unpack_from(">I", head, head.find(b"stco") + 12)[0]
    boxes = {
        b"stsz": struct.pack(">III", 0, first, times),
        b"stts": struct.pack(">IIII", 0, 1, times, 512),
        b"stsc": struct.pack(">IIIII", 0, 1, 1, 1, 1),
        b"stco": struct.pack(">II", 0, times) + struct.pack(">I", start) * times,
    }
    return data + _rebuilt(head, boxes)


def _rebuilt(box: bytes, replaced: dict[bytes, bytes]) -> bytes:
    """A box with some of those inside replaced, and all sizes right."""
    name = box[4:8]
    if name in replaced:
        body = replaced[name]
    elif name in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
        body, at = b"", 8
        while at < len(box):
            size = struct.unpack_from(">I", box, at)[0]
            if box[at + 4 : at + 8] not in (b"ctts", b"stss", b"edts"):
                body += _rebuilt(box[at : at + size], replaced)
            at += size
    else:
        body = box[8:]
    return struct.pack(">I", 8 + len(body)) + name + body


def make_bombs(folder: Path, count: int, face: UInt8, seed: int = 0) -> None:
    """Fill ``folder`` with ``real/`` and ``fake/swap``: two good clips, and ``count`` files that claim too much."""
    draw = random.Random(seed)
    real, fake, _ = good_pair(folder, face)
    good = (real / "good.mp4").read_bytes()
    for number in range(count):
        place = draw.choice([real, fake])
        if number % 3:
            bomb = PICTURES[number * 2 // 3 % len(PICTURES)]
            suffix, data = bomb(draw)
            (place / f"{bomb.__name__}{number:04d}.{suffix}").write_bytes(data)
        elif number % 10 == 9:
            (place / f"repeated{number:04d}.mp4").write_bytes(repeated(good, 100_000))
        else:
            (place / f"huge_video{number:04d}.mp4").write_bytes(huge_video(good, draw))
    for name in ("sparse.mp4", "hollow.png", "holes.mkv"):
        with (real / name).open("wb") as file:
            file.write(good if name.endswith("4") else b"\x89PNG\r\n\x1a\n")
            os.truncate(file.fileno(), 2 << 30)
