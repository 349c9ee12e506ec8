"""``forgeprep export``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forgeprep.commands.flags import ANY, EXECUTION, INPUT, OUTPUT, Address, Debug, Json, Out, completing
from forgeprep.commands.groups import single

if TYPE_CHECKING:
    from forgeprep.export.select import Selection

EXAMPLES = """
forgeprep export deepfakebench out --to bench --frames 32
forgeprep export imagefolder out --to folders --methods Deepfakes
forgeprep export mds out --to s3://bucket/mds --workers 4
"""


def _formats() -> Iterable[str]:
    from forgeprep.export import FORMATS

    return FORMATS.names()


def export(
    format_name: Annotated[
        str,
        typer.Argument(
            metavar="FORMAT",
            help="deepfakebench, imagefolder, pictures, gend, forensichub, imdl-benco, mds, fiftyone, lav-df, "
            "self-blended, laa-net, or a format of another package.",
            autocompletion=completing(_formats),
        ),
    ],
    out: Out,
    to: Annotated[
        Path, typer.Option(help="Folder to make; must be new or empty.", rich_help_panel=OUTPUT, **ANY)
    ] = ...,  # type: ignore[assignment]
    splits: Annotated[
        str | None, typer.Option(help="Only these splits. [default: all]", metavar="TEXT", rich_help_panel=INPUT)
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(help="Reals, and fakes of these methods. [default: all]", metavar="TEXT", rich_help_panel=INPUT),
    ] = None,
    compression: Annotated[
        str | None, typer.Option(help="Only these qualities. [default: all]", metavar="TEXT", rich_help_panel=INPUT)
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(
            help="Frames of each face of a clip, evenly spread. [default: all]",
            min=1,
            metavar="INTEGER",
            rich_help_panel=INPUT,
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(help="An option of the format.", metavar="NAME=VALUE", rich_help_panel=OUTPUT),
    ] = None,
    links: Annotated[
        bool, typer.Option("--links", help="Link the dataset's own files. [default: copy]", rich_help_panel=OUTPUT)
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what would be exported, and write nothing. [default: off]")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Shards at a time; 1 works in this process, without Ray. [default: one a core]",
            min=0,
            metavar="INTEGER",
            rich_help_panel=EXECUTION,
        ),
    ] = None,
    address: Address = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write a run's samples as other programs read them.

    A local folder is made whole or not at all, and holds checksums of its files. The same command goes on where it was
    stopped.
    """
    from forgeprep.commands.execution import force_of
    from forgeprep.commands.stopping import stoppable
    from forgeprep.commands.terminal import console, counting, document, print_json, unattended
    from forgeprep.export.run import ask, count
    from forgeprep.export.run import export as write
    from forgeprep.export.select import Selection, parts_of
    from forgeprep.pipeline.executors.execution import Execution
    from forgeprep.schemas.splits import split_name
    from forgeprep.text import counted

    wanted = Selection(_names(splits, split_name), _names(methods), _names(compression), frames)
    asked = ask(out, format_name, option or (), wanted, links=links)
    force = force_of({"workers": workers, "address": address})
    if dry_run and as_json:
        print_json([_count_facts(*found) for found in count(out, asked).items()])
        return
    if dry_run:
        _print(count(out, asked), wanted)
        return
    # Ray takes seconds to start: it is worth it where there is more than one shard.
    most = min(force.most(), len(parts_of(out, wanted)))
    how = Execution(most if workers is None else workers, force.address or "local")
    with document(as_json) as told:
        with unattended(), stoppable(to), counting() as tell:
            made = write(out, to, asked, how=how, progress=tell)
        told |= {"to": str(to), "format": format_name, "entries": made.entries, "unit": made.unit}
        told |= {"files": made.files, "bytes": made.size, "unpaired": made.unpaired, "already": made.already}
        told |= {"left_out": made.left_out, "notes": list(made.notes)}
        size, whole = f"{made.size / 2**20:,.1f} MiB", "already there and whole, " if made.already else ""
        console.print(
            f"{to}: {whole}{counted(made.entries, made.unit)} in {counted(made.files, 'file')}, {size}; "
            "checksums.sha256 lists them",
            markup=False,
        )
        for note in made.notes:
            console.print(f"note: {note}", markup=False)
        if made.left_out:
            console.print(f"note: {counted(made.left_out, 'clip')} left out: {format_name} takes videos, not pictures")
        if made.unpaired and made.unit == "sample":
            console.print(
                f"note: {counted(made.unpaired, 'fake has', 'fakes have')} no frame of the original in the same shard: "
                "that one lies in another shard, was dropped, or was not chosen"
            )


app = single(export, examples=EXAMPLES)


def _names(text: str | None, name_of: object = None) -> tuple[str, ...] | None:
    if text is None:
        return None
    names = [part.strip() for part in text.split(",") if part.strip()]
    return tuple(name_of(name) if callable(name_of) else name for name in names)


def _count_facts(kind: tuple[str, str], counts: tuple[int, int]) -> dict[str, object]:
    return {"split": kind[0], "method": kind[1], "samples": counts[0], "clips": counts[1]}


def _print(found: Mapping[tuple[str, str], tuple[int, int]], wanted: Selection) -> None:
    from forgeprep.commands.terminal import add_cells, light_table, print_table

    table = light_table("would be exported", ["split", "method"], ["clips", "samples"])
    order = ["train", "val", "test"]
    for (split, method), (samples, clips) in sorted(found.items(), key=lambda item: (order.index(item[0][0]), item[0])):
        add_cells(table, split, method, f"{clips:,}", f"{samples:,}")
    add_cells(table, "all", "", f"{sum(c for _, c in found.values()):,}", f"{sum(s for s, _ in found.values()):,}")
    print_table(table)
