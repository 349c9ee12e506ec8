"""How far a run is, told from its folder alone: from another shell, while it works or afterwards."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

from forgeprep.errors import ForgeprepError, UsageError
from forgeprep.io.lock import Holder, last_holder
from forgeprep.pipeline.configure import all_settings, digests_of, shard_keys
from forgeprep.pipeline.plan import Brief, open_plan
from forgeprep.shards.names import final_files, table_path
from forgeprep.shards.records import files_there, iter_records, read_run, record_path
from forgeprep.shards.remedies import without_record


@dataclass(slots=True)
class Status:
    """How far a run is. Numbers that cannot be known are None.

    Attributes:
        out: the run's folder.
        state: ``working`` right now; ``finished``; or ``stopped`` before its end.
        command: what makes it, or changed it last: ``run``, ``add``, ``merge`` and so on.
        process: who works there, or did last, e.g. ``process 4711 on node3``.
        began: when that process began, ISO 8601 with the zone.
        last_shard: when the newest shard was finished.
        shards, shards_planned: those that are made, and all.
        in_work: shards that are half-written, by name; only while the run works.
        to_extend: whole shards that do not have the added stages yet.
        to_remake: shards with a record that no longer counts: damaged, of other settings, or without its files.
        clips, clips_planned: clips of the shards that are made, and all.
        written, dropped: samples of the shards that are made.
        left_out: samples that ``select`` or ``drop`` took out.
        frames_planned: frames asked for, over all clips: about written + dropped at the end.
        samples_per_s: samples written a second by the present or last process, up to its newest shard.
        left_s: seconds to go, about; only while the run works.
        without_records: shard files that are whole, but whose records are missing, as in a copy without ``state/``.
        problems: what is damaged, one line each.
    """

    out: str
    state: Literal["working", "finished", "stopped"] = "stopped"
    command: str = "run"
    process: str | None = None
    began: str | None = None
    last_shard: str | None = None
    shards: int = 0
    shards_planned: int | None = None
    in_work: list[str] = field(default_factory=list)
    to_extend: list[str] = field(default_factory=list)
    to_remake: list[str] = field(default_factory=list)
    clips: int = 0
    clips_planned: int | None = None
    written: int = 0
    dropped: int = 0
    left_out: int = 0
    frames_planned: int | None = None
    samples_per_s: float | None = None
    left_s: float | None = None
    without_records: int = 0
    problems: list[str] = field(default_factory=list)


def gather(out: Path) -> Status:
    """Look at a run's folder without changing it.

    Raises:
        UsageError: the folder holds no run.
    """
    status = Status(str(out))
    holder = last_holder(out)
    settings, before = _settings(out, status)
    briefs = _briefs(out, status)
    known = {file["path"] for _, record in iter_records(out) if record for file in record["files"]}
    status.without_records = sum(without_record(out, known).values())
    made = _count_records(out, status, briefs, settings, before)
    _set_state(out, status, holder)
    _time(status, holder, briefs, made)
    return status


def _settings(out: Path, status: Status) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """Digests of the run's settings, and of those that it had before stages were added: none where there are none."""
    try:
        run = read_run(out)
    except UsageError as error:
        if not (out / "run.json").is_file():
            raise
        status.problems.append(str(error))
        return None, ()
    steps = run.get("derived") or [{}]
    status.command = "add" if run.get("adds_to") else str(steps[-1].get("command", "run"))
    status.shards_planned = run["shards"] if isinstance(run.get("shards"), int) else None
    status.frames_planned = run["requested"] if isinstance(run.get("requested"), int) else None
    return all_settings(run), digests_of(run.get("adds_to"))


def _briefs(out: Path, status: Status) -> dict[str, Brief]:
    try:
        briefs = open_plan(table_path(out, "plan")).briefs
    except ForgeprepError as error:
        status.problems.append(str(error))
        return {}
    status.shards_planned = len(briefs)
    status.clips_planned = sum(brief.clips for brief in briefs)
    status.frames_planned = sum(brief.requested for brief in briefs)
    return {brief.name: brief for brief in briefs}


@dataclass(frozen=True, slots=True)
class _Made:
    """A shard that is made: samples written, frames asked for, and when its record was written."""

    rows: int
    requested: int
    at_s: float


def _count_records(
    out: Path, status: Status, briefs: dict[str, Brief], settings: tuple[str, ...] | None, before: tuple[str, ...]
) -> list[_Made]:
    made = []
    for name, record in iter_records(out):
        brief = briefs.get(name)
        if briefs and brief is None:
            continue
        keys = shard_keys(settings, name, brief.inputs) if settings is not None and brief is not None else None
        try:
            # The rule by which a run keeps a shard.
            if record is None or (keys is not None and record["key"] not in keys) or not files_there(out, record):
                old = shard_keys(before, name, brief.inputs) if brief is not None else ()
                grows = record is not None and record["key"] in old and files_there(out, record)
                (status.to_extend if grows else status.to_remake).append(name)
                continue
            at_s = record_path(out, name).stat().st_mtime
        except OSError:
            continue  # Withdrawn in this moment, by a run that makes it again.
        status.shards += 1
        status.clips += len(record["clips"])
        status.written += record["rows"]
        status.dropped += len(record["drops"])
        status.left_out += record.get("left_out", {}).get("samples", 0)
        made.append(_Made(record["rows"], brief.requested if brief else record["planned"], at_s))
    return made


def _set_state(out: Path, status: Status, holder: Holder | None) -> None:
    if holder is not None:
        status.process, status.began = holder.process or None, _clock(holder.began_s)
    if holder is not None and holder.works:
        status.state = "working"
        # Half-written files have names like .ffpp-train-00012.parquet.0123456789ab.tmp.
        halves = {f"{path.parent.name}/{path.name.split('.')[1]}" for path in out.glob("shards/*/.*.tmp")}
        status.in_work = sorted(halves)
    elif status.shards == status.shards_planned and all(path.is_file() for path in final_files(out)):
        status.state = "finished"


def _time(status: Status, holder: Holder | None, briefs: dict[str, Brief], made: list[_Made]) -> None:
    """Speed and end, from what the present or last process has made: older shards say nothing about it."""
    if made:
        status.last_shard = _clock(max(shard.at_s for shard in made))
    own = [shard for shard in made if holder is not None and shard.at_s >= holder.began_s]
    if not own or holder is None:
        return
    last_s = max(shard.at_s for shard in own)
    spent = max(last_s - holder.began_s, 1e-3)
    status.samples_per_s = round(sum(shard.rows for shard in own) / spent, 2)
    done = sum(shard.requested for shard in own)
    if holder.works and briefs and done:
        left = sum(brief.requested for brief in briefs.values()) - sum(shard.requested for shard in made)
        status.left_s = round(max(0.0, left * spent / done - (time.time() - last_s)), 1)


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")
