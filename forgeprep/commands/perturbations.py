"""``forgeprep perturbations``."""

from __future__ import annotations

from forgeprep.commands.flags import Debug, Json
from forgeprep.commands.groups import single


def perturbations(as_json: Json = False, debug: Debug = False) -> None:
    """List the perturbations and their severities.

    Those of the stage 'perturb': their groups, and their parameters at severity 1 to 5.
    """
    from forgeprep.commands.terminal import (
        add_cells,
        broken_facts,
        light_table,
        print_broken,
        print_json,
        print_table,
    )
    from forgeprep.ops.perturb.catalogue import CATALOGUE, OTHERS
    from forgeprep.report.perturbations import levels_text

    found, broken = [*CATALOGUE.values(), *OTHERS.usable().values()], OTHERS.broken()
    if as_json:
        told = ("group", "name", "summary", "levels")
        print_json([*({name: getattr(entry, name) for name in told} for entry in found), *broken_facts(broken)])
        return
    listed = light_table("perturbations", ["group", "name"], [], ["what it does", "severity 1 to 5"])
    for entry in found:
        add_cells(listed, entry.group, entry.name, entry.summary, levels_text(entry))
    print_table(listed)
    print_broken(broken)


app = single(perturbations, examples="forgeprep perturbations\nforgeprep perturbations --json")
