"""Small shards of the demo, for ``reproduce --quick``: each data set in its own dataset's layout."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from forgeprep.demo import make_demo
from forgeprep.errors import ForgeprepError
from forgeprep.io.lock import locked
from forgeprep.pipeline.configure import make_config
from forgeprep.pipeline.run import execute, prepare_run
from forgeprep.training.reproduce.table import Data, Table

SETTINGS: dict[str, Any] = {"stages": "crop,mask", "frames": "6", "size": 96}
PEOPLE, SECONDS, SIZE = 6, 1.2, (320, 240)


def quick_shards(
    table: Table, given: Mapping[str, Path], to: Path, tell: Callable[[str], None] = lambda _: None
) -> dict[str, Path]:
    """A folder of shards for each data set of a table: those given, and for the others small ones of the demo.

    The demo lies in ``to/demo``, its shards in ``to/shards``; what is there is not made again.

    Raises:
        UsageError: another run is making them.
        ForgeprepError: the shards cannot be made.
    """
    missing = {name: data for name, data in table.data.items() if name not in given}
    if not missing:
        return dict(given)
    with locked(to, "--to"):
        return {**given, **{name: _shards(table, data, name, to, tell) for name, data in missing.items()}}


def _shards(table: Table, data: Data, name: str, to: Path, tell: Callable[[str], None]) -> Path:
    root, out = to / "demo" / data.dataset, to / "shards" / name
    if not root.is_dir():
        # Half a demo is taken for nothing: it gets its name when it is whole.
        temporary = root.with_name(f"{root.name}.part")
        shutil.rmtree(temporary, ignore_errors=True)
        tell(f"making a demo of {data.dataset} in {root}")
        make_demo(
            temporary, people=PEOPLE, seconds=SECONDS, size=SIZE, layout=data.dataset, compressions=_qualities(table)
        )
        temporary.rename(root)
    settings = {**SETTINGS, **({"compression": data.compression} if data.compression else {}), **data.quick}
    # Reals that are another dataset's lie in the demo too.
    reals = {"ffpp": root / "FaceForensics++"}
    found = {other: place for other, place in reals.items() if place.is_dir()}
    prepared = prepare_run(make_config(data.dataset, settings), root, out, real_roots=found)
    tell(f"making shards of {name} in {out}")
    result = execute(prepared, workers=1, report=lambda *_: None)
    if result.failed:
        raise ForgeprepError(f"{out}: {result.failed[0][0]}: {result.failed[0][1]}")
    return out


def _qualities(table: Table) -> tuple[str, ...]:
    """The compressions that a table needs of FaceForensics++."""
    found = {data.compression for data in table.data.values() if data.compression}
    return tuple(sorted(found, reverse=True)) or ("c23",)
