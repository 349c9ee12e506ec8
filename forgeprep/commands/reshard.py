"""``forgeprep reshard``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from forgeprep.commands.curating import ToOrHere, change, make_new, tell_made, tell_unchanged
from forgeprep.commands.flags import Debug, Json, Out, complete_formats
from forgeprep.commands.groups import single

if TYPE_CHECKING:
    from forgeprep.curate.write import Derived

EXAMPLES = """
forgeprep reshard shards --shard-size 500
forgeprep reshard shards --format webdataset --out tars
"""


def reshard(
    out: Out,
    shard_size: Annotated[
        int | None, typer.Option(min=1, help="Samples a shard, about. [default: as it is]", metavar="INTEGER")
    ] = None,
    format_names: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="Shard formats, comma-separated: parquet, webdataset, … [default: as it is]",
            metavar="TEXT",
            autocompletion=complete_formats,
        ),
    ] = None,
    to: ToOrHere = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Pack a run into shards of another size or format.

    No sample changes, and a source group stays in one shard.
    """
    from forgeprep.commands.terminal import document
    from forgeprep.curate.reshard import repacked, step_of
    from forgeprep.curate.source import open_source
    from forgeprep.errors import UsageError
    from forgeprep.shards.formats import resolve_formats

    formats = resolve_formats(format_names) if format_names is not None else None
    if shard_size is None and formats is None:
        raise UsageError("reshard: give --shard-size, --format or both")

    def make() -> Derived:
        return repacked(open_source(out), shard_size, formats)

    with document(as_json) as told:
        made = change(make, out, step_of(shard_size, formats)) if to is None else make_new(make, to)
        if made is None:
            tell_unchanged(out, "is packed so already", told)
        else:
            tell_made(made, to or out, told)


app = single(reshard, examples=EXAMPLES)
