"""``forgeprep report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forgeprep.commands.flags import ANY, Debug, Json, Out
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
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write one HTML page to judge a run by.

    It begins with what is well and what needs a look. Then: pictures, the worst first, coverage, masks, pairs, noise.
    """
    from forgeprep.commands.inspect import READ_MEMORY
    from forgeprep.commands.terminal import console, document
    from forgeprep.media import guard
    from forgeprep.report.page import gather, write_page
    from forgeprep.report.verdict import verdict_of

    with document(as_json) as told, guard.memory(READ_MEMORY):
        found = gather(out, worst)
        written = write_page(found, to or out / "report" / "index.html", csv)
        verdict = verdict_of(found)
        look = [{"text": plain(notice.text), "fails": notice.fails} for notice in verdict.look]
        told |= {"report": str(written), "csv": None if csv is None else str(csv)}
        told |= {"well": list(map(plain, verdict.well)), "look": look}
        console.print(f"report: {written}", markup=False)
        if csv is not None:
            console.print(f"worst samples: {csv}", markup=False)


def plain(text: str) -> str:
    """A line of the page for programs: with common blanks."""
    return " ".join(text.split())


app = single(report, examples="forgeprep report shards\nforgeprep report shards --worst 500 --csv worst.csv")
