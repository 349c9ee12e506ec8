"""The stages that ``--stages`` takes: the built-in ones and those that other packages bring.

A third party adds a stage through the entry-point group ``forgeprep.stages``: name -> a
:class:`forgeprep.stages.base.Stage`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from importlib.metadata import entry_points

from forgeprep.errors import unknown_name
from forgeprep.registry import Registry
from forgeprep.stages import crop, frames, mask, noise, perturb, similarity
from forgeprep.stages.base import Stage

ENTRY_POINT_GROUP = "forgeprep.stages"


@functools.cache
def all_stages() -> dict[str, Stage]:
    """Name -> stage, in the order in which they run."""
    built_in = (frames.STAGE, crop.STAGE, mask.STAGE, perturb.STAGE, noise.STAGE, similarity.STAGE)
    stages = {stage.name: stage for stage in built_in}
    for point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda p: p.name):
        stages.setdefault(point.name, point.load())
    return stages


def packages_of(names: Sequence[str]) -> dict[str, str]:
    """Of these stages those that other packages add: name -> package and version."""
    return Registry("stage", ENTRY_POINT_GROUP, {}, "forgeprep.stages.base:Stage").packages(list(names))


def resolve_stages(names: Iterable[str]) -> tuple[Stage, ...]:
    """The named stages and all that they need, in the order in which they run.

    Raises:
        UsageError: a name is not known; the message suggests the nearest.
    """
    known = all_stages()
    wanted: set[str] = set()

    def want(name: str) -> None:
        if name not in known:
            raise unknown_name("stage", name, known)
        if name not in wanted:
            wanted.add(name)
            for need in known[name].needs:
                want(need)

    for name in names:
        want(name)
    return tuple(stage for name, stage in known.items() if name in wanted)
