"""Files made to take memory, time, other files or the network: each is a drop, and takes nothing else along."""

from __future__ import annotations

import http.server
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from forgeprep.errors import MediaError
from forgeprep.media import guard
from forgeprep.media import process as media_process
from forgeprep.media.video import read_facts, read_frames, read_header
from tests.conftest import UInt8, encode_video
from tests.helpers.bombs import make_bombs, repeated
from tests.helpers.memory import most_held
from tests.helpers.sabotage import sabotage


def run_watched(root: Path, out: Path, *more: str) -> tuple[int, dict[str, int]]:
    """``forgeprep run folder``: exit code, and the most bytes that each of its processes held, by command."""
    words = [sys.executable, "-m", "forgeprep.cli", "run", "folder", "--root", str(root), "--out", str(out)]
    process = subprocess.Popen([*words, "--stages", "crop,mask", "--frames", "4", *more], stdout=subprocess.DEVNULL)
    most = most_held(process)
    return process.wait(), most


@pytest.fixture(scope="module")
def bombs(tmp_path_factory: pytest.TempPathFactory, face_photo: UInt8) -> Path:
    folder = tmp_path_factory.mktemp("bombs")
    make_bombs(folder, 27, face_photo[:300, 100:400])
    return folder


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.long)])
def test_a_folder_of_bombs_takes_neither_memory_nor_time(workers: str, bombs: Path, tmp_path: Path) -> None:
    started = time.monotonic()
    code, most = run_watched(bombs, tmp_path / "out", "--workers", workers, "--clip-timeout", "60")
    assert code == 0
    assert time.monotonic() - started < 200
    assert max(most.values()) < 1.5 * (1 << 30), most
    clips = pq.read_table(tmp_path / "out" / "meta/clips.pq").to_pylist()
    written = Counter(Path(clip["path"]).name for clip in clips if clip["written"])
    assert set(written) == {"good.mp4", "good_x.mp4"}
    assert len(clips) == 32
    drops = pq.read_table(tmp_path / "out" / "meta/drops.pq").to_pylist()
    assert not [drop for drop in drops if "defect" in (drop["detail"] or "")]
    claims = {Path(d["clip_id"]).name for d in drops if "claims more than it holds" in (d["detail"] or "")}
    assert {"sparse", "hollow", "holes"} <= claims
    assert any("chunk_claim" in name for name in claims)


@pytest.fixture
def loopback() -> Iterator[tuple[str, list[str]]]:
    """A server on this machine, and what was asked of it."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_playlist_is_no_video(tmp_path: Path, face_photo: UInt8, loopback: tuple[str, list[str]]) -> None:
    address, asked = loopback
    secret = encode_video(tmp_path / "secret.mp4", [face_photo[:128, :128]] * 4)
    lists = {
        "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{secret}\n"
        f"#EXTINF:10,\n{address}/a.ts\n#EXT-X-ENDLIST\n",
        "concat": f"ffconcat version 1.0\nfile {secret}\nfile {address}/b.mp4\n",
        "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" profiles="x" '
        f'mediaPresentationDuration="PT1S"><Period><AdaptationSet><Representation id="1" bandwidth="1">'
        f"<BaseURL>{address}/c.mp4</BaseURL></Representation></AdaptationSet></Period></MPD>",
        "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
        "a=rtpmap:96 H264/90000\n",
    }
    before = secret.stat().st_atime_ns
    for name, text in lists.items():
        for suffix in (".mp4", ".m3u8", ".mkv"):
            path = tmp_path / f"{name}{suffix}"
            path.write_text(text)
            started = time.monotonic()
            for read in (read_header, read_facts, lambda path: list(read_frames(path))):
                with pytest.raises(MediaError, match="not a video that can be opened"):
                    read(path)
            assert time.monotonic() - started < 5
    assert asked == []
    assert secret.stat().st_atime_ns == before
    # A name is a name, whatever FFmpeg would make of it.
    odd = tmp_path / "concat:secret.mp4"
    odd.write_bytes(secret.read_bytes())
    assert len(list(read_frames(odd))) == 4


def test_a_name_is_no_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, face_photo: UInt8) -> None:
    encode_video(tmp_path / "a.mp4", [face_photo[:128, :128]] * 4)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MediaError, match="no such file"):
        read_header(Path("concat:a.mp4|a.mp4"))


def test_another_process_reads_the_same_frames(tmp_path: Path, face_photo: UInt8) -> None:
    clip = encode_video(tmp_path / "a.mp4", [face_photo[:128, i : 128 + i] for i in range(12)], rotation=90)
    here = list(read_frames(clip))
    before = set(psutil.Process().children())
    with media_process.reading():
        assert read_header(clip).frame_count == 12
        there = list(read_frames(clip))
        early = read_frames(clip)
        next(early)
        early.close()  # type: ignore[attr-defined]
        assert read_facts(clip).codec == "h264"
        assert len(list(read_frames(clip))) == 12
        with pytest.raises(MediaError, match="no such file"):
            read_header(tmp_path / "b.mp4")
    facts = [(f.index, f.time_s, f.model, f.shift, f.bits, f.siting) for f in here]
    assert facts == [(f.index, f.time_s, f.model, f.shift, f.bits, f.siting) for f in there]
    assert all(
        (p == q).all() for a, b in zip(here, there, strict=True) for p, q in zip(a.planes, b.planes, strict=True)
    )
    media_process.close()
    assert set(psutil.Process().children()) <= before


def test_frames_without_end_are_no_progress(tmp_path: Path, face_photo: UInt8) -> None:
    clip = encode_video(tmp_path / "a.mp4", [face_photo[:128, :128]] * 8, crf=20)
    clip.write_bytes(repeated(clip.read_bytes(), 100_000))
    with pytest.raises(MediaError, match="claims more than it holds"):
        read_header(clip)
    with pytest.raises(MediaError, match="claims more than it holds"):
        for _ in read_frames(clip):
            pass


@pytest.mark.parametrize(("deed", "told"), [("crash", "SIGSEGV"), ("hang", "no frame for 3 s")])
def test_a_clip_that_kills_a_header_reader_is_an_error_of_its_own(
    deed: str, told: str, tmp_path: Path, face_photo: UInt8, monkeypatch: pytest.MonkeyPatch
) -> None:
    sabotage(tmp_path / "site", {"a.mp4": deed}, monkeypatch)
    clips = [encode_video(tmp_path / name, [face_photo[:128, :128]] * 4) for name in ("a.mp4", "b.mp4")]
    try:
        with media_process.reading(seconds=3):
            with pytest.raises(MediaError, match=told) as raised:
                read_header(clips[0])
            assert raised.value.reason == "worker_died"
            assert read_header(clips[1]).frame_count == 4
    finally:
        media_process.close()
        guard._refused.clear()


@pytest.mark.parametrize("more", [["--workers", "1"], ["--dry-run"]])
def test_without_workers_clips_take_nothing_along_either(
    more: list[str], tmp_path: Path, face_photo: UInt8, monkeypatch: pytest.MonkeyPatch
) -> None:
    deeds = {f"{deed}.mp4": deed for deed in ("crash", "hang", "memory")}
    sabotage(tmp_path / "site", deeds, monkeypatch)
    for name in (*deeds, "good.mp4"):
        encode_video(tmp_path / "data" / "real" / name, [face_photo[:300, 100:400]] * 4, crf=20)
    # Of eight files the headers are asked for two by two: each killer stands beside another file.
    goods = ["good", *(f"good{number}" for number in range(4))]
    for name in goods[1:]:
        (tmp_path / "data/real" / f"{name}.mp4").hardlink_to(tmp_path / "data/real/good.mp4")
    code, _ = run_watched(tmp_path / "data", tmp_path / "out", "--clip-timeout", "3", *more)
    assert code == 0
    if "--dry-run" not in more:
        drops = pq.read_table(tmp_path / "out" / "meta/drops.pq").to_pylist()
        killers = {f"folder/real/{name.removesuffix('.mp4')}" for name in deeds}
        assert {(drop["clip_id"], drop["reason"]) for drop in drops} == {(name, "worker_died") for name in killers}
        clips = pq.read_table(tmp_path / "out" / "meta/clips.pq").to_pylist()
        assert {clip["clip_id"]: clip["written"] for clip in clips} == {
            **dict.fromkeys(killers, 0),
            **{f"folder/real/{name}": 4 for name in goods},
        }


def test_memory_that_is_refused_is_asked_for_again(tmp_path: Path) -> None:
    code = (
        "import numpy\nfrom forgeprep.media import guard\n"
        "with guard.memory(300 << 20):\n"
        "    try: numpy.ones(400 << 20, 'u1'); print('taken')\n"
        "    except MemoryError: print('refused')\n"
        "numpy.ones(400 << 20, 'u1'); print('taken')\n"
        "guard.limit_memory(300 << 20); guard.limit_memory(300 << 20)\n"
        "try: numpy.ones(400 << 20, 'u1'); print('taken')\n"
        "except MemoryError: print('refused')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["refused", "taken", "refused"]


def test_no_format_is_opened_that_opens_others() -> None:
    assert {"mov", "matroska", "avi", "mpegts"} <= set(guard.FORMATS.split(","))
    assert not {"hls", "concat", "dash", "image2", "sdp", "rtsp", "lavfi", "tee"} & set(guard.FORMATS.split(","))
