"""``forgeprep demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forgeprep.commands.flags import Debug, parse_local
from forgeprep.commands.groups import single
from forgeprep.text import counted

_LEAST_PEOPLE = 6

EXAMPLES = """
forgeprep demo FaceForensics++
forgeprep demo Celeb-DF-v2 --layout celebdf-v2 --people 12
"""


def demo(
    folder: Annotated[
        Path, typer.Argument(help="Folder to write; must be new or empty.", parser=parse_local, metavar="FOLDER")
    ],
    people: Annotated[int, typer.Option(help="How many people; at least 6, so that every split has a pair.")] = 8,
    seconds: Annotated[float, typer.Option(help="Length of a clip.")] = 3.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same files.")] = 0,
    layout: Annotated[str, typer.Option(help="The dataset in whose layout it is written.")] = "ffpp",
    debug: Debug = False,
) -> None:
    """Write a small dataset to try things with.

    It has the layout of a real one, and is made from two portraits that ship with Python packages.
    """
    import shlex
    import time

    from forgeprep.commands.terminal import console
    from forgeprep.datasets import dataset_name
    from forgeprep.demo import make_demo
    from forgeprep.errors import UsageError
    from forgeprep.report.summary import size_text

    layout = dataset_name(layout)
    if people < _LEAST_PEOPLE:
        raise UsageError(
            f"--people: must be even and at least {_LEAST_PEOPLE}, for a pair in each split (got {people})"
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder}: exists and is not an empty folder; give a new one")
    started = time.perf_counter()
    summary = make_demo(folder, people=people, seconds=seconds, seed=seed, layout=layout)
    console.print(
        f"{folder}: {counted(summary.clips, 'file')}, {size_text(summary.bytes)}, {time.perf_counter() - started:.1f} s"
    )
    words = ["forgeprep", "run", layout, "--root", str(folder), "--stages", "crop,mask,noise"]
    console.print(f"next: {shlex.join(words)}", markup=False)


app = single(demo, examples=EXAMPLES)
