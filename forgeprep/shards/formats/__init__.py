"""The shard formats that ``--format`` takes.

A third party adds one through the entry-point group ``forgeprep.shard_formats``: name -> a
:class:`forgeprep.shards.formats.base.ShardFormat`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

from forgeprep.errors import UsageError
from forgeprep.registry import Registry
from forgeprep.shards.formats.base import ShardFormat

FORMATS: Registry[ShardFormat] = Registry(
    kind="shard format",
    group="forgeprep.shard_formats",
    built_in={
        "parquet": "forgeprep.shards.formats.parquet:PARQUET",
        "webdataset": "forgeprep.shards.formats.webdataset:WEBDATASET",
    },
    type="forgeprep.shards.formats.base:ShardFormat",
)
"""In order of preference: where a shard lies in several formats, it is read from the first."""

_SUFFIXES = {"parquet": "parquet", "tar": "webdataset"}


def resolve_formats(text: str, made_with: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """The formats in a comma-separated list, each once, in the order of :data:`FORMATS`; ``both`` is the two built in.

    ``made_with``: format -> package and version, of those that a run was made with and that may be missing here.

    Raises:
        UsageError: a name is not known, or there is none.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    asked = [one for name in names for one in (("parquet", "webdataset") if name == "both" else (name,))]
    if not asked:
        raise UsageError(f"--format: give at least one of {', '.join(FORMATS.names())}")
    suffixes: dict[str, str] = {}
    for name in dict.fromkeys(asked):
        other = suffixes.setdefault(FORMATS.get(name, made_with).suffix, name)
        if other != name:
            raise UsageError(f"--format: '{other}' and '{name}' have the same suffix; a run can have one of them")
    return tuple(name for name in FORMATS.names() if name in asked)


def format_of(path: Path) -> ShardFormat:
    """The format of a shard, by the end of its name.

    Raises:
        UsageError: no format that is installed has this end.
    """
    found = _by_suffix().get(path.suffix.removeprefix("."))
    if found is None:
        # One that is broken may be meant: only its package knows its suffix.
        broken = "".join(f"; {reason}" for reason in FORMATS.broken().values())
        raise UsageError(
            f"{path}: no shard format that is installed here ends in {path.suffix or 'nothing'}; the packages that a "
            f"run needs are under 'packages' in its run.json{broken}"
        )
    return FORMATS.get(found)


def suffixes() -> list[str]:
    """The suffixes of all formats, in order of preference."""
    return list(_by_suffix())


@functools.cache
def _by_suffix() -> dict[str, str]:
    """Suffix -> name; other packages' formats are loaded, since only they know theirs."""
    others = {one.suffix: name for name, one in FORMATS.usable().items() if name not in FORMATS.built_in}
    return {**_SUFFIXES, **others}
