"""Damage that keeps to a file's structure: boxes, units, chunks, pages and headers are hit, and their sums made good.

What is flipped at random ends at the first check; what is well-formed and wrong gets to the parts that trust it.
"""

from __future__ import annotations

import random
import struct
import zlib

ABSURD = (0, 1, 7, 8, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFF0, 0x10000000, 1_000_000, 65535)
_CONTAINERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"udta", b"dinf", b"moof", b"traf")

Box = tuple[bytes, "bytes | list[Box]"]


def boxes(data: bytes) -> list[Box]:
    """An MP4's boxes, those that hold others as lists."""
    found: list[Box] = []
    at = 0
    while at + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        size = min(size if size >= 8 else len(data) - at, len(data) - at)
        body = data[at + 8 : at + size]
        found.append((name, boxes(body) if name in _CONTAINERS else body))
        at += size
    return found


def joined(tree: list[Box]) -> bytes:
    """The bytes of boxes, with sizes that are right."""
    parts = []
    for name, body in tree:
        inner = body if isinstance(body, bytes) else joined(body)
        parts.append(struct.pack(">I4s", (8 + len(inner)) & 0xFFFFFFFF, name) + inner)
    return b"".join(parts)


def mp4_boxes(data: bytes, draw: random.Random) -> bytes:
    """Boxes doubled, nested, taken out, moved, cut or grown, and numbers in them set to absurd values."""
    tree = boxes(data)
    for _ in range(draw.choice([1, 1, 2, 5])):
        level = tree
        while True:
            inner = [body for _, body in level if isinstance(body, list) and body]
            if not inner or draw.random() < 0.25:
                break
            level = draw.choice(inner)
        _hit_box(level, draw)
    return joined(tree)


def _hit_box(level: list[Box], draw: random.Random) -> None:
    at = draw.randrange(len(level))
    name, body = level[at]
    deed = draw.randrange(7)
    if deed == 0:
        level.insert(draw.randrange(len(level) + 1), level[at])
    elif deed == 1 and len(level) > 1:
        del level[at]
    elif deed == 2:
        draw.shuffle(level)
    elif deed == 3:
        inner: Box = (name, body)
        for _ in range(draw.choice([2, 30, 2000])):
            inner = (name, joined([inner]))
            if len(inner[1]) > 1 << 18:
                break
        level[at] = inner
    elif deed == 4:
        level[at] = (draw.choice([*_CONTAINERS, b"stsz", b"stts", b"ctts", b"stsd", b"sidx", b"uuid"]), body)
    elif isinstance(body, bytes) and len(body) >= 8:
        hurt = bytearray(body)
        for _ in range(draw.choice([1, 2, 4])):
            where = draw.randrange(0, min(len(hurt), 200) - 3)
            struct.pack_into(">I", hurt, where, draw.choice(ABSURD))
        level[at] = (name, bytes(hurt[: draw.choice([len(hurt), len(hurt), len(hurt) // 2])]))


def nal_units(data: bytes, draw: random.Random) -> bytes:
    """The units of H.264 in the media data: their types, headers, lengths and order."""
    tree = boxes(data)
    for number, (name, body) in enumerate(tree):
        if name == b"mdat" and isinstance(body, bytes):
            tree[number] = (name, _hit_units(body, draw))
    whole = bytearray(joined(tree))
    if draw.random() < 0.4:  # the parameter sets, which stand in the header
        at = whole.find(b"avcC")
        for _ in range(draw.choice([1, 3])):
            if 0 < at < len(whole) - 40:
                whole[at + 8 + draw.randrange(32)] = draw.randrange(256)
    return bytes(whole)


def _hit_units(body: bytes, draw: random.Random) -> bytes:
    units, at = [], 0
    while at + 4 <= len(body):
        length = struct.unpack_from(">I", body, at)[0]
        units.append(bytearray(body[at + 4 : at + 4 + length]))
        at += 4 + length
    claimed: dict[int, int] = {}
    for _ in range(draw.choice([1, 3, 8])):
        number = draw.randrange(len(units))
        unit = units[number]
        deed = draw.randrange(5)
        if deed == 0 and unit:
            unit[0] = draw.choice([0x67, 0x68, 0x65, 0x41, 0x01, 0x06, 0x7F, 0x0C, 0x6A, 0x74])
        elif deed == 1 and len(unit) > 8:
            for _ in range(4):
                unit[1 + draw.randrange(min(12, len(unit) - 1))] = draw.randrange(256)
        elif deed == 2:
            other = draw.randrange(len(units))
            units[number], units[other] = units[other], unit
        elif deed == 3:
            claimed[number] = draw.choice(ABSURD)
        else:
            units[number] = unit[: draw.randrange(len(unit) + 1)]
    return b"".join(struct.pack(">I", claimed.get(n, len(unit))) + unit for n, unit in enumerate(units))


def png_chunks(data: bytes, draw: random.Random) -> bytes:
    """Chunks of a PNG: hit inside, doubled, moved, of other kinds and lengths; with sums that are right."""
    chunks, at = [], 8
    while at + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        chunks.append((name, data[at + 8 : at + 8 + length], length))
        at += 12 + length
    for _ in range(draw.choice([1, 2, 4])):
        number = draw.randrange(len(chunks))
        name, body, length = chunks[number]
        deed = draw.randrange(5)
        if deed == 0 and body:
            hurt = bytearray(body)
            for _ in range(3):
                hurt[draw.randrange(min(len(hurt), 64))] = draw.randrange(256)
            chunks[number] = (name, bytes(hurt), length)
        elif deed == 1:
            chunks[number] = (name, body, draw.choice(ABSURD))
        elif deed == 2:
            chunks.insert(draw.randrange(len(chunks)), chunks[number])
        elif deed == 3:
            more = zlib.compress(bytes(draw.choice([1000, 30 << 20])))
            kind = draw.choice([b"zTXt", b"iCCP", b"acTL", b"fcTL", b"fdAT", b"PLTE", b"tRNS", b"eXIf", b"IDAT"])
            chunks.insert(1, (kind, b"a\0\0" + more, len(more) + 3))
        elif name == b"IHDR":
            sides = [draw.choice([0, 1, 8000, 40000, 0x7FFFFFFF, *ABSURD]) for _ in range(2)]
            chunks[number] = (name, struct.pack(">II", *sides) + body[8:], length)
    packed = (struct.pack(">I", n) + name + b + struct.pack(">I", zlib.crc32(name + b)) for name, b, n in chunks)
    return data[:8] + b"".join(packed)


def jpeg_segments(data: bytes, draw: random.Random) -> bytes:
    """Segments of a JPEG: sizes, tables, sampling and scans."""
    parts, at = [data[:2]], 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        length = struct.unpack_from(">H", data, at + 2)[0]
        parts.append(data[at : at + 2 + length])
        at += 2 + length
    parts.append(data[at:])
    for _ in range(draw.choice([1, 2, 4])):
        number = draw.randrange(1, len(parts))
        hurt = bytearray(parts[number])
        deed = draw.randrange(4)
        if deed == 0:
            parts.insert(draw.randrange(1, len(parts)), bytes(hurt))
        elif deed == 1:
            hurt[1] = draw.choice([0xC0, 0xC2, 0xC4, 0xDB, 0xDD, 0xE1, 0xE2, 0xEE, 0xDA, 0xC9])
            parts[number] = bytes(hurt)
        elif len(hurt) > 8:
            for _ in range(3):
                hurt[2 + draw.randrange(min(30, len(hurt) - 2))] = draw.choice([0, 1, 0xFF, draw.randrange(256)])
            parts[number] = bytes(hurt)
    return b"".join(parts)


def webp_chunks(data: bytes, draw: random.Random) -> bytes:
    """Chunks of a WebP: kinds, lengths and headers, with an extended header put before."""
    hurt = bytearray(data)
    for _ in range(draw.choice([1, 2, 4])):
        deed = draw.randrange(4)
        if deed == 0:
            struct.pack_into("<I", hurt, draw.choice([4, 16]), draw.choice(ABSURD))
        elif deed == 1:
            hurt[12:16] = draw.choice([b"VP8 ", b"VP8L", b"VP8X", b"ANIM", b"ANMF", b"ALPH"])
        elif deed == 2:
            extended = b"VP8X" + struct.pack("<I", 10) + bytes([draw.randrange(256), 0, 0, 0]) + draw.randbytes(6)
            hurt[12:12] = extended
        else:
            for _ in range(3):
                hurt[20 + draw.randrange(min(20, len(hurt) - 20))] = draw.randrange(256)
    return bytes(hurt)


def parquet_pages(data: bytes, draw: random.Random) -> bytes:
    """The pages of a Parquet file and its footer: their headers are numbers of variable length, byte by byte."""
    hurt = bytearray(data)
    footer = struct.unpack_from("<I", data, len(data) - 8)[0]
    for _ in range(draw.choice([1, 3, 10])):
        deed = draw.randrange(3)
        if deed == 0:
            where = len(data) - 8 - draw.randrange(1, footer)
        elif deed == 1:  # the header of a page: stands before each zstd frame
            where = max(4, data.find(b"\x28\xb5\x2f\xfd", draw.randrange(len(data) - footer)) - draw.randrange(1, 30))
        else:
            where = 4 + draw.randrange(len(data) - footer - 12)
        hurt[where] = draw.choice([0, 0x7F, 0x80, 0xFF, draw.randrange(256)])
    if draw.random() < 0.1:
        struct.pack_into("<I", hurt, len(hurt) - 8, draw.choice(ABSURD))
    return bytes(hurt)


def tar_headers(data: bytes, draw: random.Random) -> bytes:
    """Headers of a tar's members: sizes, kinds and names; with sums that are right."""
    places, at = [], 0
    while at + 512 <= len(data) and data[at : at + 1] != b"\0":
        places.append(at)
        at += 512 + -(-int(data[at + 124 : at + 135] or b"0", 8) // 512) * 512
    hurt = bytearray(data)
    for _ in range(draw.choice([1, 2, 4])):
        at = draw.choice(places)
        deed = draw.randrange(3)
        if deed == 0:
            size = draw.choice([0, 1, 511, 1 << 20, (1 << 33) - 1, 8**11 - 1])
            hurt[at + 124 : at + 136] = b"%011o\0" % size
        elif deed == 1:
            hurt[at + 156] = draw.choice(b"SxgLK12345670\0Dv")
        else:
            hurt[at : at + 20] = draw.choice([b"../" * 6 + b"ab", b"/" * 20, b"a" * 20, b"\0" * 20, draw.randbytes(20)])
        hurt[at + 148 : at + 156] = b" " * 8
        hurt[at + 148 : at + 156] = b"%06o\0 " % sum(hurt[at : at + 512])
    return bytes(hurt)
