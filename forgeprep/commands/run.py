"""``forgeprep run``.

A run begins with what takes long to start, in processes and threads of their own; modules are imported meanwhile.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer

from forgeprep.commands.flags import (
    ANY,
    EXECUTION,
    INPUT,
    LOCAL,
    OUTPUT,
    Address,
    ClipTimeout,
    Dataset,
    Debug,
    WorkerMemory,
    Workers,
    complete_formats,
    complete_stages,
    completing,
)
from forgeprep.commands.groups import Command, single, tell_renamed
from forgeprep.commands.stage_flags import flag_of, takes_stage_flags
from forgeprep.params import all_params
from forgeprep.schemas.config import PRESETS, RENAMED

EXAMPLES = """
forgeprep run ffpp --root FaceForensics++ --out shards --dry-run
forgeprep run ffpp --root FaceForensics++ --out shards --update
forgeprep run ffpp --root FaceForensics++ --out papers --preset two-stream
forgeprep run folder --root clips --out shards --set crop.size=256
"""


def run(
    dataset: Dataset,
    root: Annotated[
        Path | None,
        typer.Option(help="Folder of the raw dataset. [required, here or in --config]", rich_help_panel=INPUT, **ANY),
    ] = None,
    compression: Annotated[
        str | None,
        typer.Option(
            help="Compressions, comma-separated, e.g. raw,c23. [default: the dataset's; ffpp: c23]",
            metavar="TEXT",
            rich_help_panel=INPUT,
        ),
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            help="Forgery methods, comma-separated. [default: all that are there]",
            metavar="TEXT",
            rich_help_panel=INPUT,
        ),
    ] = None,
    splits: Annotated[
        str | None,
        typer.Option(
            help="Splits, comma-separated. [default: train,val,test]",
            metavar="TEXT",
            rich_help_panel=INPUT,
            autocompletion=completing(lambda: ("train", "val", "test")),
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            help="An option of the dataset, see 'forgeprep datasets show NAME'. May be repeated. [default: none]",
            metavar="NAME=VALUE",
            rich_help_panel=INPUT,
        ),
    ] = None,
    stages: Annotated[
        str | None,
        typer.Option(
            help="Stages, comma-separated; what they need is added. [default: crop,mask,noise]",
            metavar="TEXT",
            rich_help_panel="Stages",
            autocompletion=complete_stages,
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help=f"Settings of a paper: {', '.join(PRESETS)}; flags win. [default: none]",
            metavar="TEXT",
            rich_help_panel="Stages",
            autocompletion=completing(lambda: PRESETS),
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="A parameter of any stage, see 'forgeprep stages'. May be repeated. [default: none]",
            metavar="STAGE.NAME=VALUE",
            rich_help_panel="Stages",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder to fill. [required, here or in --config]", rich_help_panel=OUTPUT, **ANY),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="Shard formats, comma-separated: parquet, webdataset, or one of another package. [default: parquet]",
            metavar="TEXT",
            rich_help_panel=OUTPUT,
            autocompletion=complete_formats,
        ),
    ] = None,
    image_format: Annotated[
        str | None,
        typer.Option(
            help="Encoding of the crops: png (lossless), jpeg or webp. [default: png]",
            metavar="TEXT",
            rich_help_panel=OUTPUT,
            autocompletion=completing(lambda: ("png", "jpeg", "webp")),
        ),
    ] = None,
    image_quality: Annotated[
        int | None,
        typer.Option(
            help="Quality of jpeg and webp, 1 to 100; webp is lossless at 100. [default: 95]",
            metavar="INTEGER",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    shard_size: Annotated[
        int | None,
        typer.Option(help="Samples a shard, about. [default: 2000]", metavar="INTEGER", rich_help_panel=OUTPUT),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Throw away another run in --out. [default: off]", rich_help_panel=OUTPUT),
    ] = False,
    update: Annotated[
        bool,
        typer.Option(
            "--update",
            help="Take what is new or changed in --root into the run in --out; keep its other shards. [default: off]",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    keep_removed: Annotated[
        bool,
        typer.Option(
            "--keep-removed",
            help="With --update: leave the samples of files that are gone. [default: off]",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    workers: Workers = None,
    address: Address = None,
    clip_timeout: ClipTimeout = None,
    worker_memory: WorkerMemory = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="YAML file with the same names; flags win. [default: none]", rich_help_panel=EXECUTION, **LOCAL
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Show what was found, the plan, its time and size; write nothing. [default: off]",
            rich_help_panel=EXECUTION,
        ),
    ] = False,
    retry_failed: Annotated[
        bool,
        typer.Option(
            "--retry-failed",
            help="Make again what was unreadable or broke off. [default: off]",
            rich_help_panel=EXECUTION,
        ),
    ] = False,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Exit code 1 if planned samples are missing at the end. [default: off]",
            rich_help_panel=EXECUTION,
        ),
    ] = False,
    debug: Debug = False,
    **given: Any,
) -> None:
    """Turn a raw dataset into shards.

    Run it again to resume: finished shards are kept. --update takes in what is new.
    """
    given |= {"dataset": dataset, "root": root, "out": out, "stages": stages, "preset": preset}
    given |= {"compression": compression, "methods": methods, "splits": splits, "options": option or None}
    given |= {"format": format, "image_format": image_format, "image_quality": image_quality, "shard_size": shard_size}
    given |= {"workers": workers, "address": address, "clip_timeout": clip_timeout, "worker_memory": worker_memory}
    given["set"] = settings or None

    from forgeprep.commands.terminal import unattended

    with unattended():
        code = _run(given, config, _Switches(dry_run, overwrite, retry_failed, strict, update, keep_removed))
    sys.exit(code)


class _Run(Command):
    renamed: ClassVar[Mapping[str, str]] = {flag_of(old): flag_of(new) for old, new in RENAMED.items()}


app = single(takes_stage_flags(run, all_params(), "settings"), examples=EXAMPLES, cls=_Run)


@dataclass(frozen=True, slots=True)
class _Switches:
    dry_run: bool
    overwrite: bool
    retry_failed: bool
    strict: bool
    update: bool
    keep_removed: bool

    def check(self) -> None:
        """Raise UsageError where two of them contradict each other."""
        from forgeprep.errors import UsageError

        if self.keep_removed and not self.update:
            raise UsageError("--keep-removed goes with --update: give both")
        for name, given in (("--overwrite", self.overwrite), ("--retry-failed", self.retry_failed)):
            if self.update and given:
                raise UsageError(f"--update and {name} exclude each other: give one of them")


def _run(given: Mapping[str, Any], config_file: Path | None, switches: _Switches) -> int:
    from forgeprep.commands.execution import execute_shown, force_of, ray_begun
    from forgeprep.errors import UsageError
    from forgeprep.media import process as media_process

    switches.check()
    values = {**_read_config(config_file), **{key: value for key, value in given.items() if value is not None}}
    for name in ("root", "out"):
        if values.get(name) is None:
            raise UsageError(f"--{name} is missing: give it as a flag or in the file of --config")
    force = force_of(values)
    with ray_begun(None if switches.dry_run else force) as ray:
        with media_process.reading(memory=force.worker_memory, seconds=force.clip_timeout_s, ahead=1):
            from forgeprep.commands.preflight import print_estimate, print_plan
            from forgeprep.commands.terminal import console, counting
            from forgeprep.io.storage import spare_pandas, to_path
            from forgeprep.pipeline.configure import make_config
            from forgeprep.pipeline.run import prepare_run

            spare_pandas()
            root, out = to_path(values["root"]), to_path(values["out"])
            config = make_config(str(values["dataset"]), values)
            with counting() as tell:
                prepared = prepare_run(
                    config,
                    root,
                    out,
                    overwrite=switches.overwrite,
                    retry=switches.retry_failed,
                    update=switches.update,
                    keep_removed=switches.keep_removed,
                    write=not switches.dry_run,
                    progress=tell,
                    # Of a single shard it is not sure yet that it needs Ray.
                    planning=lambda shards: ray.begin() if ray and (force.workers or shards) > 1 else None,
                )
            print_plan(prepared)
            if prepared.told is not None:
                console.print(prepared.told, markup=False)
            if switches.dry_run:
                print_estimate(prepared, None if force.address else max(1, force.most))
                return 0
        code = execute_shown(prepared, force, ray, nothing="nothing to retry" if switches.retry_failed else None)
    if code == 0 and switches.strict:
        _check_coverage(out)
    return code


def _read_config(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    from forgeprep.pipeline.configure import read_yaml

    return read_yaml(file, lambda old, new: tell_renamed(f"'{old}'", f"'{new}'", f"{file}: "))


def _check_coverage(out: Path) -> None:
    from forgeprep.errors import ForgeprepError
    from forgeprep.report.summary import summarise

    summary = summarise(out)
    # A bystander was never forged: it is no loss.
    lost = summary.drops.total() - summary.drops["bystander"]
    if lost or summary.total.empty:
        raise ForgeprepError(
            f"{out}: short of the plan (--strict): {lost:,} samples were dropped, "
            f"{summary.total.empty:,} clips gave none; see {out / 'drops.parquet'}"
        )
