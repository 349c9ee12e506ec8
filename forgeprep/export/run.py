"""Export a run: a job for each shard, for whichever executor; what is done already is kept.

A local folder is filled beside its place and gets its name when all is there. On remote storage nothing can be renamed:
there ``checksums.sha256`` is written last, and a folder without it is not whole.
"""

from __future__ import annotations

import functools
import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from forgeprep.errors import ForgeprepError, StorageError, UsageError, VerifyError, unknown_name
from forgeprep.export import FORMATS
from forgeprep.export.base import STATE, ExportFormat, ExportParams, Files, Part, Whole
from forgeprep.export.select import Clips, Selection, count_rows, parts_of
from forgeprep.io.atomic import atomic_write_bytes
from forgeprep.io.lock import locked
from forgeprep.io.safe_files import LIST_BYTES, read_bytes, read_json
from forgeprep.io.settings import first_problem, name_and_value
from forgeprep.io.storage import is_remote, remove_tree, sizes_below
from forgeprep.pipeline.configure import digest
from forgeprep.pipeline.executors.execution import Execution, run_jobs
from forgeprep.pipeline.executors.job import Attempt, Job, unforeseen
from forgeprep.pipeline.plan import open_plan
from forgeprep.pipeline.progress import Progress
from forgeprep.schemas.columns import columns_of_run
from forgeprep.schemas.samples import SAMPLE_COLUMNS
from forgeprep.shards.names import table_path
from forgeprep.shards.records import iter_records, read_run
from forgeprep.shards.sums import check_sum, shard_sums
from forgeprep.text import counted

SUMS = "checksums.sha256"
DONE = ".forgeprep-exported"
"""Of a whole export: what was asked for, and how many entries it has."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Attributes:
        entries: samples, or what else the format's unit is.
        unit: what an entry is.
        files: how many files.
        size: their bytes.
        unpaired: fakes among the samples whose original's frame is not exported from the same shard.
        left_out: clips that the format has no place for.
        notes: what the format says of it, a line each.
        already: whether all of it was there before.
    """

    entries: int
    unit: str
    files: int
    size: int
    unpaired: int
    left_out: int = 0
    notes: Sequence[str] = ()
    already: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """An export as it is asked for: all that its files depend on, besides the run."""

    name: str
    params: dict[str, Any]
    selection: Selection
    links: bool = False


@dataclass(slots=True)
class _Made:
    """What the parts of an export have told."""

    files: Files
    entries: list[list[Any]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


def ask(
    out: Path, name: str, options: Sequence[str] = (), selection: Selection | None = None, *, links: bool = False
) -> Asked:
    """Check what is asked for.

    Args:
        out: the folder of a finished run.
        name: the format.
        options: texts ``NAME=VALUE``, of the format's own options.
        selection: which samples; all by default.
        links: link files where the format has such that exist already.

    Raises:
        UsageError: an unknown format, option, method or compression; no finished run; a column is missing.
        VerifyError: a shard of the run is missing.
    """
    chosen, wanted = FORMATS.get(name), selection or Selection()
    params, run = _read(chosen, options), read_run(out)
    if not table_path(out, "shards").is_file():
        raise UsageError(f"{out}: the run is not finished; run its own command again first")
    if links and not chosen.links:
        raise UsageError(f"--links: {name} holds what lies inside shards, where nothing can be linked to")
    Clips(out).check(wanted)
    _refuse_lost(out, wanted)
    there = {column.name: column.stage for column in columns_of_run(run, SAMPLE_COLUMNS)}
    for column in chosen.needs:
        if column not in there:
            raise UsageError(f"{out}: has no column '{column}', which {name} needs; make the shards with it")
    return Asked(name, params.model_dump(mode="json"), wanted, links)


def _refuse_lost(out: Path, wanted: Selection) -> None:
    """Raise VerifyError where a shard of the wanted splits has no file in any format; UsageError for an unmade one."""
    there = {f"{split}/{path.stem}" for split, path in parts_of(out, wanted)}
    listed = {Path(name).parent.name + "/" + Path(name).stem for name in shard_sums(out)}
    if any(wanted.splits is None or name.split("/")[0] in wanted.splits for name in _unmade(out) - listed):
        raise UsageError(f"{out}: the run is not finished; run its own command again first")
    lost = sorted(name for name in listed - there if wanted.splits is None or name.split("/")[0] in wanted.splits)
    if lost:
        raise VerifyError(
            f"{out}: {counted(len(lost), 'shard')} of the run {'is' if len(lost) == 1 else 'are'} missing, such as "
            f"{lost[0]}; run its own command again, or export other --splits"
        )


def _unmade(out: Path) -> set[str]:
    """Shards that are planned and have no record, as where an update was stopped; none where that is not known."""
    made = {name for name, record in iter_records(out) if record}
    try:
        return {brief.name for brief in open_plan(table_path(out, "plan")).briefs} - made if made else set()
    except ForgeprepError:
        return set()


def count(out: Path, asked: Asked) -> dict[tuple[str, str], tuple[int, int]]:
    """How many samples and clips would be exported, by split and method; nothing is written."""
    clips, found = Clips(out), Counter[tuple[str, str, str]]()
    for split, path in parts_of(out, asked.selection):
        found.update({(split, *key): n for key, n in count_rows(path, clips, asked.selection).items()})
    kinds = {key[:2] for key in found}
    return {
        kind: (sum(n for key, n in found.items() if key[:2] == kind), sum(key[:2] == kind for key in found))
        for kind in sorted(kinds)
    }


def export(
    out: Path,
    to: Path,
    asked: Asked,
    *,
    how: Execution | None = None,
    progress: Callable[[str, int], None] = lambda what, number: None,
) -> Exported:
    """Write a run's samples in another format; a local folder ``to`` is there whole, or not at all.

    Args:
        out: the folder of a finished run.
        to: the folder to make; it may be there, empty.
        asked: from :func:`ask`.
        how: who does the work; without it, this process.
        progress: is told what was counted so far.

    A folder that holds the same export already is compared with its checksums, and left as it is.

    Raises:
        UsageError: ``to`` holds something else, or is being filled; the run has nothing that the format can hold.
        VerifyError: a shard is damaged, or what was written is not what was asked for, or has changed.
        StorageError: the folder cannot be written.
        ForgeprepError: some parts failed; the others are kept, and the same command goes on.
    """
    if asked.links and is_remote(to):
        raise UsageError(f"{to}: remote storage has no links; export without --links")
    chosen, run = FORMATS.get(asked.name), read_run(out)
    identity = json.loads(json.dumps([asdict(asked), run.get("fingerprint"), _shards(out)]))
    done = _finished(to, identity)
    if done is not None:
        return done
    work = _claim(to, identity)
    with locked(work / STATE, "--to"):
        made = _make_parts(out, work, asked, digest(identity), how or Execution(), progress)
        if not any(made.entries):
            remove_tree(work / STATE if is_remote(to) else work)
            told = f": {chosen.hint}" if chosen.hint else ""
            raise UsageError(f"{out}: has no samples that can be exported as {asked.name}{told}")
        entries = (entry for part in made.entries for entry in part)
        whole = Whole(run, to, made.files)
        chosen.finish(whole, entries, chosen.params(**asked.params))
        _verify(work, made.files)
        lines = "".join(f"{value}  {name}\n" for name, value in sorted(made.files.sums.items()))
        made.files.add(SUMS, lines.encode())
        number, size = sum(map(len, made.entries)), sum(made.files.sizes.values())
        counts = made.counts["unpaired"], made.counts["left_out"]
        result = Exported(number, chosen.unit, len(made.files.sums), size, *counts, whole.notes)
        atomic_write_bytes(work / DONE, json.dumps({"asked": identity, "made": asdict(result)}).encode())
    _publish(work, to)
    return result


def _finished(to: Path, identity: Any) -> Exported | None:
    """What an export before wrote to ``to``, if it was this one and is whole; None where there is none of it.

    Raises:
        UsageError: it was another one.
        VerifyError: its files are not as they were written.
    """
    try:
        known = read_json(to / DONE, LIST_BYTES)
        asked, made = [dict(known["asked"][0]), *known["asked"][1:]], Exported(**known["made"])
    except (OSError, ValueError, LookupError, TypeError):
        # What is no account of an export is no export: the folder counts as one of somebody's own.
        return None
    if asked != identity:
        names = {"name": "format", "params": "options", "selection": "selection of samples", "links": "--links"}
        other = [names[name] for name, value in identity[0].items() if asked[0].get(name) != value]
        differs = f"other {', '.join(other)}" if other else "of another run, or the run has changed since"
        raise UsageError(f"{to}: holds another export ({differs}); give a new one with --to")
    for line in read_bytes(to / SUMS, LIST_BYTES).decode().splitlines():
        digest_hex, name = line.split("  ", 1)
        check_sum(to / name, digest_hex, "delete the folder, and run the same command again")
    return replace(made, already=True)


def make_part(
    asked: Asked, out: Path, work: Path, split: str, shard: Path, key: str, sha256: str | None, attempt: Attempt
) -> Progress:
    """Export one shard and, last of all, write its record. ``sha256`` is what its bytes have to be; None: not known.

    Raises:
        VerifyError: the shard's bytes have changed, or it gave fewer entries than samples.
        StorageError: a file cannot be written.
    """
    attempt.begin(0)
    chosen = FORMATS.get(asked.name)
    part = Part(out, read_run(out), split, shard, Clips(out), asked.selection, Files(work), asked.links)
    entries = []
    with attempt.limits(), unforeseen(0):
        if sha256 is not None:
            check_sum(shard, sha256)
        for entry in chosen.part(part, chosen.params(**asked.params)):
            entries.append(entry)
            if len(entries) % 100 == 0:
                attempt.report(Progress(rows=len(entries)))
    if chosen.every and len(entries) != part.counts["rows"]:
        raise VerifyError(f"{shard}: {part.counts['rows']:,} samples gave {len(entries):,} entries")
    record = {"key": key, "entries": entries, "sums": part.files.sums, "sizes": part.files.sizes, **part.counts}
    atomic_write_bytes(_record(work, split, shard), json.dumps(record).encode())
    return Progress(rows=len(entries))


def _make_parts(
    out: Path, work: Path, asked: Asked, key: str, how: Execution, progress: Callable[[str, int], None]
) -> _Made:
    parts, sums = parts_of(out, asked.selection), shard_sums(out)
    source, target = out if is_remote(out) else out.resolve(), work if is_remote(work) else work.resolve()
    left, there = {}, sizes_below(work)
    for split, shard in parts:
        record = _read_record(work, split, shard, key, there)
        if record is None or not _intact(work, record["sums"]):
            path, expected = shard if is_remote(shard) else shard.resolve(), sums.get(shard.relative_to(out).as_posix())
            left[f"{split}/{shard.stem}"] = functools.partial(
                make_part, asked, source, target, split, path, key, expected
            )
    done, failed = len(parts) - len(left), []
    jobs = [Job(name, work_of) for name, work_of in left.items()]
    with closing(run_jobs(jobs, how, lambda name, told: None)) as outcomes:
        for name, problem in outcomes:
            done += problem is None
            progress("shards exported", done)
            failed += [] if problem is None else [f"{name}: {problem}"]
    if failed:
        kept = f" ({counted(done, 'shard is', 'shards are')} kept; the same command goes on)" if done else ""
        raise ForgeprepError(f"{'; '.join(failed[:3])}{kept}")
    made, there = _Made(Files(work)), sizes_below(work)
    for split, shard in parts:
        record = _read_record(work, split, shard, key, there)
        if record is None:
            raise StorageError(f"{work}: files that were written are gone; run the same command again")
        doubles = made.files.sums.keys() & record["sums"].keys()
        if doubles:
            raise VerifyError(f"{min(doubles)}: two samples have this name; check the run with 'forgeprep verify'")
        made.files.sums |= record["sums"]
        made.files.sizes |= record["sizes"]
        made.entries.append(record["entries"])
        made.counts.update({name: record[name] for name in ("rows", "unpaired", "left_out")})
    return made


def _claim(to: Path, identity: Any) -> Path:
    """The folder to fill for this export: what an earlier one of the same left there stays, all else goes."""
    remote = is_remote(to)
    work = to if remote else to.with_name(f".{to.name}.tmp")
    state = work / STATE / "export.json"
    try:
        known = read_json(state, LIST_BYTES) == identity
    except (OSError, ValueError):
        known = False
    if to.exists() and (not to.is_dir() or any(to.iterdir())) and not (remote and known):
        raise UsageError(f"{to}: not an empty folder; give a new one with --to")
    if not known:
        # What is left of an export that was killed, of another run or other options, is no use to this one.
        remove_tree(work)
        atomic_write_bytes(state, json.dumps(identity).encode())
    return work


def _verify(work: Path, files: Files) -> None:
    """Every file is there in its size, and no other.

    Raises:
        VerifyError: a file is missing or cut short.
    """
    there = sizes_below(work)
    for name, size in files.sizes.items():
        if there.get(name) != size:
            raise VerifyError(f"{work / name}: is missing or cut short; run the same command again")
    for name in there.keys() - files.sums.keys():
        # What an attempt that died wrote under another name.
        if not name.startswith(f"{STATE}/"):
            (work / name).unlink()


def _publish(work: Path, to: Path) -> None:
    remove_tree(work / STATE)
    if is_remote(to):
        return
    try:
        os.sync()
        if to.exists():
            to.rmdir()
        work.replace(to)
    except OSError as error:
        raise StorageError(f"{to}: cannot be written ({error.strerror or os.strerror(5)}); give another --to") from None


def _shards(out: Path) -> list[list[Any]]:
    return [[str(path), path.stat().st_size] for _, path in parts_of(out, Selection())]


def _record(work: Path, split: str, shard: Path) -> Path:
    return work / STATE / f"{split}-{shard.stem}.json"


def _read_record(work: Path, split: str, shard: Path, key: str, there: Mapping[str, int]) -> dict[str, Any] | None:
    """What a part told when it was done; None where it is not, or where its files are not ``there`` in their size."""
    try:
        record = read_json(_record(work, split, shard), 1 << 32)
        whole = record["key"] == key and record["sizes"].items() <= there.items()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return dict(record) if whole else None


def _intact(work: Path, sums: Mapping[str, str]) -> bool:
    """Whether the files that an earlier attempt left are as it wrote them."""
    try:
        for name, expected in sums.items():
            check_sum(work / name, expected)
    except VerifyError:
        return False
    return True


def _read(chosen: ExportFormat, options: Sequence[str]) -> ExportParams:
    values = dict(name_and_value("--option", text) for text in options)
    for name in values:
        if name not in chosen.params.model_fields:
            raise unknown_name(f"option of the export format {chosen.name}", name, chosen.params.model_fields)
    try:
        return chosen.params(**values)
    except ValidationError as error:
        raise UsageError(f"--option {': '.join(first_problem(error))}") from None
