"""``forgeprep select``."""

from __future__ import annotations

from typing import Annotated

import typer

from forgeprep.commands.curating import To, make_new, tell_made
from forgeprep.commands.flags import Debug, Json, Out
from forgeprep.commands.groups import single

EXAMPLES = """
forgeprep select shards --where "mask_confidence > .5" --out sure
forgeprep select shards --where "method = 'Deepfakes'" --out deepfakes
"""


def select(
    out: Out,
    where: Annotated[
        str, typer.Option(help="Condition in SQL (DuckDB) on the columns of a sample, without pictures.", metavar="SQL")
    ],
    to: To,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make a run of the samples that fulfil a condition.

    What is left out is counted, and is no drop. A clip without a sample left goes with its drops.
    """
    from forgeprep.commands.terminal import document
    from forgeprep.curate.select import selected
    from forgeprep.curate.source import open_source

    with document(as_json) as told:
        tell_made(make_new(lambda: selected(open_source(out), where), to), to, told)


app = single(select, examples=EXAMPLES)
