"""Change a run where it lies: the new one is made beside it, in a hidden folder, and then put in its place.

Until all of the new run is there, the old one stays as it is. From then on, whatever stops the change, the next call
brings it to its end; meanwhile the folder holds no ``run.json``, so that no program takes the half for a whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from forgeprep.curate.write import Derived, Made, Tell, write_derived
from forgeprep.errors import ConfigMismatch
from forgeprep.io.atomic import atomic_write_bytes, storage_errors
from forgeprep.io.copies import move
from forgeprep.io.safe_files import read_bytes
from forgeprep.io.storage import remove_tree
from forgeprep.pipeline.run_folder import remove_leftovers
from forgeprep.shards.names import TABLES, table_path
from forgeprep.shards.records import STAGED, iter_records, read_run, record_path

READY = "ready"
"""A file in the hidden folder: the new run is whole."""


def write_in_place(derived: Derived, out: Path, tell: Tell = lambda done, total: None) -> Made:
    """Make the run in place of the one in ``out``, whose folder the caller holds.

    Raises:
        StorageError: the folder cannot be written.
        VerifyError: a shard is damaged.
    """
    stage = out / STAGED
    if not (stage / "run.json").is_file():
        remove_tree(stage)
    try:
        made = write_derived(derived, stage, tell, home=out)
    except ConfigMismatch:
        # What another command left there when it was stopped.
        remove_tree(stage)
        made = write_derived(derived, stage, tell, home=out)
    atomic_write_bytes(stage / READY, b"")
    finish(out)
    return made


def finish(out: Path) -> bool:
    """Put a run that is whole in the place of the old one; False where there is none. Again, it goes on.

    Raises:
        StorageError: the folder cannot be written.
    """
    stage = out / STAGED
    if not (stage / READY).is_file():
        return False
    with storage_errors(out):
        remove_leftovers(out)
        (out / "run.json").unlink(missing_ok=True)
        records = {shard: record for shard, record in iter_records(stage) if record is not None}
        files = {file["path"] for record in records.values() for file in record["files"]}
        for path in list(out.glob("shards/*/*")):
            if path.relative_to(out).as_posix() not in files:
                path.unlink(missing_ok=True)
        for name in sorted(files):
            if (stage / name).is_file():
                move(stage / name, out / name)
        for shard, _ in list(iter_records(out)):
            if shard not in records:
                record_path(out, shard).unlink(missing_ok=True)
        # The records stay in the hidden folder to the last: what is left to do is told by them.
        for shard in records:
            atomic_write_bytes(record_path(out, shard), read_bytes(record_path(stage, shard), 1 << 30))
        for name in (*TABLES, "plan"):
            staged = table_path(stage, name)
            if staged.is_file():
                table_path(out, name).unlink(missing_ok=True)
                move(staged, out / staged.relative_to(stage))
        for name in ("README.md", "croissant.json"):
            if (stage / name).is_file():
                move(stage / name, out / name)
        remove_tree(out / "report")
        atomic_write_bytes(out / "run.json", read_bytes(stage / "run.json"))
        (stage / READY).unlink()
    remove_tree(stage)
    return True


def has_step(out: Path, step: Mapping[str, Any]) -> bool:
    """Whether the last thing that was done to a run is this."""
    last = (read_run(out).get("derived") or [{}])[-1]
    return all(last.get(name) == value for name, value in step.items())
