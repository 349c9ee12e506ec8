"""Pixels as they were decoded: each format against FFmpeg's accurate conversion; shape, turn and field of frames."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import PIL.Image
import pytest
from av.video.reformatter import Interpolation, VideoReformatter

from forgeprep.media.planes import frame_of
from forgeprep.media.regions import crop_rgb, frame_rgb, small_rgb
from forgeprep.media.video import read_facts, read_frames, read_header
from tests.conftest import SHARED, UInt8
from tests.helpers.clips import write_clip

Encode = Callable[..., Path]

ACCURATE = (
    Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
)

YUV = [
    "yuv420p", "yuv422p", "yuv444p", "yuv440p", "yuv411p", "yuv410p", "yuva420p", "nv12", "yuyv422", "yuv420p10le",
    "yuv422p10le", "yuv444p10le", "yuv444p12le", "yuv444p10msble", "p010le", "yuvj420p", "yuvj422p", "yuvj444p",
]  # fmt: skip

OTHERS = [
    "gbrp", "gbrp10le", "rgb24", "bgr24", "rgba", "bgra", "argb", "bgr0", "rgb48be", "gray", "gray10le", "gray16be",
    "ya8", "ya16le", "gbrp10msble",
]  # fmt: skip


def test_crops_equal_ffmpegs_accurate_conversion(face_photo: UInt8) -> None:
    """Every format, matrix and range: within 1 level, on average far less."""
    cases = [*itertools.product(YUV, (1, 5, 9), (1, 2)), *itertools.product(OTHERS, (5,), (2,))]
    scaler, picture = VideoReformatter(), av.VideoFrame.from_ndarray(face_photo, format="rgb24")
    for name, space, span in cases:
        coded = scaler.reformat(picture, format=name, dst_colorspace=space, dst_color_range=span)
        coded.colorspace, coded.color_range = space, span
        wanted = scaler.reformat(
            coded, format="rgb24", src_colorspace=space, src_color_range=span, dst_color_range=2, interpolation=ACCURATE
        ).to_ndarray()
        frame = frame_of(coded, 0)
        off = np.abs(frame_rgb(frame).astype(int) - wanted)
        assert off.max() <= 1, (name, space, span, off.max())
        assert off.mean() < 0.5, (name, space, span, off.mean())
        # An odd corner, so that no box begins where a chroma sample does.
        assert np.array_equal(crop_rgb(frame, (33, 51, 97, 115)), frame_rgb(frame)[51:115, 33:97])


@pytest.mark.parametrize(
    ("codec", "pixel_format", "profile", "siting"),
    [
        ("libx264", "yuv444p", "High 4:4:4 Predictive", None),
        ("libx264", "yuv420p", "High", "left"),
        ("libx264", "yuv422p", "High 4:2:2", "left"),
        ("libx264", "yuv420p10le", "High 10", "left"),
        ("mjpeg", "yuvj420p", "Baseline", "centre"),
        ("libvpx-vp9", "yuv420p", "Profile 0", "centre"),
        ("ffv1", "bgr0", None, None),
    ],
)
def test_decoded_files_equal_ffmpegs_conversion_and_say_how_they_are_coded(
    tmp_path: Path, face_photo: UInt8, codec: str, pixel_format: str, profile: str | None, siting: str | None
) -> None:
    clip = tmp_path / "clip.mkv"
    write_clip(clip, [face_photo[:300, :256]] * 2, codec, pixel_format)
    with av.open(str(clip)) as container:
        decoded = next(container.decode(video=0))
        wanted = decoded.reformat(format="rgb24", dst_color_range=2, interpolation=ACCURATE).to_ndarray()
    off = np.abs(frame_rgb(next(read_frames(clip))).astype(int) - wanted)
    assert (off.max() <= 1, off.mean() < 0.1) == (True, True)
    facts = read_facts(clip)
    assert (facts.pixel_format, facts.chroma_siting) == (pixel_format, siting)
    assert profile is None or facts.profile == profile
    assert facts.color_matrix == (None if pixel_format == "bgr0" else "bt601")


@pytest.mark.real_data
@pytest.mark.skipif(not (SHARED / "footage").is_dir(), reason="no real footage here")
def test_real_clips_equal_ffmpegs_conversion() -> None:
    for clip in sorted((SHARED / "footage").glob("*.mp4")):
        with av.open(str(clip)) as container:
            decoded = next(container.decode(video=0))
            wanted = decoded.reformat(format="rgb24", dst_color_range=2, interpolation=ACCURATE).to_ndarray()
        off = np.abs(frame_rgb(next(read_frames(clip))).astype(int) - wanted)
        assert off.max() <= 2, clip.name
        assert off.mean() <= 0.3, clip.name


TURNS: dict[str, tuple[Any, Callable[[Any], Any], int, bool]] = {
    "as it is": ((1, 0, 0, 1), lambda a: a, 0, False),
    "clockwise": ((0, 1, -1, 0), lambda a: np.rot90(a, -1), 90, False),
    "half": ((-1, 0, 0, -1), lambda a: np.rot90(a, 2), 180, False),
    "counterclockwise": ((0, -1, 1, 0), lambda a: np.rot90(a), 270, False),
    "mirrored": ((-1, 0, 0, 1), np.fliplr, 0, True),
    "upside down": ((1, 0, 0, -1), np.flipud, 180, True),
    "transposed": ((0, 1, 1, 0), lambda a: np.swapaxes(a, 0, 1), 270, True),
    "transposed over": ((0, -1, -1, 0), lambda a: np.rot90(np.swapaxes(a, 0, 1), 2), 90, True),
}
"""The display matrix's a, b, c, d; what it does to a picture; and its name in meta/clips.pq."""


@pytest.mark.parametrize("name", TURNS)
def test_all_eight_display_orientations(tmp_path: Path, make_video: Encode, face_photo: UInt8, name: str) -> None:
    matrix, turn, rotation, mirrored = TURNS[name]
    plain = make_video(tmp_path / "plain.mp4", [face_photo[:200, :256]] * 2, crf=0)
    turned = tmp_path / "turned.mp4"
    _turn(plain, turned, matrix)
    upright = frame_rgb(next(read_frames(plain)))
    assert np.array_equal(frame_rgb(next(read_frames(turned))), turn(upright))
    facts = read_facts(turned)
    assert (facts.rotation, facts.mirrored) == (rotation, mirrored)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_eight_exif_orientations(tmp_path: Path, face_photo: UInt8, orientation: int) -> None:
    """As Pillow shows them."""
    file = tmp_path / "photo.jpg"
    exif = PIL.Image.Exif()
    exif[274] = orientation
    PIL.Image.fromarray(face_photo[:200, :256]).save(file, quality=95, exif=exif)
    with PIL.Image.open(file) as picture:
        wanted = np.asarray(PIL.ImageOps.exif_transpose(picture).convert("RGB"), int)
    found = frame_rgb(next(read_frames(file))).astype(int)
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).mean() < 1
    facts = read_facts(file)
    turn = next(turn for _, turn, *told in TURNS.values() if told == [facts.rotation, facts.mirrored])
    with PIL.Image.open(file) as picture:
        assert np.array_equal(turn(np.asarray(picture.convert("RGB"), int)), wanted)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "I;16"])
def test_pictures_keep_their_colours(tmp_path: Path, face_photo: UInt8, mode: str) -> None:
    file = tmp_path / "photo.png"
    picture = PIL.Image.fromarray(face_photo[:200, :256])
    if mode == "I;16":
        deep = np.asarray(picture.convert("L")).astype(np.uint16) * 257
        PIL.Image.fromarray(deep).save(file)
        wanted = np.repeat((deep // 257).astype(np.uint8)[..., None], 3, axis=2)
    else:
        picture.convert(mode).save(file)
        wanted = np.asarray(picture.convert(mode).convert("RGB"))
    assert np.array_equal(frame_rgb(next(read_frames(file))), wanted)


@pytest.mark.parametrize(("aspect", "size"), [((4, 3), (341, 200)), ((1, 2), (256, 400))])
def test_pixels_become_square(
    tmp_path: Path, face_photo: UInt8, aspect: tuple[int, int], size: tuple[int, int]
) -> None:
    """A frame that was squeezed into oblong pixels has its shape again."""
    clip = tmp_path / "clip.mp4"
    write_clip(clip, [face_photo[:200, :256]] * 2, "libx264", "yuv444p", crf="0", aspect=aspect)
    frame = next(read_frames(clip))
    assert frame.size_wh == size
    assert read_facts(clip).pixel_aspect == pytest.approx(aspect[0] / aspect[1])
    wanted = cv2.resize(face_photo[:200, :256], size, interpolation=cv2.INTER_LINEAR).astype(int)
    assert np.abs(frame_rgb(frame).astype(int) - wanted).mean() < 2


def test_rows_that_the_codec_added_are_cropped(tmp_path: Path, face_photo: UInt8) -> None:
    """H.264 codes whole blocks of 16: 90 rows are stored as 96."""
    clip = tmp_path / "clip.mp4"
    write_clip(clip, [face_photo[:90, :122]] * 2, "libx264", "yuv420p", crf="0")
    frame = next(read_frames(clip))
    assert frame.size_wh == (122, 90)
    assert np.abs(frame_rgb(frame)[-1].astype(int) - face_photo[89, :122]).mean() < 6


def test_frames_that_an_edit_list_leaves_out_have_no_index(tmp_path: Path) -> None:
    """A clip cut in its container begins with its first shown frame."""
    plain, cut = tmp_path / "plain.mp4", tmp_path / "cut.mp4"
    frames = [np.full((64, 96, 3), 20 + 8 * i, np.uint8) for i in range(20)]
    write_clip(plain, frames, "libx264", "yuv444p", crf="0", options={"bf": "0", "g": "50"})
    data = bytearray(plain.read_bytes())
    at = data.index(b"elst") + 8
    count, duration, start = struct.unpack(">IIi", data[at : at + 12])
    assert (count, start) == (1, 0)
    with av.open(str(plain)) as container:
        tick = container.streams.video[0].time_base
    assert tick is not None
    data[at + 4 : at + 12] = struct.pack(">Ii", duration - round(duration * 6 / 20), round(6 / 25 / tick))
    cut.write_bytes(data)
    found = list(read_frames(cut))
    assert [frame.index for frame in found] == list(range(read_header(cut).frame_count)) == list(range(14))
    assert [frame.time_s for frame in found] == pytest.approx([i / 25 for i in range(14)])
    whole = [frame.y.mean() for frame in read_frames(plain)]
    assert [frame.y.mean() for frame in found] == pytest.approx(whole[6:])


def test_a_small_picture_is_the_large_one_in_small(face_photo: UInt8) -> None:
    picture = av.VideoFrame.from_ndarray(face_photo[:300, :256], format="rgb24").reformat(format="yuv420p")
    frame = frame_of(picture, 0)
    small, scale = small_rgb(frame, 100)
    assert (small.shape, scale) == ((100, 85, 3), 3.0)
    wanted = cv2.resize(frame_rgb(frame), (85, 100), interpolation=cv2.INTER_AREA).astype(int)
    assert np.abs(small.astype(int) - wanted).mean() < 2


def test_oblong_pixels_are_made_square_before_a_frame_is_turned(tmp_path: Path, face_photo: UInt8) -> None:
    plain, turned = tmp_path / "plain.mp4", tmp_path / "turned.mp4"
    write_clip(plain, [face_photo[:200, :256]] * 2, "libx264", "yuv420p", aspect=(4, 3))
    _turn(plain, turned, TURNS["clockwise"][0])
    upright = frame_rgb(next(read_frames(plain)))
    assert np.array_equal(frame_rgb(next(read_frames(turned))), np.rot90(upright, -1))


def test_pixels_that_are_all_but_square_stay(tmp_path: Path, face_photo: UInt8) -> None:
    """720 rows of 1280:1281 would become 721, each of them blurred."""
    frames = {}
    for name, aspect in (("square", None), ("all but", (1280, 1281))):
        write_clip(tmp_path / f"{name}.mp4", [face_photo[:800, :256]] * 2, "libx264", "yuv444p", crf="0", aspect=aspect)
        frames[name] = frame_rgb(next(read_frames(tmp_path / f"{name}.mp4")))
    assert np.array_equal(frames["all but"], frames["square"])


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv444p"])
def test_what_the_container_crops_is_not_shown(tmp_path: Path, face_photo: UInt8, pixel_format: str) -> None:
    """MP4's clean aperture, at an odd place: what is left has the colours that it has in the whole picture.

    Halved chroma ends with the picture, so that the last row and column have one neighbour less.
    """
    plain, cropped = tmp_path / "plain.mp4", tmp_path / "cropped.mp4"
    write_clip(plain, [face_photo[:200, :256]] * 2, "libx264", pixel_format)
    _crop(plain, cropped, (37, 18, 31, 70), (256, 200))
    wanted = frame_rgb(next(read_frames(plain)))[37:182, 31:186]
    shown = frame_rgb(next(read_frames(cropped)))
    inner = np.s_[:-1, :-1] if pixel_format == "yuv420p" else np.s_[:, :]
    assert np.array_equal(shown[inner], wanted[inner])
    assert (shown.shape, np.abs(shown.astype(int) - wanted).mean() < 0.5) == (wanted.shape, True)
    assert (read_facts(plain).cropped, read_facts(cropped).cropped) == (False, True)


@pytest.mark.parametrize(("codec", "pixel_format"), [("mjpeg", "yuvj420p"), ("libvpx-vp9", "yuv420p")])
def test_halved_chroma_of_odd_sizes_stays_where_it_was_coded(
    tmp_path: Path, face_photo: UInt8, codec: str, pixel_format: str
) -> None:
    clip = tmp_path / "clip.mkv"
    for width, height in ((256, 300), (255, 299)):
        write_clip(clip, [face_photo[:height, :width]] * 2, codec, pixel_format)
        frame = next(read_frames(clip))
        assert (frame.size_wh, frame.siting, read_facts(clip).chroma_siting) == ((width, height), (0.5, 0.5), "centre")


def _turn(source: Path, path: Path, matrix: tuple[int, int, int, int]) -> None:
    """An MP4 file with another display matrix: its a, b, c, d."""
    data = bytearray(source.read_bytes())
    rows = lambda a, b, c, d: struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)  # noqa: E731
    at = data.index(rows(1, 0, 0, 1), data.index(b"tkhd"))
    data[at : at + 36] = rows(*matrix)
    path.write_bytes(data)


def _crop(source: Path, path: Path, edges: tuple[int, int, int, int], size_wh: tuple[int, int]) -> None:
    """An MP4 file, its moov at the end, with a clean aperture without so many pixels at top, bottom, left, right."""
    (top, bottom, left, right), (width, height) = edges, size_wh
    # Its size, and its centre's distance from the picture's, as fractions.
    sizes = (width - left - right, 1, height - top - bottom, 1, left - right, 2, top - bottom, 2)
    box = struct.pack(">I4s8i", 40, b"clap", *sizes)
    data = bytearray(source.read_bytes())
    start, around = 0, []
    for kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1"):
        while data[start + 4 : start + 8] != kind:
            start += int.from_bytes(data[start : start + 4])
        around.append(start)
        start += 16 if kind == b"stsd" else 8
    for at in around:
        end = at + int.from_bytes(data[at : at + 4])
        data[at : at + 4] = (end - at + len(box)).to_bytes(4)
    data[end:end] = box
    path.write_bytes(data)
