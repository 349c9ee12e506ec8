from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from forgeprep.errors import MediaError
from forgeprep.media.regions import frame_rgb
from forgeprep.media.video import read_frames, read_header, sha256_of
from tests.conftest import UInt8

Encode = Callable[..., Path]


def numbered(count: int, height: int = 72, width: int = 96) -> list[UInt8]:
    """Frames that tell their number by their brightness."""
    return [np.full((height, width, 3), 16 + 4 * i, np.uint8) for i in range(count)]


def brightness(path: Path) -> dict[int, float]:
    return {frame.index: float(frame.y.mean()) for frame in read_frames(path)}


def test_every_frame_in_order_with_time(tmp_path: Path, make_video: Encode) -> None:
    clip = make_video(tmp_path / "a b ü.mp4", numbered(20), fps=20, crf=23)
    frames = list(read_frames(clip))
    assert [f.index for f in frames] == list(range(20))
    assert [f.time_s for f in frames] == pytest.approx([i / 20 for i in range(20)])
    assert np.all(np.diff([f.y.mean() for f in frames]) > 2)
    assert (read_header(clip).frame_count, read_header(clip).fps) == (20, 20.0)


def test_a_lost_frame_leaves_a_gap_and_shifts_nothing(tmp_path: Path, make_video: Encode) -> None:
    """Peers' defect 5: one frame that cannot be decoded must not move the indices of the later ones."""
    clip = make_video(tmp_path / "whole.mp4", numbered(40), crf=10)
    whole = brightness(clip)
    broken = tmp_path / "broken.mp4"
    with av.open(str(clip)) as source, av.open(str(broken), "w") as sink:
        stream = source.streams.video[0]
        copy = sink.add_stream_from_template(stream)
        for number, packet in enumerate(source.demux(stream)):
            if packet.dts is None:
                continue
            packet.stream = copy
            if number == 15:
                garbage = av.Packet(random.Random(0).randbytes(packet.size))
                garbage.pts, garbage.dts, garbage.time_base = packet.pts, packet.dts, packet.time_base
                garbage.stream = copy
                sink.mux(garbage)
            else:
                sink.mux(packet)
    found = brightness(broken)
    assert len(found) < 40
    assert set(found) <= set(whole)
    # What comes out carries its own number: brightness is that of the same index in the whole clip, or of the frame
    # before it where the decoder repeats one to conceal a loss.
    assert all(abs(found[i] - whole[i]) < 5 for i in found)
    assert max(found) == 39


@pytest.mark.parametrize("shape", [(72, 96), (71, 95), (2, 2), (73, 96)])
def test_odd_sizes_and_pixel_formats(tmp_path: Path, make_video: Encode, shape: tuple[int, int]) -> None:
    photo = np.random.default_rng(0).integers(0, 255, (*shape, 3), dtype=np.uint8)
    clip = make_video(tmp_path / "clip.mp4", [photo] * 3, pix_fmt="yuv444p", crf=0)
    frames = list(read_frames(clip))
    assert [f.size_wh for f in frames] == [(shape[1], shape[0])] * 3
    assert frames[0].planes[1].shape == shape
    assert frame_rgb(frames[0]).shape == (*shape, 3)


@pytest.mark.parametrize(("angle", "corner"), [(90, "bottom left"), (180, "bottom right"), (270, "top right")])
def test_display_rotation_is_applied(tmp_path: Path, make_video: Encode, angle: int, corner: str) -> None:
    """A bright top-left corner ends up where a player that honours the rotation shows it."""
    picture = np.full((64, 96, 3), 30, np.uint8)
    picture[:24, :24] = 220
    clip = make_video(tmp_path / "plain.mp4", [picture] * 4, crf=0)
    turned = tmp_path / "turned.mp4"
    data = bytearray(clip.read_bytes())
    # The 3x3 display matrix of the track header: 16.16 fixed point, 2.30 in the last column.
    one = (1).to_bytes(4, "big") and bytes.fromhex("00010000")
    minus, zero = bytes.fromhex("ffff0000"), bytes(4)
    cosine, sine = {90: (zero, minus), 180: (minus, zero), 270: (zero, one)}[angle]
    opposite = {one: minus, minus: one, zero: zero}[sine]
    identity = one + zero * 2 + zero + one + zero * 3 + bytes.fromhex("40000000")
    at = data.index(identity, data.index(b"tkhd"))
    data[at : at + 36] = cosine + sine + zero + opposite + cosine + zero * 3 + bytes.fromhex("40000000")
    turned.write_bytes(data)
    with av.open(str(turned)) as container:
        assert next(container.decode(video=0)).rotation % 360 == angle
    frame = next(read_frames(turned))
    assert frame.size_wh == ((96, 64) if angle == 180 else (64, 96))
    rows, columns = (slice(0, 20), slice(-20, None)), (slice(0, 20), slice(-20, None))
    row = rows[0] if "top" in corner else rows[1]
    column = columns[0] if "left" in corner else columns[1]
    assert frame.y[row, column].mean() > 150
    assert frame.y.mean() < 100


@pytest.mark.parametrize("content", [None, b"", b"not a video at all " * 50])
def test_unreadable_files_say_so_in_one_line(tmp_path: Path, content: bytes | None) -> None:
    clip = tmp_path / "naïve name.mp4"
    if content is not None:
        clip.write_bytes(content)
    for read in (read_header, lambda path: next(read_frames(path))):
        with pytest.raises(MediaError, match=r"naïve name\.mp4") as caught:
            read(clip)
        assert "\n" not in str(caught.value)


def test_a_truncated_file_gives_what_is_there(tmp_path: Path, make_video: Encode) -> None:
    whole = make_video(tmp_path / "whole.mkv", numbered(60), crf=23)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    found = brightness(cut)
    assert 5 < len(found) < 60
    expected = brightness(whole)
    assert all(abs(found[i] - expected[i]) < 5 for i in found)


def test_colours_agree_with_opencvs_and_ffmpegs_conversions(
    tmp_path: Path, make_video: Encode, face_photo: UInt8
) -> None:
    clip = make_video(tmp_path / "face.mp4", [face_photo] * 2, crf=18)
    with av.open(str(clip)) as container:
        picture = next(container.decode(video=0))
    ours = frame_rgb(next(read_frames(clip))).astype(int)
    opencv = cv2.cvtColor(picture.to_ndarray(format="yuv420p"), cv2.COLOR_YUV2RGB_I420).astype(int)
    ffmpeg = picture.to_ndarray(format="rgb24").astype(int)
    # Chroma is interpolated here and repeated there, which shows at coloured edges alone; FFmpeg also rounds down.
    assert abs((ours - opencv).mean()) < 0.1
    assert np.abs(ours - opencv).mean() < 1.5
    assert np.abs(ours - ffmpeg).mean() < 2.0


def test_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "clip.mp4"
    os.mkfifo(pipe)
    assert sha256_of(pipe) is None
    for read in (read_header, lambda path: list(read_frames(path))):
        with pytest.raises(MediaError, match="not a file"):
            read(pipe)
