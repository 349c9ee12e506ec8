"""Decoders that crash, hang or take all memory at files of given names, in the processes that read media."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

import forgeprep

SABOTAGE = '''
"""Loaded by every Python process of the run: opening a file of DEEDS does what a defect of a decoder would."""
import os, signal, sys
from importlib.machinery import PathFinder

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name != "forgeprep.media.video":
            return None
        spec = PathFinder.find_spec(name, path)
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            there = module._open

            deeds = dict(part.split("=") for part in os.environ["DEEDS"].split(","))

            def sabotaged(path):
                deed = deeds.get(path.name)
                if deed == "crash":
                    os.kill(os.getpid(), signal.SIGSEGV)
                if deed == "hang":
                    import ctypes
                    ctypes.PyDLL(None).sleep(1000)  # holds the lock of the interpreter
                if deed == "memory":
                    import numpy
                    held = [numpy.empty(1 << 28, "u1") for _ in range(40)]
                    os.kill(os.getpid(), signal.SIGKILL)
                return there(path)

            if "_ray_task" in " ".join(sys.orig_argv) or "default_worker" in " ".join(sys.orig_argv) or (
                "forgeprep.media.reader" in sys.orig_argv
            ):
                module._open = sabotaged

        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Finder())
'''


def sabotage(
    folder: Path,
    deeds: Mapping[str, str],
    patch: pytest.MonkeyPatch,
    *,
    module: str = "forgeprep.media.video",
    function: str = "_open",
) -> None:
    """From now on the processes that read media do this at files of these names: crash, hang or memory."""
    folder.mkdir(exist_ok=True)
    code = SABOTAGE.replace("forgeprep.media.video", module).replace("_open", function)
    (folder / "sitecustomize.py").write_text(code)
    patch.setenv("DEEDS", ",".join(f"{name}={deed}" for name, deed in deeds.items()))
    patch.setenv("PYTHONPATH", f"{folder}:{Path(forgeprep.__file__).parents[1]}")
    patch.syspath_prepend(str(folder))
