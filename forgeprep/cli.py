"""The command line: parse, call, print. What the commands do lives in the packages that they import when they run."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from forgeprep import __version__, cli_training
from forgeprep.flags import (
    ANY,
    LOCAL,
    Address,
    ClipTimeout,
    Debug,
    MinFace,
    Out,
    Side,
    Sigma,
    WorkerMemory,
    Workers,
    parse_local,
    parse_path,
)

_DETECTORS = "libfacedetection, dlib-hog, dlib-cnn, face-alignment, or whole: the picture is the face"

app = typer.Typer(
    name="forgeprep",
    help="Raw face-forgery datasets in, verified training shards out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
weights_app = typer.Typer(help="Weights of the optional detectors: never fetched during a run.", no_args_is_help=True)
app.add_typer(weights_app, name="weights")
datasets_app = typer.Typer(invoke_without_command=True)
app.add_typer(datasets_app, name="datasets")
app.add_typer(cli_training.app)


def _version(asked: bool) -> None:
    if asked:
        print(f"forgeprep {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Raw face-forgery datasets in, verified training shards out."""


@app.command()
def run(
    dataset: Annotated[str, typer.Argument(help="Dataset, e.g. ffpp; 'forgeprep datasets' lists them.")],
    root: Annotated[
        Path | None, typer.Option(help="Folder of the raw dataset. [required, here or in --config]", **ANY)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to fill. [required, here or in --config]", **ANY)] = None,
    stages: Annotated[
        str | None, typer.Option(help="Stages, comma-separated; what they need is added. [default: crop,mask,noise]")
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(help="Settings of a paper: pixel-level, two-stream, local-similarity; flags win. [default: none]"),
    ] = None,
    compression: Annotated[
        str | None,
        typer.Option(help="Compressions, comma-separated, e.g. raw,c23. [default: the dataset's; ffpp: c23]"),
    ] = None,
    methods: Annotated[
        str | None, typer.Option(help="Forgery methods, comma-separated. [default: all that are there]")
    ] = None,
    splits: Annotated[str | None, typer.Option(help="Splits, comma-separated. [default: train,val,test]")] = None,
    frames: Annotated[
        str | None, typer.Option(help="Frames a clip: a number (evenly spread), 'all' or 'every:N'. [default: 32]")
    ] = None,
    clip_length: Annotated[
        int | None,
        typer.Option(help="Frames a sample, for video detectors; --frames then counts samples. [default: one frame]"),
    ] = None,
    clip_stride: Annotated[
        int | None, typer.Option(help="Frames from one of a clip sample to its next. [default: 1]")
    ] = None,
    clip_short: Annotated[
        str | None,
        typer.Option(help="Clips shorter than that: drop, or pad with their last frame. [default: drop]"),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(help="NAME=VALUE, an option of the dataset; 'forgeprep datasets show NAME' lists them."),
    ] = None,
    enlarge: Annotated[
        float | None, typer.Option(help="Side of the crop over side of the face box. [default: 1.3]")
    ] = None,
    size: Annotated[
        int | None, typer.Option(help="Resize crops to this side in pixels. [default: native resolution]")
    ] = None,
    detector: Annotated[str | None, typer.Option(help=f"{_DETECTORS}. [default: libfacedetection]")] = None,
    min_face: MinFace = None,
    bystanders: Annotated[
        str | None, typer.Option(help="Unaltered faces of a fake: skip, or real to keep them as reals. [default: skip]")
    ] = None,
    mask_source: Annotated[
        str | None,
        typer.Option(help="difference (fake against original), provided, or literal. [default: difference]"),
    ] = None,
    literal_threshold: Annotated[
        int | None,
        typer.Option(help="With literal masks: the level, 0 to 254, that |fake - original| exceeds. [default: 0]"),
    ] = None,
    missing_original: Annotated[
        str | None,
        typer.Option(help="Fakes whose original is not on disk: drop, or absent to keep them. [default: drop]"),
    ] = None,
    perturb: Annotated[
        str | None,
        typer.Option(
            help="NAME:SEVERITY,… or shares, mixed:0.5,single:0.2; 'forgeprep perturbations' lists the names. "
            "[default: forgerynet]"
        ),
    ] = None,
    perturb_pairing: Annotated[
        str | None,
        typer.Option(help="own: each clip is drawn for; shared: a fake gets what its original gets. [default: own]"),
    ] = None,
    perturb_seed: Annotated[int | None, typer.Option(help="Another seed draws differently. [default: 0]")] = None,
    perturb_splits: Annotated[
        str | None, typer.Option(help="Splits that are perturbed; others stay clean. [default: train,val,test]")
    ] = None,
    sigma: Sigma = None,
    side: Side = None,
    format: Annotated[
        str | None, typer.Option("--format", help="parquet, webdataset or both. [default: parquet]")
    ] = None,
    image_format: Annotated[
        str | None, typer.Option(help="Encoding of the crops: png (lossless), jpeg or webp. [default: png]")
    ] = None,
    image_quality: Annotated[
        int | None, typer.Option(help="Quality of jpeg and webp, 1 to 100; webp is lossless at 100. [default: 95]")
    ] = None,
    shard_size: Annotated[int | None, typer.Option(help="Samples a shard, about. [default: 2000]")] = None,
    workers: Workers = None,
    address: Address = None,
    clip_timeout: ClipTimeout = None,
    worker_memory: WorkerMemory = None,
    config: Annotated[
        Path | None, typer.Option(help="YAML file with the same names; flags win. [default: none]", **LOCAL)
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Show what was found, the plan, its time and size; write nothing. [default: off]"
        ),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Throw away another run in --out. [default: off]")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Make again what was unreadable or broke off. [default: off]")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit code 1 if planned samples are missing at the end. [default: off]")
    ] = False,
    debug: Debug = False,
) -> None:
    """Turn a raw dataset into shards. Run it again to resume: finished shards are kept."""
    given = dict(locals())
    given["options"] = given.pop("option") or None
    for name in ("config", "dry_run", "overwrite", "retry_failed", "strict", "debug"):
        del given[name]
    from forgeprep.report.console import RunFlags, run_on_console

    sys.exit(run_on_console(given, config, RunFlags(dry_run, overwrite, retry_failed, strict)))


@app.command()
def add(
    out: Out,
    stages: Annotated[str, typer.Option(help="Stages to add, comma-separated: noise, similarity.")],
    sigma: Sigma = None,
    side: Side = None,
    workers: Workers = None,
    address: Address = None,
    clip_timeout: ClipTimeout = None,
    worker_memory: WorkerMemory = None,
    debug: Debug = False,
) -> None:
    """Add stages to a finished run from the crops and masks in its shards; the videos are not needed."""
    from forgeprep.report.console import add_on_console

    given = {"sigma": sigma, "side": side}
    force = {"workers": workers, "address": address, "clip_timeout": clip_timeout, "worker_memory": worker_memory}
    sys.exit(add_on_console(out, stages, given, force))


@app.command()
def splice(
    dataset: Annotated[str, typer.Argument(help="Dataset, e.g. ffpp; 'forgeprep datasets' lists them.")],
    root: Annotated[Path, typer.Option(help="Folder of the raw dataset.", **ANY)],
    out: Annotated[Path, typer.Option(help="Folder of the new dataset.", **ANY)],
    spans: Annotated[str, typer.Option(help="Forged spans a clip: a number or a range.")] = "1-3",
    length: Annotated[str, typer.Option(help="Length of a span: frames, 10-60, or seconds, 0.4-2s.")] = "10-60",
    gap: Annotated[str, typer.Option(help="Least distance of two spans: frames, or seconds such as 0.4s.")] = "10",
    copies: Annotated[int, typer.Option(help="Clips of each fake, each with spans of its own.", min=1)] = 1,
    seed: Annotated[int, typer.Option(help="The same seed gives the same spans.", min=0)] = 0,
    crf: Annotated[int, typer.Option(help="Quality of H.264, 0 (lossless) to 51.", min=0, max=51)] = 18,
    compression: Annotated[str | None, typer.Option(help="As in 'run'. [default: the dataset's]")] = None,
    methods: Annotated[str | None, typer.Option(help="As in 'run'. [default: all that are there]")] = None,
    splits: Annotated[str | None, typer.Option(help="As in 'run'. [default: train,val,test]")] = None,
    option: Annotated[list[str] | None, typer.Option(help="NAME=VALUE, an option of the dataset.")] = None,
    detector: Annotated[str, typer.Option(help=f"{_DETECTORS}.")] = "libfacedetection",
    workers: Annotated[
        int | None,
        typer.Option(
            help="Source groups at a time; 1 works in this process, without Ray. [default: one a core]", min=0
        ),
    ] = None,
    address: Address = None,
    debug: Debug = False,
) -> None:
    """Make clips that are forged in random spans: an original, in parts replaced by the frames of its fake."""
    given = dict(locals())
    from forgeprep.report.splicing import splice_on_console

    splice_on_console(given)


@app.command()
def demo(
    folder: Annotated[
        Path, typer.Argument(help="Folder to write; must be new or empty.", parser=parse_local, metavar="FOLDER")
    ],
    people: Annotated[int, typer.Option(help="How many people; at least 6, so that every split has a pair.")] = 8,
    seconds: Annotated[float, typer.Option(help="Length of a clip.")] = 3.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same files.")] = 0,
    layout: Annotated[str, typer.Option(help="The dataset in whose layout it is written.")] = "ffpp",
    debug: Debug = False,
) -> None:
    """Write a small dataset in the layout of a real one, made from two portraits that ship with Python packages."""
    from forgeprep.report.console import demo_on_console

    demo_on_console(folder, people=people, seconds=seconds, seed=seed, layout=layout)


@app.command()
def status(
    out: Annotated[
        Path,
        typer.Argument(
            help="Folder of a run, also of one that works or was stopped.", parser=parse_path, metavar="OUT"
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON. [default: off]")] = False,
    debug: Debug = False,
) -> None:
    """Tell how far a run is: shards, clips, samples, whether it works right now, its speed and time to go."""
    from forgeprep.report.status import status_on_console

    status_on_console(out, as_json=as_json)


@app.command()
def verify(out: Out, debug: Debug = False) -> None:
    """Check every shard: checksums, schema, counts, pictures. Exit code 1 and a list if something is off."""
    from forgeprep.report.console import verify_on_console

    sys.exit(verify_on_console(out))


@app.command()
def inspect(
    out: Out,
    sheet: Annotated[
        Path | None, typer.Option(help="Write a contact sheet, a PNG, to this file. [default: none]", **ANY)
    ] = None,
    debug: Debug = False,
) -> None:
    """Show counts per split, method and drop reason."""
    from forgeprep.report.console import inspect_on_console

    inspect_on_console(out, sheet)


@app.command()
def report(
    out: Out,
    to: Annotated[Path | None, typer.Option(help="HTML file to write. [default: OUT/report/index.html]", **ANY)] = None,
    debug: Debug = False,
) -> None:
    """Write one HTML page to judge the run by: coverage, masks, pairs, noise, and contact sheets, the worst first."""
    from forgeprep.report.console import report_on_console

    report_on_console(out, to)


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(help="Folder of a run.", parser=parse_path, metavar="A")],
    b: Annotated[Path, typer.Argument(help="Folder of another run.", parser=parse_path, metavar="B")],
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the findings to this file too. [default: none]", **ANY)
    ] = None,
    debug: Debug = False,
) -> None:
    """Are two runs the same data? Settings, sample sets, and every column. Exit code 1 if they are not."""
    from forgeprep.report.differences import compare_on_console

    sys.exit(compare_on_console(a, b, json_file))


@app.command()
def stages(debug: Debug = False) -> None:
    """List the stages: what they need, add and take."""
    from forgeprep.report.console import print_stages

    print_stages()


@app.command()
def perturbations(debug: Debug = False) -> None:
    """List the perturbations of the stage 'perturb': their groups, and their parameters at severity 1 to 5."""
    from forgeprep.report.perturbations import print_perturbations

    print_perturbations()


@datasets_app.callback()
def datasets(context: typer.Context) -> None:
    """List the datasets, or show one: layout, options, methods and what they are, published counts."""
    if context.invoked_subcommand is None:
        from forgeprep.report.catalogue import print_datasets

        print_datasets()


@datasets_app.command("show")
def datasets_show(
    name: Annotated[str, typer.Argument(help="Dataset, e.g. celebdf-v2.")],
    root: Annotated[
        Path | None,
        typer.Option(help="Folder of a copy: its counts stand beside the published ones. [default: none]", **ANY),
    ] = None,
    option: Annotated[list[str] | None, typer.Option(help="NAME=VALUE, an option of the dataset.")] = None,
    debug: Debug = False,
) -> None:
    """Show a dataset: layout, options, every method and what it is, counts published and found."""
    from forgeprep.report.catalogue import show_dataset

    show_dataset(name, root, option or [])


@weights_app.command("fetch")
def weights_fetch(
    name: Annotated[str, typer.Argument(help="dlib-cnn or s3fd.")],
    debug: Debug = False,
) -> None:
    """Fetch the weights of an optional detector and check them. This command uses the network; no other does."""
    from forgeprep.faces.detectors import known_weights
    from forgeprep.faces.weights import fetch

    print(f"{fetch(name, known_weights())}: ready")


def main(arguments: list[str] | None = None) -> NoReturn:
    """The entry point: run a command and turn errors into one line and an exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    from forgeprep.errors import ForgeprepError

    try:
        app(args=arguments, prog_name="forgeprep")
    except ForgeprepError as error:
        if "--debug" in arguments:
            raise
        _fail(error, error.exit_code)
    except (OSError, MemoryError) as error:
        if "--debug" in arguments:
            raise
        memory = "out of memory; a file may claim more than it holds: 'forgeprep verify' tells for a run's folder"
        _fail(memory if isinstance(error, MemoryError) else error, 1)
    except Exception as error:
        if "--debug" in arguments:
            raise
        _fail(f"{type(error).__name__}: {error} (a defect of forgeprep; --debug shows where)", 1)
    sys.exit(0)


def _fail(message: Any, code: int) -> NoReturn:
    from forgeprep.errors import one_line

    with suppress(OSError):  # The terminal may be gone.
        print(f"forgeprep: error: {one_line(message)}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
