"""``forgeprep perturbations``."""

from __future__ import annotations

from forgeprep.commands.flags import Debug
from forgeprep.commands.groups import single


def perturbations(debug: Debug = False) -> None:
    """List the perturbations and their severities.

    Those of the stage 'perturb': their groups, and their parameters at severity 1 to 5.
    """
    from forgeprep.commands.terminal import add_cells, console, light_table
    from forgeprep.ops.perturb.catalogue import CATALOGUE, others
    from forgeprep.report.perturbations import levels_text

    listed = light_table("perturbations", ["group", "name"], [], ["what it does", "severity 1 to 5"])
    for entry in [*CATALOGUE.values(), *others().values()]:
        add_cells(listed, entry.group, entry.name, entry.summary, levels_text(entry))
    console.print(listed)


app = single(perturbations)
