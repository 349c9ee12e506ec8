"""The version of what a run's folder looks like, and what may change in it.

``schema_version`` stands in ``run.json``; every shard has it too (``forgeprep_schema`` in the metadata of a Parquet
file's schema, in the global header of a tar), beside the version of forgeprep that wrote it. Runs of before it was
written have version 0.

What may change:

- A **minor** release of forgeprep may add columns, tables, drop reasons and names in JSON files. Programs that read
  runs skip what they do not know. It may not take a column away, rename it, or change its type, unit or meaning. The
  schema version stays as it is.
- Everything else raises the schema version and comes with a **major** release (before 1.0: with a minor one, and stands
  in the change log).
- **Older** runs stay readable: ``verify``, ``inspect``, ``report``, training and export take every version from 0 on.
  ``tests/data`` keeps a small run of each. A run is resumed and added to by the version of forgeprep that began it,
  which is in ``versions`` of ``run.json``; where a later schema version is of the same release, its shards are written
  again from themselves.
- **Newer** ones than this forgeprep knows are refused in one line that names the version to install.

Version 1 wrote down the columns, drop reasons and packages of a run in ``run.json``, so that a run stays readable where
a package that added a stage is missing; in tars, binary values of columns other than ``similarity`` became members of
their own.

Version 2 gave two columns other names: ``generator``, the kind of program that forged, became ``family``, and
``segments`` of clips became ``detected_spans``. Files of before are read by the names of today
(:mod:`forgeprep.schemas.renamed`).
It also named shards after dataset and split (``ffpp-train-00000.tar``), and put the tables into ``meta/``. A run that
was begun with the names of before goes on with them. The column ``split`` says ``validation``, in tables too, and tars
are USTAR, with their metadata in the JSON files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from forgeprep import __version__

SCHEMA_VERSION = 2
"""What this forgeprep writes, and the newest that it reads."""

SCHEMA_KEY, VERSION_KEY = "forgeprep_schema", "forgeprep_version"
"""The names in a shard's metadata."""


def stamp() -> dict[str, str]:
    """What a shard's metadata says of its version."""
    return {SCHEMA_KEY: str(SCHEMA_VERSION), VERSION_KEY: __version__}


def problem_of_shard(metadata: Mapping[str, str]) -> str | None:
    """Why a shard with this metadata cannot be read; None if it can."""
    return too_new(metadata.get(SCHEMA_KEY, "0"), metadata.get(VERSION_KEY))


def problem_of_run(run: Mapping[str, Any]) -> str | None:
    """Why a run with this ``run.json`` cannot be read; None if it can."""
    made_by = run.get("versions")
    return too_new(run.get("schema_version", 0), made_by.get("forgeprep") if isinstance(made_by, dict) else None)


def too_new(found: Any, made_by: Any) -> str | None:
    """What to say of a schema version that is newer than this forgeprep knows, or no version at all."""
    try:
        number = int(found)
    except (TypeError, ValueError):
        return f"its schema version is {str(found)[:40]!r}, which is no number"
    if number <= SCHEMA_VERSION:
        return None
    install = f"forgeprep {str(made_by)[:40]} or newer" if made_by else "a newer forgeprep"
    known = f"forgeprep {__version__} knows those up to {SCHEMA_VERSION}"
    return f"has schema version {number}, and {known}; install {install}"
