"""Install a package of examples/extend into a folder, and use forgeprep with it through the command line."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parents[2]
EXAMPLES = HERE / "examples" / "extend"
LINES = 100
"""So many lines a module of an example has at most."""
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["av", "cv2", "jinja2", "pyarrow.dataset", "pydantic", "rich.table", "torch", "typer"])


def install(folder: Path, target: Path) -> Path:
    """Leave in ``target`` what ``pip install -t TARGET FOLDER`` leaves, without a build backend and without a network.

    ``folder`` holds a ``pyproject.toml`` and one module or package, which is called as the project with ``_`` for
    ``-``. Returns ``target``; put it on ``PYTHONPATH``.
    """
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    name, version = project["name"], project["version"]
    plain = name.replace("-", "_")
    target.mkdir(parents=True, exist_ok=True)
    if (folder / plain).is_dir():
        shutil.copytree(folder / plain, target / plain)
    else:
        shutil.copy(folder / f"{plain}.py", target)
    info = target / f"{plain}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    groups = project.get("entry-points", {})
    lines = [
        line
        for group, points in groups.items()
        for line in (f"[{group}]", *(f"{point} = {place}" for point, place in points.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return target


def forgeprep(
    *arguments: object, installed: Sequence[Path] = (), expect: int = 0, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Call the command line in a process of its own that sees the ``installed`` packages.

    The process is a fork of one that has imported other people's libraries, and nothing of forgeprep: a new one would
    need two seconds for torch alone. Fails where the exit code is not ``expect``. ``stdout`` and ``stderr`` are text.
    """
    words = list(map(str, arguments))
    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder) / name) for name in ("stdout", "stderr")]
        process = _FORKS.Process(target=_main, args=(words, list(map(str, installed)), cwd, files))
        process.start()
        process.join()
        stdout, stderr = (Path(file).read_text(encoding="utf-8") for file in files)
    assert process.exitcode == expect, f"exit code {process.exitcode}\n{stdout}\n{stderr}"
    return subprocess.CompletedProcess(words, expect, stdout, stderr)


def _main(words: list[str], installed: list[str], cwd: Path | None, files: list[str]) -> None:
    for number, file in enumerate(files, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))
    path = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": os.pathsep.join([str(HERE), *installed])}
    os.environ.clear()
    os.environ.update(path, OMP_NUM_THREADS="1", COLUMNS="200")
    sys.path[:] = [str(HERE), *installed, *sys.path]
    os.chdir(cwd or HERE)
    assert not any(name.split(".")[0] == "forgeprep" for name in sys.modules), "a command begins with a fresh package"
    from forgeprep.cli import main

    try:
        main(words)
    finally:
        atexit._run_exitfuncs()  # Processes that multiprocessing forks leave them out.
        sys.stdout.flush()
        sys.stderr.flush()
