"""The stages that ``--stages`` takes: the built-in ones and those that other packages bring.

A third party adds a stage through the entry-point group ``forgeprep.stages``: name -> a
:class:`forgeprep.stages.base.Stage`. It may have parameters, columns and drop reasons of its own; ``examples/extend``
has one.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from forgeprep.errors import UsageError
from forgeprep.params import STAGES
from forgeprep.schemas.columns import Column, check_columns, columns_of_run
from forgeprep.schemas.drops import REASONS
from forgeprep.schemas.samples import SAMPLE_COLUMNS, SEQUENCE_COLUMNS
from forgeprep.stages.base import Stage

_REASON = re.compile(r"[a-z][a-z0-9_]{0,62}")


def all_stages() -> dict[str, Stage]:
    """Name -> stage, in the order in which they run, without those of :func:`broken_stages`.

    Raises:
        UsageError: stages need each other in a circle.
    """
    return _looked_at()[0]


def broken_stages() -> dict[str, str]:
    """Name -> why, of stages of other packages that cannot be loaded or do not fit in."""
    return _looked_at()[1]


@functools.cache
def _looked_at() -> tuple[dict[str, Stage], dict[str, str]]:
    broken = STAGES.broken()
    stages = {name: STAGES.get(name) for name in STAGES.names() if name not in broken}
    taken = [column.name for column in (*SAMPLE_COLUMNS, *SEQUENCE_COLUMNS)]
    for name in [name for name in stages if name not in STAGES.built_in]:
        stage, owner = stages[name], f"stage '{name}'"
        try:
            check_columns(stage.adds, taken, owner)
            _check_stage(stage, owner)
        except UsageError as error:
            broken[name] = str(error)
            del stages[name]
        else:
            taken += [column.name for column in stage.adds]
    return _in_order(stages, [name for name in stages if name not in STAGES.built_in]), broken


def resolve_stages(names: Iterable[str], made_with: Mapping[str, str] | None = None) -> tuple[Stage, ...]:
    """The named stages and all that they need, in the order in which they run.

    Args:
        names: what is wanted.
        made_with: stage -> package and version, of those that a run was made with, see :func:`packages_of`.

    Raises:
        UsageError: a name is not known; the message suggests the nearest, or the package to install. Or it cannot be
            used, and why.
    """
    known, broken = all_stages(), broken_stages()
    wanted: set[str] = set()

    def want(name: str) -> None:
        if name in broken:
            raise UsageError(broken[name])
        if name not in known:
            STAGES.get(name, made_with)
        if name not in wanted:
            wanted.add(name)
            for need in known[name].needs:
                want(need)

    for name in names:
        want(name)
    return tuple(stage for name, stage in known.items() if name in wanted)


def packages_of(names: Collection[str]) -> dict[str, str]:
    """Of these stages those that other packages add: name -> package and version."""
    return STAGES.packages(names)


def columns_of(run: Mapping[str, Any]) -> tuple[Column, ...]:
    """The columns of a run, by its ``run.json``, with what the stages that are installed can do with them.

    They are those of single frames, also where the samples are sequences.
    """
    others = [name for name in STAGES.names() if name in run.get("stages", ()) and name not in STAGES.built_in]
    more = [column for name in others for column in STAGES.get(name).adds]
    return columns_of_run(run, [*SAMPLE_COLUMNS, *more])


def _check_stage(stage: Stage, owner: str) -> None:
    for reason in stage.drops:
        if not _REASON.fullmatch(reason) or reason in REASONS:
            raise UsageError(f"{owner}: the drop reason {reason!r} is forgeprep's own, or not in small letters and _")
    for column in stage.adds:
        if column.stage != stage.name:
            raise UsageError(f"{owner}: its column '{column.name}' says that it is of '{column.stage}'")


def _in_order(stages: dict[str, Stage], others: list[str]) -> dict[str, Stage]:
    """The stages so that what one needs runs before it; else built-in ones come first, and others by name."""
    ordered: dict[str, Stage] = {}

    def add(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            raise UsageError(f"stages need each other in a circle: {' -> '.join((*path, name))}")
        for need in stages[name].needs if name in stages else ():
            add(need, (*path, name))
        if name in stages:
            ordered.setdefault(name, stages[name])

    for name in [*(name for name in stages if name not in others), *others]:
        add(name, ())
    return ordered
