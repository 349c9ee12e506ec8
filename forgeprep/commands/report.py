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
    debug: Debug = False,
) -> None:
    """Write one HTML page to judge a run by.

    Coverage, masks, pairs, noise, and contact sheets, the worst first.
    """
    from forgeprep.commands.inspect import READ_MEMORY
    from forgeprep.commands.terminal import console
    from forgeprep.media import guard
    from forgeprep.report.page import write_report

    with guard.memory(READ_MEMORY):
        written = write_report(out, to)
    console.print(f"report: {written}", markup=False)


app = single(report)
