"""``forgeprep run``.

A run begins with what takes long to start, in processes and threads of their own; modules are imported meanwhile.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

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
    JsonLines,
    StartTimeout,
    WorkerMemory,
    Workers,
    complete_formats,
    complete_stages,
    completing,
)
from forgeprep.commands.groups import given_words, single, tell_renamed
from forgeprep.commands.stage_flags import StageCommand, flag_of, takes_stage_flags
from forgeprep.params import all_params
from forgeprep.schemas.config import PRESETS, RENAMED
from forgeprep.text import counted

if TYPE_CHECKING:
    from forgeprep.commands.events import Emit

EXAMPLES = """
forgeprep run ffpp --dry-run
forgeprep run ffpp --stages crop,mask,noise --update
forgeprep run ffpp --root FaceForensics++ --out papers --preset two-stream
forgeprep run folder --root clips --out shards --set crop.size=256
"""


def run(
    context: typer.Context,
    dataset: Dataset,
    root: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the raw dataset. [default: as configured, or the one found near here]",
            rich_help_panel=INPUT,
            **ANY,
        ),
    ] = None,
    real_root: Annotated[
        list[str] | None,
        typer.Option(
            help="Folder of another dataset that this one's reals lie in, e.g. ffpp=/data/FaceForensics++. May be "
            "repeated. [default: as configured, or the one found near here]",
            metavar="NAME=DIR",
            rich_help_panel=INPUT,
        ),
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
    boxes_from: Annotated[
        str | None,
        typer.Option(
            help="The compression whose files faces are found on, so that all compressions show the same pixels: raw, "
            "c23, c40; best, the best that is there; or own, each on itself. [default: as the run began, or best]",
            metavar="TEXT",
            rich_help_panel=INPUT,
            autocompletion=completing(lambda: ("best", "own", "raw", "c23", "c40")),
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
        typer.Option(help="Folder to fill. [default: shards/DATASET]", rich_help_panel=OUTPUT, **ANY),
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
    shards: Annotated[
        int | None,
        typer.Option(
            help="Shards of each split, instead of --shard-size. [default: by --shard-size]",
            metavar="INTEGER",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    absent: Annotated[
        str | None,
        typer.Option(
            help="What tars have of a picture that a sample lacks: null, no file; or placeholder, a black one, for "
            "readers that want the same files in every sample. [default: null]",
            metavar="TEXT",
            rich_help_panel=OUTPUT,
            autocompletion=completing(lambda: ("null", "placeholder")),
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Throw away a run of other settings or files in --out. [default: off]",
            rich_help_panel=OUTPUT,
        ),
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
    start_timeout: StartTimeout = None,
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
    as_json: JsonLines = False,
    debug: Debug = False,
    **given: Any,
) -> None:
    """Turn a raw dataset into shards.

    Run it again to resume: finished shards are kept; --update takes in what is new. What no flag says is taken from
    --config, then from the variable FORGEPREP_FFPP_ROOT (or another dataset's), then from forgeprep.yaml here or in a
    folder above, then from 'forgeprep datasets add'.
    """
    given |= {"dataset": dataset, "root": root, "out": out, "stages": stages, "preset": preset}
    given |= {"compression": compression, "methods": methods, "splits": splits, "options": option or None}
    given |= {"format": format, "image_format": image_format, "image_quality": image_quality, "shard_size": shard_size}
    given |= {"shards": shards, "absent": absent, "boxes_from": boxes_from}
    given |= {"workers": workers, "address": address, "clip_timeout": clip_timeout, "worker_memory": worker_memory}
    given["start_timeout"] = start_timeout
    given["set"] = settings or None

    from forgeprep.commands.events import events
    from forgeprep.commands.terminal import unattended
    from forgeprep.pipeline.configure import refuse_contradictions

    switches = _Switches(dry_run, overwrite, retry_failed, strict, update, keep_removed)
    with unattended(), events(as_json) as emit:
        refuse_contradictions(given, settings or ())
        code = _run(given, config, switches, given_words(context), emit, real_root or ())
    sys.exit(code)


class _Run(StageCommand):
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


def _run(
    given: Mapping[str, Any],
    config_file: Path | None,
    switches: _Switches,
    words: Sequence[str],
    emit: Emit,
    real_root: Sequence[str],
) -> int:
    from forgeprep.commands import where
    from forgeprep.commands.events import emit_finished, emit_planned
    from forgeprep.commands.execution import execute_shown, force_of, ray_begun
    from forgeprep.commands.stopping import stoppable
    from forgeprep.media import process as media_process
    from forgeprep.pipeline.precedence import take
    from forgeprep.pipeline.resolve import out_of, sources

    switches.check()
    here, asked = Path.cwd(), str(given["dataset"])
    taken = take(sources(asked, {**given, "dataset": None}, here, config=config_file, renamed=_tell_renamed))
    with where.told_from(taken) as values:
        force = force_of(values)
    with where.told_from(taken), stoppable() as check, ray_begun(None if switches.dry_run else force) as ray:
        with media_process.reading(memory=force.worker_memory, seconds=force.clip_timeout_s, ahead=1):
            from forgeprep.commands.preflight import print_estimate, print_plan
            from forgeprep.commands.terminal import counting
            from forgeprep.datasets import get_dataset
            from forgeprep.io.storage import spare_pandas
            from forgeprep.pipeline.configure import make_config
            from forgeprep.pipeline.make_shard import resources_of
            from forgeprep.pipeline.run import prepare_run

            spare_pandas()
            dataset = get_dataset(asked).name
            root = where.root_of(taken, dataset, here, words)
            out = out_of("shards", dataset, taken.get("out"), here, root.value)
            config = make_config(dataset, {**values, "out": out.value})
            real_roots = where.real_roots_of(dataset, real_root, here, root.value)
            where.tell(dataset, asked, taken, root, out, real_roots)
            most = force.most(resources_of(config))
            if ray is not None:
                ray.workers = most
            with counting() as tell:
                prepared = prepare_run(
                    config,
                    root.value,
                    out.value,
                    real_roots={name: one.value for name, one in real_roots.items()},
                    overwrite=switches.overwrite,
                    retry=switches.retry_failed,
                    update=switches.update,
                    keep_removed=switches.keep_removed,
                    write=not switches.dry_run,
                    progress=tell,
                    # Of a single shard it is not sure yet that it needs Ray.
                    planning=lambda shards: ray.begin() if ray and (force.workers or min(shards, most)) > 1 else None,
                )
            emit_planned(emit, prepared)
            print_plan(prepared)
            if switches.dry_run:
                print_estimate(prepared, None if force.address else max(1, most))
                emit("finished", exit_code=0)
                return 0
        check()
        nothing = "nothing to retry" if switches.retry_failed else None
        result = execute_shown(prepared, force, ray, nothing=nothing, emit=emit)
    if switches.strict and not result.failed:
        _check_coverage(out.value)
    return emit_finished(emit, result)


def _tell_renamed(old: str, new: str, file: Path) -> None:
    tell_renamed(f"'{old}'", f"'{new}'", f"{file}: ")


def _check_coverage(out: Path) -> None:
    from forgeprep.errors import ForgeprepError
    from forgeprep.report.summary import summarise
    from forgeprep.shards.names import table_path

    summary = summarise(out)
    # A bystander was never forged: it is no loss.
    lost = summary.drops.total() - summary.drops["bystander"]
    if lost or summary.total.empty:
        raise ForgeprepError(
            f"{out}: short of the plan (--strict): {counted(lost, 'sample was', 'samples were')} dropped, "
            f"{counted(summary.total.empty, 'clip')} gave none; see {table_path(out, 'drops')}"
        )
