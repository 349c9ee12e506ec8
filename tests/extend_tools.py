"""Install a package of examples/extend into a folder, and use forgeprep with it through the command line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
EXAMPLES = HERE / "examples" / "extend"
LINES = 100
"""So many lines a module of an example has at most."""


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

    Fails where the exit code is not ``expect``. ``stdout`` and ``stderr`` are text.
    """
    path = os.pathsep.join(map(str, (HERE, *installed)))
    done = subprocess.run(
        [sys.executable, "-m", "forgeprep.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
    )
    assert done.returncode == expect, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done
