"""Make a whole run of parts of others: plan and ``run.json`` first, then shard after shard, the tables last.

Stopped in between, the same call goes on: a shard exists when its record is written. A shard that is taken as it is
becomes a link to the same bytes, or a copy where there can be no link.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from forgeprep.curate.source import Record, Source
from forgeprep.curate.targets import CLIP_OF_DROP, LeftOut, Part, Target, missing, plan_of
from forgeprep.errors import ConfigMismatch, UsageError, VerifyError
from forgeprep.io.atomic import atomic_write_bytes, storage_errors
from forgeprep.io.copies import link_or_copy
from forgeprep.io.storage import real_name
from forgeprep.pipeline.configure import digest, fingerprint_of, settings_of, shard_keys
from forgeprep.pipeline.index import write_index
from forgeprep.pipeline.plan import Plan, pack_plan
from forgeprep.pipeline.run_folder import remove_leftovers
from forgeprep.schemas.columns import columns_of_run, facts_of
from forgeprep.schemas.config import RunConfig
from forgeprep.schemas.drops import REASONS, TRANSIENT
from forgeprep.schemas.samples import SAMPLE_COLUMNS
from forgeprep.schemas.version import SCHEMA_VERSION
from forgeprep.shards.formats import format_of
from forgeprep.shards.names import table_path
from forgeprep.shards.random_access import Place, read_at
from forgeprep.shards.read import iter_rows
from forgeprep.shards.records import files_there, read_record, read_run, shard_path, write_record
from forgeprep.shards.write import ShardFile, ShardWriter

Tell = Callable[[int, int], None]
"""``tell(done, all)``: shards that are made."""


@dataclass(frozen=True, slots=True)
class Derived:
    """A run to be made of others.

    Attributes:
        sources: the runs.
        targets: its shards.
        config: its configuration.
        step: what was asked for, for ``run.json``: ``command`` and its options.
        official: whether its splits are kept as their authors made them, though they leak.
    """

    sources: tuple[Source, ...]
    targets: tuple[Target, ...]
    config: RunConfig
    step: dict[str, Any]
    official: bool


@dataclass(slots=True)
class Made:
    """What became of it: rows of the new run, and shards by how they were made.

    Attributes:
        rows: samples that the new run holds.
        left_out: what the runs that it is made of hold besides.
        linked, written, kept: shards taken as they are, written again, and there already.
    """

    rows: int = 0
    left_out: LeftOut = field(default_factory=LeftOut)
    linked: int = 0
    written: int = 0
    kept: int = 0


def write_derived(
    derived: Derived, out: Path, tell: Tell = lambda done, total: None, *, home: Path | None = None
) -> Made:
    """Make the run in ``out``, or go on with it. The caller holds the folder.

    Files that lie under the same names in ``home`` are not copied: the run will be put there (:mod:`.in_place`).

    Raises:
        ConfigMismatch: the folder holds another run.
        StorageError: it cannot be written.
        VerifyError: a shard of the sources is damaged.
    """
    keys, plan = _keys_and_plan(derived)
    document = _document(derived, plan)
    _claim(out, document)
    remove_leftovers(out)
    atomic_write_bytes(table_path(out, "plan"), plan.data)
    atomic_write_bytes(out / "run.json", json.dumps(document, indent=2).encode() + b"\n")
    made = Made(sum(target.rows for target in derived.targets), missing(derived.sources, derived.targets))
    for number, target in enumerate(derived.targets):
        record = read_record(out, target.name)
        if record is not None and record["key"] == keys[target.name] and _all_there(out, record, home):
            made.kept += 1
        elif (old := target.is_whole(derived.sources, derived.config.formats)) is not None:
            files = _taken(derived, target, old, out, home)
            write_record(out, _record(target, keys[target.name], derived.config, files))
            made.linked += 1
        else:
            files = _written(derived, target, out, keys[target.name])
            write_record(out, _record(target, keys[target.name], derived.config, files))
            made.written += 1
        tell(number + 1, len(derived.targets))
    write_index(out, derived.config, [target.name for target in derived.targets])
    return made


def check_target(out: Path, sources: Sequence[Source]) -> None:
    """Raise UsageError where a new run would be written into one of those that it is made of, or among other files."""
    for source in sources:
        if real_name(out) == real_name(source.out):
            raise UsageError(f"--out {out}: is a run that is read from; give a new folder")
    plan = table_path(out, "plan").relative_to(out).parts[0]
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out}: is a file; give a new folder")
    if out.is_dir() and not (out / "run.json").is_file() and {entry.name for entry in out.iterdir()} - {"state", plan}:
        raise UsageError(f"--out {out}: not empty, and no run of forgeprep; give an empty or new folder")


def _keys_and_plan(derived: Derived) -> tuple[dict[str, str], Plan]:
    """The content key of each shard, and the plan."""
    groups = {
        (s, number): source.plan.shard(number).groups
        for s, source in enumerate(derived.sources)
        for number in range(len(source.records))
    }
    inputs = {target.name: target.inputs(derived.sources) for target in derived.targets}
    plan = pack_plan((plan_of(target, groups) for target in derived.targets), inputs)
    run = {"config": derived.config.model_dump(mode="json"), "versions": _versions(derived)}
    return {name: shard_keys(settings_of(run), name, given)[0] for name, given in inputs.items()}, plan


def _versions(derived: Derived) -> dict[str, str]:
    """Those of the first run, and of the others what it does not have."""
    found: dict[str, str] = {}
    for source in reversed(derived.sources):
        found |= source.run.get("versions") or {}
    return found


def _document(derived: Derived, plan: Plan) -> dict[str, Any]:
    """The ``run.json``."""
    first = derived.sources[0].run
    reasons: dict[str, Any] = {}
    packages: dict[str, Any] = {}
    usual = {name: {"meaning": text, "transient": name in TRANSIENT} for name, text in REASONS.items()}
    for source in reversed(derived.sources):
        reasons |= source.run.get("drop_reasons") or usual
        packages |= source.run.get("packages") or {}
    config = derived.config.model_dump(mode="json")
    inputs = digest([[brief.name, brief.inputs] for brief in plan.briefs])
    identity = {"config": config, "inputs": inputs, "versions": _versions(derived)}
    left = missing(derived.sources, derived.targets)
    step = {**derived.step, "from": [_origin(source) for source in derived.sources], "left_out": asdict(left)}
    earlier = first.get("derived") or [] if len(derived.sources) == 1 else []
    document = {
        **first,
        "schema_version": SCHEMA_VERSION,
        "fingerprint": fingerprint_of(identity),
        **identity,
        "stages": list(derived.config.stages),
        "formats": list(derived.config.formats),
        "shards": len(derived.targets),
        "requested": sum(brief.requested for brief in plan.briefs),
        "official_split": derived.official,
        "packages": packages,
        "columns": [facts_of(column) for column in columns_of_run(first, SAMPLE_COLUMNS)],
        "drop_reasons": reasons,
        "derived": [*earlier, step],
    }
    return {name: value for name, value in document.items() if name not in ("adds_to", "settings_before")}


def _origin(source: Source) -> dict[str, Any]:
    told = {"out": str(source.out), "fingerprint": source.run.get("fingerprint"), "dataset": source.config.dataset}
    return {**told, **({"derived": source.run["derived"]} if source.run.get("derived") else {})}


def _claim(out: Path, document: Mapping[str, Any]) -> None:
    """See that the folder holds no other run."""
    if (out / "run.json").is_file() and read_run(out).get("fingerprint") != document["fingerprint"]:
        raise ConfigMismatch(f"{out}: holds another run; give a new folder with --out")


def _all_there(out: Path, record: Record, home: Path | None) -> bool:
    return files_there(out, record) or (home is not None and files_there(home, record))


def _taken(derived: Derived, target: Target, old: Record, out: Path, home: Path | None) -> list[ShardFile]:
    """The files of a shard that is taken as it is, under their new names."""
    source = derived.sources[target.parts[0].source].out
    files = []
    for file in old["files"]:
        path = shard_path(out, target.name, format_of(source / file["path"]).suffix)
        relative = path.relative_to(out).as_posix()
        if home is None or relative != file["path"]:
            with storage_errors(path):
                link_or_copy(source / file["path"], path)
            if path.stat().st_size != file["bytes"]:
                raise VerifyError(f"{source / file['path']}: changes while it is copied; give the same command again")
        files.append(ShardFile(relative, file["format"], file["rows"], file["bytes"], file["sha256"]))
    return files


def _written(derived: Derived, target: Target, out: Path, key: str) -> list[ShardFile]:
    columns, formats = derived.sources[0].columns, derived.config.formats
    with ShardWriter(out, target.name, columns, formats, {"forgeprep": key}) as writer:
        for part in target.parts:
            for row in _rows(derived.sources[part.source], part):
                writer.add(row)
        if writer.rows != target.rows:
            names = ", ".join(derived.sources[p.source].records[p.record]["shard"] for p in target.parts)
            raise VerifyError(
                f"{derived.sources[target.parts[0].source].out}: {names}: {writer.rows:,} rows are there, and "
                f"{target.rows:,} on record; 'forgeprep verify' tells more"
            )
        return writer.commit()


def _rows(source: Source, part: Part) -> Iterator[dict[str, Any]]:
    path = source.out / source.records[part.record]["files"][0]["path"]
    if part.rows is None:
        yield from iter_rows(path, decode=False)
        return
    for first, second in _spots(part.rows):
        yield read_at(Place(path, first, second))


def _spots(rows: pa.Table) -> Iterator[tuple[int, int]]:
    return zip(rows["first"].to_pylist(), rows["second"].to_pylist(), strict=True)


def _record(target: Target, key: str, config: RunConfig, files: Sequence[ShardFile]) -> Record:
    return {
        "key": key,
        "split": target.split,
        "shard": target.name,
        "stages": list(config.stages),
        "files": [asdict(file) for file in files],
        "rows": target.rows,
        "planned": target.rows + len(target.drops),
        "requested": sum(clip["requested"] for clip in target.clips),
        "left_out": asdict(target.left_out),
        "drops": [list(drop) for drop in target.drops],
        "clips": _with_drops(target),
    }


def _with_drops(target: Target) -> list[dict[str, Any]]:
    dropped = Counter(drop[CLIP_OF_DROP] for drop in target.drops)
    return [{**clip, "dropped": dropped[clip["clip_id"]]} for clip in target.clips]
