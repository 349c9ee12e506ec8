"""``forgeprep export``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from forgeprep.commands.flags import LOCAL, Debug, Out, completing
from forgeprep.commands.groups import single
from forgeprep.text import counted

EXAMPLES = """
forgeprep export out --to pictures --as pictures --option classes=method
forgeprep export out --to bench --as deepfakebench --option frames=32
"""


def _formats() -> Iterable[str]:
    from forgeprep.export import FORMATS

    return FORMATS.names()


def export(
    out: Out,
    to: Annotated[Path, typer.Option(help="Folder to make; must be new or empty.", **LOCAL)],
    format_name: Annotated[
        str,
        typer.Option(
            "--as",
            help="pictures, deepfakebench, or a format of another package.",
            autocompletion=completing(_formats),
        ),
    ],
    option: Annotated[list[str] | None, typer.Option(help="NAME=VALUE, an option of the format.")] = None,
    debug: Debug = False,
) -> None:
    """Write a run's samples as other programs read them.

    The folder is made whole or not at all, and holds checksums of its files.
    """
    from forgeprep.commands.terminal import console
    from forgeprep.export import export as write

    folder = write(out, to, format_name, option or ())
    console.print(f"{to}: {counted(folder.samples, 'sample')} in {counted(len(folder.sums), 'file')}", markup=False)


app = single(export, examples=EXAMPLES)
