"""Which clip kills its worker? Each of a source group is decoded in a process of its own, under limits.

This costs a second a clip, so it is done only for a group at which a worker has died. Run as a module, it is that
process: ``python -m forgeprep.pipeline.isolate SECONDS BYTES FILE``.
"""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from forgeprep.errors import MediaError
from forgeprep.ops import guard
from forgeprep.ops.sequence import is_sequence, pictures_in
from forgeprep.ops.video import read_frames
from forgeprep.stages.base import Group
from forgeprep.storage import to_path

MEMORY = 4 << 30
"""Bytes that decoding one clip may take."""
_NO_MEMORY = 3


def suspects(files: Sequence[Path], seconds: float) -> dict[Path, str]:
    """Those of some files that cannot be decoded safely, with the reason in words; one without a frame for so many
    seconds hangs.
    """
    found: dict[Path, str] = {}
    for path in files:
        why = _trial(path, seconds)
        if why is not None:
            # Of a folder of pictures, only those are left alone that do it, if that can be told.
            own = suspects(_pictures(path), seconds) if is_sequence(path) else {}
            found |= own or {path: why}
    return found


def _pictures(folder: Path) -> list[Path]:
    try:
        return [folder / name for name in pictures_in(folder).values()]
    except MediaError:
        return []


def files_of(group: Group, root: Path, companions: frozenset[str]) -> list[Path]:
    """All files that are read for a group; ``companions`` are the kinds that its stages want."""
    files = [root / clip.path for clip in group.members]
    beside = [(name, path) for clip in group.members for name, path in sorted(clip.companions.items())]
    return files + [root / path for name, path in beside if name in companions]


def _trial(path: Path, seconds: float) -> str | None:
    """Decode a file in a process of its own; None if that ends well, also for a file that is merely damaged."""
    command = [sys.executable, "-m", "forgeprep.pipeline.isolate", str(seconds), str(MEMORY), str(path)]
    code = subprocess.run(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode
    if code == 0:
        return None
    if code < 0:
        return f"it kills the decoder ({signal.Signals(-code).name})"
    if code == _NO_MEMORY:
        return f"decoding it takes more than {MEMORY >> 30} GB"
    return f"the decoder hangs: no frame for {seconds:g} s"


def _decode(seconds: float, memory: int, path: Path) -> int:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    try:
        with guard.clock(seconds):
            for _ in read_frames(path):
                pass
    except MediaError:
        return 0
    except MemoryError:
        return _NO_MEMORY
    return 0


if __name__ == "__main__":
    sys.exit(_decode(float(sys.argv[1]), int(sys.argv[2]), to_path(sys.argv[3])))
