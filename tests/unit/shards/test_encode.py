from __future__ import annotations

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from forgeprep.errors import VerifyError
from forgeprep.schemas.columns import Packing
from forgeprep.schemas.samples import columns_of
from forgeprep.shards.encode import UInt8, _sum_of_rows, decode_image, encode_image, encode_row

SIDES = st.integers(1, 40)
PICTURES = hnp.arrays(np.uint8, st.tuples(SIDES, SIDES) | st.tuples(SIDES, SIDES, st.just(3)))


@settings(max_examples=60, deadline=None)
@given(PICTURES, st.sampled_from(["smooth", "runs", "residual"]))
def test_png_gives_back_the_picture(picture: UInt8, packing: Packing) -> None:
    data = encode_image(picture, packing=packing)
    np.testing.assert_array_equal(decode_image(data), picture)
    with Image.open(io.BytesIO(data)) as other:
        assert other.mode == ("RGB" if picture.ndim == 3 else "L")
        np.testing.assert_array_equal(np.asarray(other), picture)
    opened = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert opened is not None
    np.testing.assert_array_equal(opened if picture.ndim == 2 else opened[..., ::-1], picture)


@pytest.mark.parametrize("packing", ["smooth", "runs", "residual"])
def test_equal_pictures_give_equal_bytes(face_photo: UInt8, packing: Packing) -> None:
    """Also where memory lies otherwise, and for pictures of zeros, whose bytes are kept."""
    picture = face_photo if packing == "smooth" else np.where(face_photo[..., 0] > 99, 255, 0).astype(np.uint8)
    for one in (picture, np.zeros_like(picture), np.ones_like(picture)):
        rng = np.random.default_rng(0)
        expected = encode_image(one, packing=packing)
        for _ in range(20):
            encode_image(rng.integers(0, 256, (90, 90), np.uint8), packing=packing)
            elsewhere = np.pad(one, ((3, 5), (7, 1), (0, 0))[: one.ndim])[3:-5, 7:-1]
            assert encode_image(elsewhere, packing=packing) == expected
        np.testing.assert_array_equal(decode_image(expected), one)


@given(st.integers(1, 300), st.integers(1, 30), st.integers(0, 1000))
def test_rows_are_summed_as_numpy_does(height: int, width: int, seed: int) -> None:
    rows = np.random.default_rng(seed).integers(0, 256, (height, width + 1), np.uint8)[:, 1:]
    np.testing.assert_array_equal(_sum_of_rows(rows), np.add.accumulate(rows, axis=0, dtype=np.uint8))


@settings(max_examples=40, deadline=None)
@given(PICTURES, st.integers(0, 9))
def test_pngs_of_others_are_read_too(picture: UInt8, level: int) -> None:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "png", compress_level=level)
    np.testing.assert_array_equal(decode_image(file.getvalue()), picture)


def test_a_header_that_lies_about_the_size_is_damage() -> None:
    data = bytearray(encode_image(np.zeros((8, 8), np.uint8)))
    for width, height in ((1 << 30, 1 << 30), (1 << 16, 1 << 15), (8, 9), (0, 8)):
        struct.pack_into(">II", data, 16, width, height)
        struct.pack_into(">I", data, 29, zlib.crc32(data[12:29]))
        with pytest.raises(VerifyError):
            decode_image(bytes(data))


def test_webp_is_lossless_at_100_and_lossy_below(face_photo: UInt8) -> None:
    np.testing.assert_array_equal(decode_image(encode_image(face_photo, "webp", 100)), face_photo)
    for name in ("webp", "jpeg"):
        near = decode_image(encode_image(face_photo, name, 95)).astype(int)
        assert 0 < np.abs(near - face_photo).mean() < 3
        assert len(encode_image(face_photo, name, 40)) < len(encode_image(face_photo, name, 95))


@pytest.mark.parametrize("name", ["png", "jpeg", "webp"])
def test_a_cut_picture_is_damage(face_photo: UInt8, name: str) -> None:
    data = encode_image(face_photo, name)
    for cut in (0, 1, 20, len(data) // 2, len(data) - 1):
        with pytest.raises(VerifyError):
            decode_image(data[:cut])


@settings(max_examples=40, deadline=None)
@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_any_flipped_bit_of_a_png_is_damage(at: int, bit: int) -> None:
    data = bytearray(encode_image(np.arange(60 * 60 * 3).astype(np.uint8).reshape(60, 60, 3)))
    data[at % len(data)] ^= 1 << bit
    with pytest.raises(VerifyError):
        decode_image(bytes(data))


@pytest.mark.parametrize(
    "picture",
    [np.zeros((4, 4), np.float32), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4), np.uint8), np.zeros(4, np.uint8)],
)
def test_what_is_no_picture_is_refused(picture: UInt8) -> None:
    with pytest.raises(ValueError, match="must be uint8"):
        encode_image(picture)


def test_only_the_crop_takes_the_chosen_format(face_photo: UInt8) -> None:
    columns = [c for c in (*columns_of("key"), *columns_of("crop"), *columns_of("mask")) if c.kind == "image"]
    row = {"sample_id": "a/b/0/000001", "image": face_photo, "mask": face_photo[..., 0], "difference": None, "extra": 1}
    encoded = encode_row(row, columns, "jpeg", 90)
    assert list(encoded) == ["image", "mask", "mask_provided", "difference", "mask_magnitude"]
    assert encoded["image"]["path"] == "a/b/0/000001.jpg"
    assert encoded["mask"]["path"] == "a/b/0/000001.mask.png"
    assert encoded["difference"] is None
    with pytest.raises(VerifyError, match=r"a/b/0/000001: lacks 'image', a column of the stage 'crop'"):
        encode_row({**row, "image": None}, columns, "jpeg", 90)
