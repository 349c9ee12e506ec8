"""Hand a run's samples to other programs: a folder in a format that they read.

A third party adds a format through the entry-point group ``forgeprep.export_formats``: name -> an
:class:`forgeprep.export.base.ExportFormat`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from forgeprep.errors import StorageError, UsageError, unknown_name
from forgeprep.export.base import ExportFormat, ExportParams, Folder, Source
from forgeprep.io.settings import first_problem, name_and_value
from forgeprep.registry import Registry
from forgeprep.shards.names import table_path
from forgeprep.shards.records import read_run

FORMATS: Registry[ExportFormat] = Registry(
    kind="export format",
    group="forgeprep.export_formats",
    built_in={
        "pictures": "forgeprep.export.pictures:PICTURES",
        "deepfakebench": "forgeprep.export.deepfakebench:DEEPFAKEBENCH",
    },
    type="forgeprep.export.base:ExportFormat",
)


def export(out: Path, to: Path, name: str, options: Sequence[str] = ()) -> Folder:
    """Write a run's samples in another format; the folder ``to`` is there whole, or not at all.

    Args:
        out: the folder of a finished run.
        to: the folder to make; it may be there, empty.
        name: the format.
        options: texts ``NAME=VALUE``, of the format's own options.

    Raises:
        UsageError: an unknown format or option; no finished run; ``to`` is not empty.
        VerifyError: a shard is damaged.
        StorageError: the folder cannot be written.
    """
    chosen = FORMATS.get(name)
    params = _read(chosen, options)
    source = Source(out, read_run(out))
    if not table_path(out, "shards").is_file():
        raise UsageError(f"{out}: the run is not finished; run its own command again first")
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise UsageError(f"{to}: not an empty folder; give a new one with --to")
    temporary = to.with_name(f".{to.name}.tmp")
    try:
        # What is left of an export that was killed is no use to this one.
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        folder = Folder(temporary)
        chosen.write(source, folder, params)
        if not folder.samples:
            raise UsageError(f"{out}: has no samples that can be exported as {name}")
        folder.close()
        if to.exists():
            to.rmdir()
        temporary.replace(to)
    except OSError as error:
        raise StorageError(f"{to}: cannot be written ({error.strerror or os.strerror(5)}); give another --to") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _read(chosen: ExportFormat, options: Sequence[str]) -> ExportParams:
    values = dict(name_and_value("--option", text) for text in options)
    for name in values:
        if name not in chosen.params.model_fields:
            raise unknown_name(f"option of the export format {chosen.name}", name, chosen.params.model_fields)
    try:
        return chosen.params(**values)
    except ValidationError as error:
        raise UsageError(f"--option {': '.join(first_problem(error))}") from None
