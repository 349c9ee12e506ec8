"""Which clip kills its worker? Each of a source group is decoded in a process of its own, under limits.

This costs a second a clip, so it is done only for a group at which a worker has died. Run as a module, it is that
process: ``python -m forgeprep.pipeline.isolate SECONDS BYTES FILE``.
"""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from pathlib import Path

from forgeprep.errors import MediaError
from forgeprep.ops import guard
from forgeprep.ops.video import read_frames
from forgeprep.stages.base import Group

MEMORY = 4 << 30
"""Bytes that decoding one clip may take."""
MAX_DEATHS = 5
"""After so many deaths at a group whose clips decode well, the group is given up."""

_NO_MEMORY = 3


def suspects(group: Group, root: Path, companions: frozenset[str], deaths: int, seconds: float) -> dict[Path, str]:
    """The files of a group that are to be left alone, with the reason in words.

    Args:
        group: a source group at which workers have died.
        root: the dataset's folder.
        companions: the kinds of companion files that are read.
        deaths: how many workers have died at it.
        seconds: a file that gives no frame for so long hangs.
    """
    clips = [*group.clips, *([group.reference] if group.reference else [])]
    files = [root / clip.path for clip in clips]
    files += [root / path for clip in clips for name, path in sorted(clip.companions.items()) if name in companions]
    if deaths >= MAX_DEATHS:
        why = f"{deaths} workers died at this clip or those that belong to it, and each decodes well alone"
        return dict.fromkeys(files, why)
    found = {path: _trial(path, seconds) for path in files}
    return {path: why for path, why in found.items() if why is not None}


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
                guard.alive()
    except MediaError:
        return 0
    except MemoryError:
        return _NO_MEMORY
    return 0


if __name__ == "__main__":
    sys.exit(_decode(float(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])))
