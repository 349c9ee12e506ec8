"""``forgeprep report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forgeprep.commands.flags import ANY, Debug, Out
from forgeprep.commands.groups import single


def report(
    out: Out,
    to: Annotated[Path | None, typer.Option(help="HTML file to write. [default: OUT/report/index.html]", **ANY)] = None,
    worst: Annotated[
        int, typer.Option(help="List so many samples whose masks are most doubtful, on the page and in --csv.", min=1)
    ] = 200,
    csv: Annotated[
        Path | None,
        typer.Option("--csv", help="Write these samples to this CSV file, the worst first. [default: none]", **ANY),
    ] = None,
    debug: Debug = False,
) -> None:
    """Write one HTML page to judge a run by.

    It begins with what is well and what needs a look. Then: pictures, the worst first, coverage, masks, pairs, noise.
    """
    from forgeprep.commands.inspect import READ_MEMORY
    from forgeprep.commands.terminal import console
    from forgeprep.media import guard
    from forgeprep.report.page import write_report

    with guard.memory(READ_MEMORY):
        written = write_report(out, to, table=csv, listed=worst)
    console.print(f"report: {written}", markup=False)
    if csv is not None:
        console.print(f"worst samples: {csv}", markup=False)


app = single(report)
