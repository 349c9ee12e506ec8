"""Flags and arguments that several commands share, and how paths are read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error. [default: off]")]


def parse_path(text: str) -> Path:
    """A path of this machine or a URI; raises UsageError for a name that tables cannot hold."""
    from forgeprep.errors import UsageError
    from forgeprep.io.storage import is_plain, to_path

    # Shards and tables hold text; a name that is no UTF-8 arrives here with stand-ins.
    if not is_plain(text):
        raise UsageError(f"{text!a}: paths must be UTF-8 without control characters; use or make another folder")
    return to_path(text)


def parse_local(text: str) -> Path:
    """A path of this machine; raises UsageError for a URI."""
    from forgeprep.errors import UsageError
    from forgeprep.io.storage import is_remote

    path = parse_path(text)
    if is_remote(path):
        raise UsageError(f"{text}: must be on this machine; only datasets and shards may lie on remote storage")
    return path


# What a run reads and writes may be a URI; all else is a path of this machine.
ANY: dict[str, Any] = {"parser": parse_path, "metavar": "PATH"}
LOCAL: dict[str, Any] = {"parser": parse_local, "metavar": "PATH"}

Out = Annotated[Path, typer.Argument(help="Folder of a finished run.", parser=parse_path, metavar="OUT")]

MinFace = Annotated[
    float | None, typer.Option(help="Height of the smallest face over the picture's shorter side. [default: 1/15]")
]
Sigma = Annotated[float | None, typer.Option(help="Noise level of the residual filter. [default: 10 at c40, else 5]")]
Side = Annotated[int | None, typer.Option(help="Cells along an edge of the similarity grid. [default: 14]")]
Workers = Annotated[
    int | None, typer.Option(help="Shards made at a time; 1 works in this process, without Ray. [default: one a core]")
]
Address = Annotated[str | None, typer.Option(help="Ray cluster: auto or ray://host:port. [default: this machine]")]
ClipTimeout = Annotated[
    float | None,
    typer.Option(help="Replace a worker that shows no progress for so many seconds. [default: 600]", min=1),
]
WorkerMemory = Annotated[
    str | None,
    typer.Option(help="What a process that reads media may take, e.g. 2GB or 800MB. [default: 2GB]"),
]

Shards = Annotated[
    list[Path], typer.Option("--shards", help="Folder of a finished run; may be given more than once.", **ANY)
]
Gpus = Annotated[int | None, typer.Option("--gpus", help="0 for the CPU. [default: a GPU where there is one]")]
