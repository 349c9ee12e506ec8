"""What the commands that make a run of others have in common: the lock, the progress, and what is told at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forgeprep.commands.flags import ANY

if TYPE_CHECKING:
    from forgeprep.curate.write import Derived, Made, Tell

To = Annotated[Path, typer.Option("--out", help="Folder of the new run; must be new, or hold the same.", **ANY)]
ToOrHere = Annotated[
    Path | None, typer.Option("--out", help="Folder of a new run. [default: OUT itself is changed]", **ANY)
]


def make_new(make: Callable[[], Derived], out: Path) -> Made:
    """Make a new run, or go on with it."""
    from forgeprep.commands.stopping import stoppable
    from forgeprep.curate.write import check_target, write_derived
    from forgeprep.io.lock import locked

    with stoppable(out), _shown() as tell:
        derived = make()
        check_target(out, derived.sources)
        with locked(out):
            return write_derived(derived, out, tell)


def change(make: Callable[[], Derived], out: Path, step: Mapping[str, Any]) -> Made | None:
    """Change a run where it lies; None where its last change was this one."""
    from forgeprep.commands.stopping import stoppable
    from forgeprep.curate.in_place import finish, has_step, write_in_place
    from forgeprep.io.lock import locked
    from forgeprep.io.storage import remove_tree
    from forgeprep.shards.records import STAGED, read_run

    if not (out / STAGED).is_dir():
        read_run(out)  # Before a lock is laid into a folder that is no run's.
    with stoppable(out), _shown() as tell, locked(out, "folder"):
        finish(out)
        if has_step(out, step):
            remove_tree(out / STAGED)
            return None
        return write_in_place(make(), out, tell)


def tell_made(made: Made, out: Path, told: dict[str, Any], *, chosen: bool = True) -> None:
    """What the new run holds, and how its shards came about; where samples were chosen, what it lacks.

    ``told`` is the document for programs, which gets the same.
    """
    from dataclasses import asdict

    from forgeprep.commands.terminal import console
    from forgeprep.text import counted

    facts = asdict(made)
    told |= {"out": str(out), "changed": True, "samples": facts.pop("rows"), **facts}
    left = made.left_out
    if chosen and (left.samples or left.clips or left.drops):
        parts = ((left.samples, "sample"), (left.clips, "clip"), (left.drops, "drop"))
        console.print("left out: " + ", ".join(counted(number, what) for number, what in parts), markup=False)
    ways = ((made.linked, "as they were"), (made.written, "new"), (made.kept, "there already"))
    parts_told = [f"{number:,} {what}" for number, what in ways if number]
    shards = counted(made.linked + made.written + made.kept, "shard")
    console.print(f"{out}: {counted(made.rows, 'sample')} in {shards} ({', '.join(parts_told)})", markup=False)


def tell_unchanged(out: Path, why: str, told: dict[str, Any]) -> None:
    """That a run is already as it was asked for."""
    from forgeprep.commands.terminal import console

    told |= {"out": str(out), "changed": False}
    console.print(f"{out}: {why}", markup=False)


@contextmanager
def _shown() -> Iterator[Tell]:
    from forgeprep.commands.terminal import console

    with console.status("reading …") as status:
        yield lambda done, total: status.update(f"{done:,} of {total:,} shards")
