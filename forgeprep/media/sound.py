"""Give a silent video the sound of another file: ``python -m forgeprep.media.sound SILENT SOURCE TARGET``.

It runs as a process of its own, as other people's files are read everywhere. Sound is copied as it is coded where MP4
takes it, and coded as AAC elsewhere.
"""

from __future__ import annotations

import heapq
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av

from forgeprep.media import guard

_AS_IT_IS = {"aac", "mp3", "mp3float", "ac3", "eac3"}
_NONE = 4
"""Exit code: the source has no sound."""


def with_sound(silent: Path, source: Path, target: Path) -> bool | None:
    """Write ``target``, the pictures of one file with the sound of another.

    Returns:
        Whether it was written; None where the source has no sound.
    """
    modules = [sys.executable, "-m", "forgeprep.media.sound", str(silent), str(source), str(target)]
    try:
        done = subprocess.run(
            modules,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=guard.TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return None if done.returncode == _NONE else done.returncode == 0


def _mux(silent: str, source: str, target: str) -> int:
    with av.open(silent) as pictures, av.open(source) as other, av.open(target, "w", format="mp4") as out:
        if not other.streams.audio:
            return _NONE
        shown, heard = pictures.streams.video[0], other.streams.audio[0]
        video = out.add_stream_from_template(shown)
        copied = heard.codec_context.name in _AS_IT_IS
        sound: Any
        if copied:
            sound = out.add_stream_from_template(heard)
        else:
            layout = "mono" if heard.codec_context.layout.nb_channels == 1 else "stereo"
            sound = out.add_stream("aac", rate=heard.codec_context.sample_rate, layout=layout)
        # A player reads on: what is shown and what is heard at a moment lie near each other.
        parts = heapq.merge(
            _timed(pictures.demux(shown), video),
            _timed(other.demux(heard) if copied else _coded(other, heard, sound), sound),
            key=lambda part: part[0],
        )
        for _, packet in parts:
            out.mux(packet)
    return 0


def _timed(packets: Iterator[Any], stream: Any) -> Iterator[tuple[float, Any]]:
    for packet in packets:
        if packet.dts is not None:
            at = float(packet.dts * packet.time_base)
            packet.stream = stream
            yield at, packet


def _coded(container: Any, stream: Any, into: Any) -> Iterator[Any]:
    for frame in container.decode(stream):
        yield from into.encode(frame)
    yield from into.encode()


if __name__ == "__main__":
    with guard.memory(guard.MEMORY):
        sys.exit(_mux(*sys.argv[1:4]))
