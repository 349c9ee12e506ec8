"""``forgeprep add``."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from forgeprep.commands.flags import (
    Address,
    ClipTimeout,
    Debug,
    JsonLines,
    Out,
    StartTimeout,
    WorkerMemory,
    Workers,
    complete_stages,
)
from forgeprep.commands.groups import single
from forgeprep.commands.stage_flags import StageCommand, takes_stage_flags
from forgeprep.params import additive_params

_ADDITIVE = additive_params()
EXAMPLES = """
forgeprep add shards --stages noise,similarity
forgeprep add shards --stages noise --sigma 10 --workers 8
"""


def add(
    out: Out,
    stages: Annotated[
        str,
        typer.Option(
            help=f"Stages to add, comma-separated: {', '.join(_ADDITIVE)}.",
            metavar="TEXT",
            rich_help_panel="Stages",
            autocompletion=complete_stages,
        ),
    ],
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="A parameter of a stage. May be repeated. [default: none]",
            metavar="STAGE.NAME=VALUE",
            rich_help_panel="Stages",
        ),
    ] = None,
    workers: Workers = None,
    address: Address = None,
    clip_timeout: ClipTimeout = None,
    worker_memory: WorkerMemory = None,
    start_timeout: StartTimeout = None,
    as_json: JsonLines = False,
    debug: Debug = False,
    **given: Any,
) -> None:
    """Add stages to a finished run, without the videos.

    They are made from the crops and masks in its shards.
    """
    from forgeprep.commands.events import emit_finished, emit_planned, events
    from forgeprep.commands.execution import execute_shown, force_of, ray_begun
    from forgeprep.commands.stopping import stoppable
    from forgeprep.commands.terminal import unattended
    from forgeprep.pipeline.add import prepare_added
    from forgeprep.pipeline.configure import refuse_contradictions

    given_force = {"workers": workers, "address": address, "clip_timeout": clip_timeout}
    force = force_of({**given_force, "worker_memory": worker_memory, "start_timeout": start_timeout})
    with unattended(), events(as_json) as emit:
        names = [name.strip() for name in stages.split(",") if name.strip()]
        asked = {name: value for name, value in given.items() if value is not None}
        refuse_contradictions(asked, settings or ())
        with stoppable(out), ray_begun(force) as ray:
            prepared = prepare_added(out, names, {**asked, **({"set": settings} if settings else {})})
            emit_planned(emit, prepared)
            result = execute_shown(prepared, force, ray, nothing="nothing to add", emit=emit)
            code = emit_finished(emit, result)
    sys.exit(code)


app = single(takes_stage_flags(add, _ADDITIVE, "settings"), examples=EXAMPLES, cls=StageCommand)
