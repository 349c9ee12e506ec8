"""Add stages to a finished run: they read the crops and masks in its shards, and the videos are not needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from forgeprep.datasets.base import Scan
from forgeprep.errors import UsageError
from forgeprep.io.lock import locked
from forgeprep.io.storage import remove_tree
from forgeprep.params import param_owners
from forgeprep.pipeline.configure import (
    all_settings,
    digests_of,
    fingerprint_of,
    read_params,
    read_setting,
    settings_of,
    shard_keys,
    versions,
)
from forgeprep.pipeline.differences import settings_differences
from forgeprep.pipeline.plan import Plan, open_plan
from forgeprep.pipeline.run_folder import Prepared, write_run
from forgeprep.registry import made_with
from forgeprep.schemas.config import RunConfig
from forgeprep.shards.names import table_path
from forgeprep.shards.records import files_there, read_record, read_run
from forgeprep.stages import resolve_stages
from forgeprep.stages.base import Stage


def prepare_added(out: Path, names: Sequence[str], given: Mapping[str, Any]) -> Prepared:
    """Plan the run in ``out`` with more stages; :func:`forgeprep.pipeline.run.execute` then adds them shard by shard.

    The shards come out byte for byte as those of a run that had these stages from the start. Stopped in between, the
    same call goes on; ``given`` are the stages' parameters, and ``set`` as in
    :func:`forgeprep.pipeline.configure.make_config`.

    Raises:
        UsageError: no finished run; a stage that needs more than the shards hold; other versions of the libraries.
        VerifyError: the plan of the run is damaged.
    """
    old = read_run(out)
    try:
        before = RunConfig.model_validate(old["config"])
        held = [old[name] for name in ("inputs", "versions", "root")]
    except (ValueError, KeyError, TypeError):
        held = [None]
    if None in held:
        raise UsageError(f"{out}/run.json: damaged; make the run again with --overwrite")
    stages = resolve_stages([*before.stages, *names], made_with(old, "stages"))
    asked = resolve_stages(names)
    more = [stage for stage in stages if stage.name not in before.stages]
    settings = given.get("set") or ()
    params = read_params(asked, {name: value for name, value in given.items() if name != "set"}, settings)
    touched = {read_setting(text)[0] for text in settings} | {param_owners()[name] for name in given if name != "set"}
    kept = {name: params[name] for name in params if name in before.params and name in touched}
    if any(before.params[name] != value for name, value in kept.items()):
        raise UsageError(f"{out}: has the stage '{next(iter(kept))}' already, with other settings; make a new run")
    plan = open_plan(table_path(out, "plan"))
    now = {**old["versions"], **versions(more, params)} if more else old["versions"]
    if more:
        _check(out, old, before, plan, more, now)
    config = before.model_copy(
        update={
            "stages": tuple(stage.name for stage in stages),
            "params": {stage.name: {**params, **before.params}[stage.name] for stage in stages},
        }
    )
    of_dataset: dict[str, Any] = {name: old[name] for name in ("inputs", "facts") if name in old}
    identity = {"config": config.model_dump(mode="json"), **of_dataset, "versions": now}
    adds_to = all_settings(old) if more else digests_of(old.get("adds_to"))
    carried: dict[str, Any] = (
        {name: old[name] for name in ("official_split", "derived") if name in old} if old.get("derived") else {}
    )
    fingerprint = fingerprint_of(identity) if more else old["fingerprint"]
    prepared = Prepared(
        config, Path(old["root"]), out, Scan([]), {}, plan, fingerprint,
        settings_of(identity) if more else all_settings(old), adds_to, carried=carried,
    )  # fmt: skip
    if more:
        with locked(out):
            remove_tree(out / "report")
            write_run(prepared, identity)
    return prepared


def _check(
    out: Path,
    old: Mapping[str, Any],
    config: RunConfig,
    plan: Plan,
    more: Sequence[Stage],
    now: Mapping[str, str],
) -> None:
    for stage in more:
        if not stage.additive:
            every = ",".join([*config.stages, *(other.name for other in more)])
            raise UsageError(f"--stages: '{stage.name}' needs the videos; make a new run with --stages {every}")
    if not (config.image_format == "png" or (config.image_format == "webp" and config.image_quality == 100)):
        raise UsageError(f"{out}: its crops are stored as {config.image_format}, with losses; make a new run")
    if config.params["frames"].get("sequence_length"):
        raise UsageError(f"{out}: its samples are sequences; make a new run")
    # What only the new stages use cannot have changed.
    changed = settings_differences(
        {"versions": old["versions"]}, {"versions": {name: now[name] for name in old["versions"]}}
    )
    if changed:
        raise UsageError(f"{out}: is of other versions ({'; '.join(changed)}); reinstall them, or make a new run")
    settings = all_settings(old)
    for shard in plan.briefs:
        record = read_record(out, shard.name)
        whole = record is not None and record["key"] in shard_keys(settings, shard.name, shard.inputs)
        if record is None or not whole or not files_there(out, record):
            raise UsageError(f"{out}: shard {shard.name} is not finished; run the run's own command again first")
