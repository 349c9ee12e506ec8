"""Damaged media files by the hundred, made from a few good clips and pictures; a seed makes the same ones again.

``python -m tests.helpers.fuzz FOLDER [COUNT]`` (:mod:`tests.helpers.fuzz_run`'s work) writes them as a dataset for
``forgeprep run folder``, runs it with and without them, damages shards too, and prints what became of all.
"""

from __future__ import annotations

import os
import random
import struct
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import av
import cv2
import numpy as np

from tests.conftest import UInt8, encode_video
from tests.helpers.mutations import jpeg_segments, mp4_boxes, nal_units, png_chunks, webp_chunks

Damage = Callable[[bytes, random.Random], bytes]


def flipped(data: bytes, draw: random.Random) -> bytes:
    """A few bits anywhere."""
    hurt = bytearray(data)
    for _ in range(draw.choice([1, 4, 32, 300])):
        hurt[draw.randrange(len(hurt))] ^= 1 << draw.randrange(8)
    return bytes(hurt)


def burst(data: bytes, draw: random.Random) -> bytes:
    """A stretch of noise, zeros or ones."""
    at, length = draw.randrange(len(data)), draw.choice([16, 500, 4000])
    filling = draw.choice([bytes(length), b"\xff" * length, draw.randbytes(length)])
    return data[:at] + filling + data[at + length :]


def truncated(data: bytes, draw: random.Random) -> bytes:
    """Cut short anywhere."""
    return data[: draw.randrange(len(data))]


def spliced(data: bytes, draw: random.Random) -> bytes:
    """A piece left out, doubled or moved."""
    a, b = sorted(draw.randrange(len(data)) for _ in range(2))
    return draw.choice([data[:a] + data[b:], data[:b] + data[a:], data[b:] + data[a:b] + data[:a]])


def swapped_atoms(data: bytes, draw: random.Random) -> bytes:
    """The boxes of the file, or the names of two boxes, change places."""
    boxes = list(_boxes(data))
    if draw.random() < 0.5:
        draw.shuffle(boxes)
        return b"".join(data[at : at + size] for at, size in boxes)
    names = [n for n in (b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"stts", b"stsz", b"stco", b"moov") if n in data]
    one, other = draw.sample(names, 2)
    return data.replace(one, b"\0\0\0\1").replace(other, one).replace(b"\0\0\0\1", other)


FIELDS = {
    b"tkhd": (76, 80, 20), b"avc1": (24, 26, 28), b"stsz": (4, 8, 12), b"stts": (4, 8, 12), b"stsc": (4, 8),
    b"stco": (4, 8), b"mdhd": (12, 16), b"mvhd": (12, 16), b"ctts": (4, 8), b"stss": (4,),
}  # fmt: skip
"""Boxes of a header, and where in them sizes, counts, times and offsets stand."""


def absurd(data: bytes, draw: random.Random) -> bytes:
    """Sizes, counts, durations and offsets of the header set to absurd values."""
    hurt = bytearray(data)
    for name, offsets in FIELDS.items():
        at = hurt.find(name)
        if at > 0 and draw.random() < 0.35:
            where = at + 4 + draw.choice(offsets)
            value = draw.choice([0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFF0000, 1_000_000_000, draw.getrandbits(32)])
            hurt[where : where + 4] = struct.pack(">I", value)
    at = hurt.find(b"avcC")
    if draw.random() < 0.5 and at > 0:  # the sequence parameter set, which holds the coded size
        for _ in range(3):
            hurt[at + 12 + draw.randrange(14)] = draw.randrange(256)
    return bytes(hurt)


DAMAGES: tuple[Damage, ...] = (flipped, burst, truncated, spliced, swapped_atoms, absurd, mp4_boxes, nal_units)
PICTURE_DAMAGES: dict[str, tuple[Damage, ...]] = {
    "png": (png_chunks, flipped, truncated, burst),
    "jpg": (jpeg_segments, flipped, truncated, burst),
    "webp": (webp_chunks, flipped, truncated, burst),
}


def good_pair(folder: Path, face: UInt8) -> tuple[Path, Path, UInt8]:
    """Fill ``real/`` and ``fake/swap`` with a clip each, a fake and its original; returns both, and a frame."""
    real, fake = folder / "real", folder / "fake" / "swap"
    real.mkdir(parents=True)
    fake.mkdir(parents=True)
    small = np.asarray(cv2.resize(face, (192, 192), interpolation=cv2.INTER_AREA), np.uint8)
    altered = small.copy()
    altered[60:110, 80:130] = altered[60:110, 80:130][::-1]
    encode_video(real / "good.mp4", [small] * 8, crf=20)
    encode_video(fake / "good_x.mp4", [altered] * 8, crf=20)
    return real, fake, small


def make_fuzz(folder: Path, count: int, face: UInt8, seed: int = 0, more: Sequence[bytes] = ()) -> int:
    """Fill ``folder`` with ``real/`` and ``fake/``; returns how many files are damaged or strange.

    ``more`` are further good videos, of which damaged ones are made.
    """
    draw = random.Random(seed)
    real, fake, small = good_pair(folder, face)
    good, bad = (real / "good.mp4").read_bytes(), (fake / "good_x.mp4").read_bytes()
    made = strange_files(real, small, draw)
    pictures = {suffix: cv2.imencode(f".{suffix}", small)[1].tobytes() for suffix in PICTURE_DAMAGES}
    while made < count:
        if made % 4 == 3:
            suffix = draw.choice(list(PICTURE_DAMAGES))
            hurt = draw.choice(PICTURE_DAMAGES[suffix])
            (real / f"{hurt.__name__}{made:04d}.{suffix}").write_bytes(hurt(pictures[suffix], draw))
            made += 1
            continue
        damage = DAMAGES[made % len(DAMAGES)] if made % 8 < 5 else draw.choice(DAMAGES)
        if more and draw.random() < 0.6:
            (real / f"{damage.__name__}{made:04d}.mp4").write_bytes(damage(draw.choice(more), draw))
            made += 1
            continue
        if draw.random() < 0.5:
            (real / f"{damage.__name__}{made:04d}.mp4").write_bytes(damage(good, draw))
            (fake / f"{damage.__name__}{made:04d}_x.mp4").write_bytes(bad)
        else:
            (fake / f"good_{damage.__name__}{made:04d}.mp4").write_bytes(damage(bad, draw))
        made += 1
    return made


def strange_files(folder: Path, face: UInt8, draw: random.Random) -> int:
    """Valid files of unusual kinds, bombs, and what is no video at all."""
    frames = [face] * 6
    before = len(list(folder.iterdir()))
    encode_video(folder / "rotated.mp4", frames, rotation=90)
    for name in ("yuv444p", "yuv422p", "yuv420p10le", "yuv444p10le", "gray"):
        encode_video(folder / f"{name}.mp4", frames, pix_fmt=name)
    with av.open(str(folder / "vfr.mp4"), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height = face.shape[1], face.shape[0]
        for pts in (0, 1, 7, 8, 40, 41, 500_000):
            picture = av.VideoFrame.from_ndarray(face, format="rgb24")
            picture.pts = pts
            out.mux(stream.encode(picture))
        out.mux(stream.encode())
    with av.open(str(folder / "sound.mp4"), "w") as out:
        sound = out.add_stream("aac", rate=16000)
        tone = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        tone.sample_rate = 16000
        out.mux(sound.encode(tone))
        out.mux(sound.encode())
    with av.open(str(folder / "endless.mp4"), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"g": "100000", "sc_threshold": "0", "preset": "ultrafast"})
        stream.width, stream.height = face.shape[1], face.shape[0]
        for _ in range(400):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(face, format="rgb24")))
        out.mux(stream.encode())
    for width, height in ((60_000, 60_000), (0x7FFFFFFF, 0x7FFFFFFF), (1, 2_000_000_000), (40_000, 2_000)):
        (folder / f"bomb{width}x{height}.png").write_bytes(png_bomb(width, height))
        (folder / f"bmp-bomb{width}x{height}.bmp").write_bytes(bmp_bomb(width, height))
    jpeg = bytearray(cv2.imencode(".jpg", face)[1].tobytes())
    at = jpeg.find(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", 65500, 65500)
    (folder / "jpeg-bomb.jpg").write_bytes(jpeg)
    webp = bytearray(cv2.imencode(".webp", face)[1].tobytes())
    webp[26:30] = b"\xff\x3f\xff\x3f"
    (folder / "webp-bomb.webp").write_bytes(webp)
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("<html>404 not found</html>")
    (folder / "zeros.mp4").write_bytes(bytes(1 << 20))
    (folder / "noise.mp4").write_bytes(draw.randbytes(1 << 20))
    (folder / "picture.mp4").write_bytes(cv2.imencode(".png", face)[1].tobytes())
    (folder / "film.png").write_bytes((folder / "vfr.mp4").read_bytes())
    (folder / "<script>alert(1)<script>.mp4").write_bytes(draw.randbytes(999))
    (folder / "=HYPERLINK(0).mp4").write_bytes(draw.randbytes(999))
    (folder / "line\nbreak\x1b[31m.mp4").write_bytes(draw.randbytes(999))
    (folder / "loop").symlink_to(folder)
    (folder / "self.mp4").symlink_to(folder / "self.mp4")
    (folder / "zero.mp4").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe.mp4")
    return len(list(folder.iterdir())) - before


def png_bomb(width: int, height: int) -> bytes:
    """A PNG whose header promises more than the file holds."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1 << 16))) + chunk(b"IEND", b"")


def bmp_bomb(width: int, height: int) -> bytes:
    """The same as BMP."""
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + 1000, 0, 0, 54) + header + bytes(1000)


def _boxes(data: bytes) -> Iterator[tuple[int, int]]:
    at = 0
    while at + 8 <= len(data):
        size = max(8, struct.unpack_from(">I", data, at)[0])
        yield at, min(size, len(data) - at)
        at += size


if __name__ == "__main__":
    from tests.helpers.fuzz_run import main

    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 560)
