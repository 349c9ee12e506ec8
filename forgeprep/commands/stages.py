"""``forgeprep stages``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from forgeprep.commands.flags import Debug, Json
from forgeprep.commands.groups import single

if TYPE_CHECKING:
    from forgeprep.stages.base import Stage


def stages(as_json: Json = False, debug: Debug = False) -> None:
    """List the stages: what they need, add and take."""
    from forgeprep.commands.stage_flags import flag_of, help_of
    from forgeprep.commands.terminal import broken_facts, console, print_broken, print_json
    from forgeprep.params import param_owners
    from forgeprep.stages import all_stages, broken_stages

    if as_json:
        print_json([*(_document(stage) for stage in all_stages().values()), *broken_facts(broken_stages())])
        return
    owners = param_owners()
    for stage in all_stages().values():
        console.print(f"[bold]{stage.name}[/bold]  {stage.summary}")
        console.print(f"    needs: {', '.join(stage.needs) or 'nothing'}")
        if stage.adds:
            console.print(f"    adds:  {', '.join(column.name for column in stage.adds)}")
        for name, info in stage.params.model_fields.items():
            flag = flag_of(name) if owners[name] == stage.name else f"--set {stage.name}.{name}=…"
            console.print(f"    {flag}: {help_of(info)}", markup=False)
    print_broken(broken_stages())


app = single(stages, examples="forgeprep stages\nforgeprep stages --json")


def _document(stage: Stage) -> dict[str, Any]:
    return {
        "name": stage.name,
        "summary": stage.summary,
        "needs": list(stage.needs),
        "adds": [column.name for column in stage.adds],
        "additive": stage.additive,
        "params": stage.params.model_json_schema()["properties"] if stage.params.model_fields else {},
    }
