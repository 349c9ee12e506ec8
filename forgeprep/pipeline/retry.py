"""Go back to what failed for a reason that may be gone: a file that was cut short and has been fetched again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from forgeprep.errors import UsageError
from forgeprep.pipeline.plan import Plan, Select, ShardPlan, group_of, identity_of, pack_plan, with_headers
from forgeprep.schemas.clips import Clip
from forgeprep.schemas.drops import DROP_SCHEMA, reasons_of_run
from forgeprep.shards.records import iter_records, read_run, record_path
from forgeprep.stages.base import Group

_CLIP, _REASON = (DROP_SCHEMA.get_field_index(name) for name in ("clip_id", "reason"))


def failed_clips(out: Path) -> set[str]:
    """Clips of a run that lost samples for a transient reason, or that were unreadable when it was planned.

    An original that failed takes its fakes with it; they are in its source group, which is made again as a whole.
    """
    transient = {name for name, reason in reasons_of_run(read_run(out)).items() if reason.transient}
    failed: set[str] = set()
    for _, record in iter_records(out):
        if record is not None:
            failed |= {drop[_CLIP] for drop in record["drops"] if drop[_REASON] in transient}
            failed |= {clip["clip_id"] for clip in record["clips"] if clip["error"] is not None}
    return failed


def repaired_plan(
    old: Plan,
    clips: Sequence[Clip],
    failed: set[str],
    root: Path,
    select: Select,
) -> Plan:
    """The old plan, in which the source groups of failed clips are planned again; no group changes its shard.

    Raises:
        UsageError: other clips than failed ones have changed, came or went.
    """
    now = {clip.clip_id: clip for clip in clips}
    before = {clip.clip_id: clip for shard in old.shards() for group in shard.groups for clip in group.clips}
    changed = {
        name for name in now.keys() | before.keys() if identity_of(now.get(name)) != identity_of(before.get(name))
    }
    others = sorted(changed - failed) + sorted(failed & before.keys() - now.keys())
    if others:
        shown = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
        raise UsageError(
            f"{root}: more has changed than clips that failed ({shown}); --retry-failed cannot mend that: "
            "give another --out, or --overwrite to make all of it again"
        )
    return pack_plan(_replanned(shard, now, failed, root, select) for shard in old.shards())


def forget(out: Path, plan: Plan, failed: set[str]) -> int:
    """Withdraw the records of the shards that hold failed clips, so that they are made again; returns how many."""
    count = 0
    for shard in plan.shards():
        if any(_touches(group, failed) for group in shard.groups):
            record_path(out, shard.name).unlink(missing_ok=True)
            count += 1
    return count


def _replanned(
    shard: ShardPlan,
    now: dict[str, Clip],
    failed: set[str],
    root: Path,
    select: Select,
) -> ShardPlan:
    groups = []
    for group in shard.groups:
        if _touches(group, failed):
            clips = with_headers([now[clip.clip_id] for clip in group.members], root)
            known = {clip.clip_id: clip for clip in clips}
            references = [known[clip.clip_id] for clip in group.references]
            group = group_of([known[clip.clip_id] for clip in group.clips], select, references)
        groups.append(group)
    return replace(shard, groups=tuple(groups))


def _touches(group: Group, failed: set[str]) -> bool:
    return any(clip.clip_id in failed for clip in group.members)
