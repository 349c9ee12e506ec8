"""``forgeprep drop``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forgeprep.commands.curating import ToOrHere, change, make_new, tell_made, tell_unchanged
from forgeprep.commands.flags import LOCAL, Debug, Json, Out
from forgeprep.commands.groups import single

if TYPE_CHECKING:
    from forgeprep.curate.write import Derived

EXAMPLES = """
forgeprep drop shards --samples bad.txt
forgeprep drop shards --samples worst.csv --out better
"""


def drop(
    out: Out,
    samples: Annotated[
        Path, typer.Option(help="Text file with a sample_id a line, or CSV with a column sample_id.", **LOCAL)
    ],
    to: ToOrHere = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Take samples out of a run.

    Shards without any of them stay as they are. What is taken out is counted, and is no drop with a reason.
    """
    from forgeprep.commands.terminal import console, document
    from forgeprep.curate.select import drop_step, read_ids, without
    from forgeprep.curate.source import open_source

    ids = read_ids(samples)

    def make() -> Derived:
        derived, strangers = without(open_source(out), ids)
        if strangers:
            shown = ", ".join(strangers[:3]) + (" …" if len(strangers) > 3 else "")
            console.print(f"warning: {len(strangers):,} of them are not in {out}: {shown}", markup=False)
        return derived

    with document(as_json) as told:
        made = change(make, out, drop_step(ids)) if to is None else make_new(make, to)
        if made is None:
            tell_unchanged(out, "these samples were taken out already", told)
        else:
            tell_made(made, to or out, told)


app = single(drop, examples=EXAMPLES)
