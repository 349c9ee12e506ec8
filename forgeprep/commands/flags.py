"""Flags and arguments that several commands share, and how paths are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error. [default: off]")]


def parse_path(text: str) -> Path:
    """A path of this machine or a URI; raises UsageError for a name that tables cannot hold."""
    from forgeprep.errors import UsageError
    from forgeprep.io.storage import is_plain, to_path

    if not text:
        raise UsageError("a path is empty; is the shell variable set that it comes from?")
    # Shards and tables hold text; a name that is no UTF-8 arrives here with stand-ins.
    if not is_plain(text) or not is_plain(str(path := to_path(text))):
        raise UsageError(f"{text!a}: paths must be UTF-8 without control characters; use or make another folder")
    return path


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

INPUT, OUTPUT, EXECUTION, FIGURES = "Input", "Output", "Execution", "Figures"
"""Headings that the help of several commands has."""


def completing(names: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """What a shell offers for a value: those of ``names()`` that begin as it does, behind its last comma."""

    def offered(incomplete: str) -> list[str]:
        before, comma, part = incomplete.rpartition(",")
        return [f"{before}{comma}{name}" for name in names() if name.startswith(part)]

    return offered


def _datasets() -> Iterable[str]:
    from forgeprep.datasets import dataset_names

    return dataset_names()


def _stages() -> Iterable[str]:
    from forgeprep.params import stage_names

    return stage_names()


def _formats() -> Iterable[str]:
    from forgeprep.shards.formats import FORMATS

    return [*FORMATS.names(), "both"]


def _detectors() -> Iterable[str]:
    from forgeprep.faces.detectors import detector_names

    return detector_names()


def _landmarkers() -> Iterable[str]:
    from forgeprep.faces.landmarkers import landmarker_names

    return landmarker_names()


def _models() -> Iterable[str]:
    try:
        from forgeprep.training.models import model_names
    except ImportError:  # Without the extra train there is nothing to offer.
        return ()
    return model_names()


Dataset = Annotated[
    str,
    typer.Argument(
        help="Dataset, e.g. ffpp; 'forgeprep datasets' lists them.",
        autocompletion=completing(_datasets),
        metavar="DATASET",
    ),
]
complete_datasets = completing(_datasets)
complete_stages, complete_models = completing(_stages), completing(_models)
complete_formats, complete_detectors = completing(_formats), completing(_detectors)
complete_landmarkers = completing(_landmarkers)

Out = Annotated[Path, typer.Argument(help="Folder of a finished run.", parser=parse_path, metavar="OUT")]
Json = Annotated[bool, typer.Option("--json", help="Print it as JSON, for programs. [default: off]")]

JsonLines = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print events as JSON, one a line, for schedulers; text goes to standard error. [default: off]",
        rich_help_panel=EXECUTION,
    ),
]

Workers = Annotated[
    int | None,
    typer.Option(
        help="Shards made at a time; 1 works in this process, without Ray. [default: as CPUs and memory allow]",
        metavar="INTEGER",
        rich_help_panel=EXECUTION,
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        help="Ray cluster: auto, ray://host:port or local. [default: RAY_ADDRESS, else this machine]",
        metavar="TEXT",
        rich_help_panel=EXECUTION,
    ),
]
ClipTimeout = Annotated[
    float | None,
    typer.Option(
        help="Replace a worker that shows no progress for so many seconds. [default: 600]",
        min=1,
        metavar="SECONDS",
        rich_help_panel=EXECUTION,
    ),
]
WorkerMemory = Annotated[
    str | None,
    typer.Option(
        help="What a process that reads media may take, e.g. 2GB or 800MB. [default: 2GB]",
        metavar="SIZE",
        rich_help_panel=EXECUTION,
    ),
]

StartTimeout = Annotated[
    float | None,
    typer.Option(
        help="Fail if no worker of Ray has begun after so many seconds. [default: 300; no limit on a cluster]",
        min=1,
        metavar="SECONDS",
        rich_help_panel=EXECUTION,
    ),
]

Shards = Annotated[
    list[Path],
    typer.Option(
        "--shards", help="Folder of a finished run; may be given more than once.", rich_help_panel=INPUT, **ANY
    ),
]
Bootstrap = Annotated[
    int,
    typer.Option(
        "--bootstrap",
        help="Draws behind each interval; 0 for no intervals.",
        min=0,
        max=100_000,
        metavar="INTEGER",
        rich_help_panel=FIGURES,
    ),
]
Gpus = Annotated[
    int | None,
    typer.Option(
        "--gpus",
        help="0 for the CPU. [default: a GPU where there is one]",
        metavar="INTEGER",
        rich_help_panel=EXECUTION,
    ),
]
