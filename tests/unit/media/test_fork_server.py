"""Readers are split off one process: what becomes of them when it, they, or the command ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from forgeprep.errors import MediaError
from forgeprep.media import guard
from forgeprep.media import process as media_process
from forgeprep.media.video import read_frames, read_header
from tests.conftest import UInt8, encode_video
from tests.helpers.runs import wait_for

COMMAND = """
import sys, time
from pathlib import Path
from forgeprep.media.process import reading
from forgeprep.media.video import read_frames
with reading(ahead=2):
    next(read_frames(Path(sys.argv[1])))
    print("ready", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def clip(tmp_path: Path, face_photo: UInt8) -> Path:
    return encode_video(tmp_path / "a.mp4", [face_photo[:128, i : 128 + i] for i in range(12)])


def _family(process: psutil.Process) -> list[psutil.Process]:
    return [one for one in process.children(recursive=True) if "forgeprep.media.reader" in one.cmdline()]


def test_readers_outlive_what_they_were_split_off_and_more_can_be_had(clip: Path) -> None:
    media_process.close()
    with media_process.reading():
        early = read_frames(clip)
        next(early)
        (server,) = [one for one in psutil.Process().children() if one in _family(psutil.Process())]
        (reader,) = server.children()
        server.kill()
        server.wait()
        assert sum(1 for _ in early) == 11
        others = [read_frames(clip) for _ in range(2)]
        assert [next(other).index for other in others] == [0, 0]
        assert [sum(1 for _ in other) for other in others] == [11, 11]
    media_process.close()
    wait_for(lambda: not reader.is_running() or reader.status() == psutil.STATUS_ZOMBIE)
    assert not _family(psutil.Process())


def test_how_a_reader_ended_is_told(clip: Path) -> None:
    with media_process.reading():
        stream = read_frames(clip)
        next(stream)
        busy = [one for one in _family(psutil.Process()) if not one.children()]
        for reader in busy:
            os.kill(reader.pid, signal.SIGBUS)
        with pytest.raises(MediaError, match="SIGBUS"):
            list(stream)
        guard._refused.clear()
        # The idle ones were killed, too: others take their places.
        assert read_header(clip).frame_count == 12


def test_a_stream_that_is_garbage_ends_in_silence(clip: Path) -> None:
    """The collector goes by age: what is read from, which is used again, is closed before the stream that reads it."""
    code = COMMAND.partition("    next(")[0] + (
        "    frames = read_frames(Path(sys.argv[1]))\n"
        "    next(frames)\n"
        "    circle = [frames]\n"
        "    circle.append(circle)\n"
        "    del frames, circle\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(clip)], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_nothing_is_left_of_a_command_that_is_killed(clip: Path) -> None:
    command = subprocess.Popen([sys.executable, "-c", COMMAND, str(clip)], stdout=subprocess.PIPE)
    assert command.stdout is not None
    assert command.stdout.readline() == b"ready\n"
    family = _family(psutil.Process(command.pid))
    assert len(family) >= 3
    command.kill()
    command.wait()
    command.stdout.close()
    wait_for(lambda: not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in family))
