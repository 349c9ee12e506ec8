"""Which pictures of a file are its video, and which number each has, whatever its stamps say."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import PIL.Image
import pytest
import skimage.data

from forgeprep.faces.detectors import make_detector
from forgeprep.faces.search import find_faces
from forgeprep.media.regions import frame_rgb
from forgeprep.media.video import read_facts, read_frames, read_header
from tests.conftest import UInt8

COUNT = 40


def pictures(height: int = 96, width: int = 128) -> Iterator[UInt8]:
    """Frames that tell their number by their brightness; a moving texture makes encoders use all their tricks."""
    texture = np.random.default_rng(0).integers(0, 40, (height, width + COUNT, 3), np.uint8)
    for i in range(COUNT):
        yield texture[:, i : i + width] // 2 + np.uint8(10 + 5 * i)


def packets(codec: str, options: dict[str, str], sink: Any, stream: Any) -> Iterator[Any]:
    for i, picture in enumerate(pictures(stream.height, stream.width)):
        frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format=stream.pix_fmt)
        frame.pts, frame.time_base = i, Fraction(1, 25)
        yield from stream.encode(frame)
    yield from stream.encode(None)


def write(
    path: Path,
    codec: str,
    options: dict[str, str] | None = None,
    how: dict[str, str] | None = None,
    pixels: str = "yuv420p",
) -> Path:
    with av.open(str(path), "w", options=how or {}) as sink:
        stream = sink.add_stream(codec, rate=25, options=options or {})
        stream.width, stream.height, stream.pix_fmt = 128, 96, pixels
        for packet in packets(codec, options or {}, sink, stream):
            sink.mux(packet)
    return path


def check_whole(path: Path, count: int = COUNT) -> None:
    frames = list(read_frames(path))
    assert [frame.index for frame in frames] == list(range(count))
    assert np.all(np.diff([frame.time_s for frame in frames]) > 0)
    # A picture that is hardly coded may look like the one before it.
    assert np.all(np.diff([frame.y.mean() for frame in frames]) > -1)
    assert np.corrcoef([frame.y.mean() for frame in frames], range(count))[0, 1] > 0.99
    assert read_header(path).frame_count == count


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("h264.avi", "libx264", {"bf": "3", "b_strategy": "0"}),
        ("mpeg4.avi", "mpeg4", {"bf": "2", "qscale": "3"}),
        ("h264.mp4", "libx264", {"bf": "3", "b_strategy": "0"}),
        ("h264.mkv", "libx264", {"bf": "3", "b_strategy": "0"}),
        ("h264.ts", "libx264", {"bf": "3", "b_strategy": "0"}),
        ("mpeg2.mpg", "mpeg2video", {"bf": "2", "qscale": "3"}),
        ("flash.flv", "flv", {"qscale": "3"}),
        ("windows.wmv", "wmv2", {"qscale": "3"}),
        ("vp9.webm", "libvpx-vp9", {"auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "8"}),
    ],
)
def test_pictures_are_numbered_as_they_are_shown(
    tmp_path: Path, name: str, codec: str, options: dict[str, str]
) -> None:
    """AVI keeps decoding times, which run backwards where pictures are shown in another order."""
    check_whole(write(tmp_path / name, codec, options))


def test_hidden_references_of_vp8_are_no_lost_pictures(tmp_path: Path) -> None:
    """As libvpx writes them in two passes: with the stamp of a shown picture, or (other writers) one of their own."""
    path = tmp_path / "hidden.webm"
    with av.open(str(path), "w") as sink:
        stream = sink.add_stream("libvpx", rate=25, options={"cpu-used": "-8", "deadline": "realtime", "qmax": "40"})
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for number, packet in enumerate(packets("libvpx", {}, sink, stream)):
            data = bytes(packet)
            if number % 10 == 5:
                # What refreshes no reference that matters, the same picture again, but not shown.
                hidden = av.Packet(bytes([data[0] & ~0x10]) + data[1:])
                hidden.time_base = packet.time_base
                hidden.pts = hidden.dts = packet.pts - (number % 20 == 5) * packet.duration // 2
                hidden.stream = stream
                sink.mux(hidden)
            sink.mux(packet)
    check_whole(path)


@pytest.mark.parametrize("name", ["recording.webm", "recording.mkv"])
def test_a_recording_that_does_not_know_its_length_is_counted(tmp_path: Path, name: str) -> None:
    """As browsers record: no duration, no index."""
    path = write(tmp_path / name, "libvpx", {"cpu-used": "-8", "deadline": "realtime", "qmax": "40"}, how={"live": "1"})
    with av.open(str(path)) as container:
        assert not container.streams.video[0].frames
        assert not container.duration
    check_whole(path)


def test_the_video_is_the_largest_stream_and_no_cover(tmp_path: Path) -> None:
    path = tmp_path / "two.mp4"
    with av.open(str(path), "w") as sink:
        cover = sink.add_stream("mjpeg", rate=25)
        cover.width, cover.height, cover.pix_fmt = 640, 480, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        streams = [sink.add_stream("libx264", rate=25, options={"bf": "0"}) for _ in range(2)]
        for stream, factor in zip(streams, (1, 2), strict=True):
            stream.width, stream.height, stream.pix_fmt = 64 * factor, 48 * factor, "yuv420p"
        astronaut = av.VideoFrame.from_ndarray(skimage.data.astronaut()[:480], "rgb24").reformat(640, 480, "yuvj420p")
        astronaut.pts, astronaut.time_base = 0, Fraction(1, 25)
        for packet in [*cover.encode(astronaut), *cover.encode(None)]:
            sink.mux(packet)
        for stream in streams:
            for packet in packets("libx264", {}, sink, stream):
                sink.mux(packet)
    with av.open(str(path)) as container:
        assert [stream.width for stream in container.streams.video] == [64, 128, 640]
    assert {frame.size_wh for frame in read_frames(path)} == {(128, 96)}
    assert read_facts(path).codec == "h264"
    check_whole(path)


@pytest.mark.parametrize("suffix", [".heic", ".jpg"])
def test_a_phones_pictures_are_read_whole_and_upright(tmp_path: Path, suffix: str) -> None:
    """HEIC, also where its name says otherwise; an opener of videos sees its tiles."""
    import pillow_heif

    photo = skimage.data.astronaut()[:, 100:400]
    exif = PIL.Image.Exif()
    exif[274] = 6
    path = tmp_path / f"photo{suffix}"
    pillow_heif.from_pillow(PIL.Image.fromarray(np.rot90(photo))).save(str(path), quality=95, exif=exif.tobytes())
    frame = next(read_frames(path))
    assert frame.size_wh == (300, 512)
    assert np.abs(frame_rgb(frame).astype(int) - photo).mean() < 3
    facts = read_facts(path)
    assert (facts.codec, facts.rotation) == ("heif", 90)


def test_a_change_of_size_in_mid_file_ends_the_shot(tmp_path: Path) -> None:
    """Broadcasts and calls change their resolution; boxes in old pixels would cut background out of the new ones."""
    photo = skimage.data.astronaut()
    path = tmp_path / "call.ts"
    parts = []
    for size in (512, 256):
        part = tmp_path / f"{size}.ts"
        with av.open(str(part), "w") as sink:
            stream = sink.add_stream("libx264", rate=25, options={"bf": "0"})
            stream.width, stream.height, stream.pix_fmt = size, size, "yuv420p"
            for i in range(20):
                frame = av.VideoFrame.from_ndarray(photo, "rgb24").reformat(size, size, "yuv420p")
                frame.pts, frame.time_base = i + 20 * (size == 256), Fraction(1, 25)
                sink.mux(stream.encode(frame))
            sink.mux(stream.encode(None))
        parts.append(part.read_bytes())
    path.write_bytes(b"".join(parts))
    frames = list(read_frames(path))
    assert [frame.size_wh[0] for frame in frames] == [512] * 20 + [256] * 20
    found = find_faces(frames, make_detector("libfacedetection"))
    assert found.cuts == [20]
    before, after = found.faces_at(19)[0], found.faces_at(20)[0]
    assert before.track_id != after.track_id
    assert np.allclose(np.array(after.box), np.array(before.box) / 2, atol=4)


def test_streams_that_were_cut_together_go_on(tmp_path: Path) -> None:
    """Broadcast recordings: stamps begin again in mid-file; the second part counts on."""
    part = write(tmp_path / "part.ts", "libx264", {"bf": "2", "b_strategy": "0"})
    double = tmp_path / "double.ts"
    double.write_bytes(2 * part.read_bytes())
    frames = list(read_frames(double))
    assert [frame.index for frame in frames] == list(range(2 * COUNT))
    assert np.all(np.diff([frame.time_s for frame in frames]) > 0)
    assert read_header(double).frame_count == 2 * COUNT


def test_a_recording_that_broke_off_is_counted(tmp_path: Path) -> None:
    """Its header was never filled in, and claims a billion frames."""
    whole = write(tmp_path / "whole.avi", "mjpeg", {"qscale": "3"}, pixels="yuvj420p").read_bytes()
    broken = tmp_path / "broken.avi"
    head = bytearray(whole[: len(whole) * 2 // 3])
    at = head.index(b"avih") + 8 + 16
    head[at : at + 4] = (1 << 30).to_bytes(4, "little")
    at = head.index(b"strh") + 8 + 32
    head[at : at + 4] = (1 << 30).to_bytes(4, "little")
    broken.write_bytes(head)
    frames = list(read_frames(broken))
    assert COUNT // 2 < len(frames) < COUNT
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert len(frames) <= read_header(broken).frame_count <= len(frames) + 1
