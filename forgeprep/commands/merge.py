"""``forgeprep merge``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forgeprep.commands.curating import To, make_new, tell_made
from forgeprep.commands.flags import Debug, Json, parse_path
from forgeprep.commands.groups import single

if TYPE_CHECKING:
    from forgeprep.curate.merge import Merged
    from forgeprep.curate.write import Derived

EXAMPLES = """
forgeprep merge ffpp celebdf --out both
"""


def merge(
    runs: Annotated[
        list[Path], typer.Argument(help="Folders of finished runs, two or more.", parser=parse_path, metavar="RUN...")
    ],
    out: To,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Put runs together: each sample once.

    Refused where somebody would stand in two splits, or where the runs have other stages. Of a sample that several
    runs hold, the first one's is taken.
    """
    from forgeprep.commands.terminal import console, document
    from forgeprep.curate.merge import merged
    from forgeprep.curate.source import open_source
    from forgeprep.errors import UsageError
    from forgeprep.io.storage import real_name
    from forgeprep.text import counted

    if len(runs) < 2:
        raise UsageError("merge: give two runs or more")
    for number, one in enumerate(runs):
        if real_name(one) in map(real_name, runs[:number]):
            raise UsageError(f"merge: {one} is given twice")
    found: list[Merged] = []

    def make() -> Derived:
        found.append(merged([open_source(one) for one in runs]))
        for line in found[0].differences:
            console.print(f"warning: {line}", markup=False)
        return found[0].derived

    with document(as_json) as told:
        made = make_new(make, out)
        if found[0].twice:
            console.print(f"{counted(found[0].twice, 'sample')} in more than one run: the first one's is taken")
        tell_made(made, out, told, chosen=False)
        told["twice"] = found[0].twice


app = single(merge, examples=EXAMPLES)
