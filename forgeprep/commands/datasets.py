"""``forgeprep datasets``: what is known of each dataset, where it lies, and how much of it is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forgeprep.commands.audit import EPILOG, datasets_audit
from forgeprep.commands.flags import ANY, Dataset, Debug, Json, parse_path
from forgeprep.commands.groups import Command, refuse_json_before

if TYPE_CHECKING:
    from forgeprep.datasets.base import Dataset as Adapter
    from forgeprep.datasets.base import DatasetParams
    from forgeprep.schemas.clips import Clip

app = typer.Typer(invoke_without_command=True, add_completion=False, rich_markup_mode=None)


@app.callback()
def datasets(context: typer.Context, as_json: Json = False) -> None:
    """List the datasets, or show one.

    Layout, options, methods and what they are, published counts.
    """
    if context.invoked_subcommand is not None:
        refuse_json_before(context, as_json)
        return
    from forgeprep.commands.terminal import broken_facts, print_broken, print_json
    from forgeprep.datasets import DATASETS

    found, broken = [one for _, one in sorted(DATASETS.usable().items())], DATASETS.broken()
    if as_json:
        print_json([*map(_facts, found), *broken_facts(broken)])
        return
    for dataset in found:
        _print_facts(dataset)
    print_broken(broken)


@app.command(
    "show", cls=Command, epilog="forgeprep datasets show ffpp\nforgeprep datasets show ffpp --root FaceForensics++"
)
def datasets_show(
    name: Dataset,
    root: Annotated[
        Path | None,
        typer.Option(help="Folder of a copy, whose clips are counted. [default: as for 'forgeprep run']", **ANY),
    ] = None,
    option: Annotated[list[str] | None, typer.Option(help="An option of the dataset.", metavar="NAME=VALUE")] = None,
    frames: Annotated[
        str | None,
        typer.Option(
            help="As --frames of 'forgeprep run', e.g. real=270,fake=100: count the frames that are taken at most. "
            "[default: none]",
            metavar="TEXT",
        ),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show a dataset: layout, options, every method and what it is, counts published and found."""
    from forgeprep.commands import where
    from forgeprep.commands.terminal import console, print_json
    from forgeprep.datasets import get_dataset
    from forgeprep.errors import UsageError
    from forgeprep.pipeline.configure import read_options

    params = read_options(name, option or [])
    dataset = get_dataset(name).chosen(params)
    if not as_json:
        _print_facts(dataset)
        for label, info in dataset.params.model_fields.items():
            console.print(f"    --option {label}=… (default {info.default!r}): {info.description}", markup=False)
    clips: Sequence[Clip] = ()
    warnings: list[str] = []
    taken = where.root_near(dataset.name, root, Path.cwd())
    try:
        if taken is not None:
            clips, warnings = _clips(dataset, taken.value, params)
    except UsageError as error:
        # A root that nobody gave here is no reason to fail.
        if root is not None:
            raise
        warnings = [str(error)]
    methods = _methods(dataset, clips)
    if frames is not None:
        _count_frames(frames, dataset, clips, methods)
    if as_json:
        options = dataset.params.model_json_schema().get("properties", {})
        place = None if taken is None else str(taken.value)
        print_json({**_facts(dataset), "root": place, "options": options, "methods": methods, "warnings": warnings})
        return
    if taken is not None:
        console.print(f"    {'root':<14} {taken.value} ({where.origin_of('root', taken)})", markup=False)
    for warning in warnings:
        console.print(f"warning: {warning}", markup=False)
    _print_methods(methods, clips)


app.command("audit", cls=Command, epilog=EPILOG)(datasets_audit)


@app.command("add", cls=Command, epilog="forgeprep datasets add ffpp /data/FaceForensics++")
def datasets_add(
    name: Dataset,
    folder: Annotated[Path, typer.Argument(help="Folder of the dataset.", parser=parse_path, metavar="FOLDER")],
    option: Annotated[list[str] | None, typer.Option(help="An option of the dataset.", metavar="NAME=VALUE")] = None,
    debug: Debug = False,
) -> None:
    """Keep where a dataset lies, so that no command has to be told.

    Its layout is looked at first. A forgeprep.yaml, the environment and --root win over what is kept.
    """
    from forgeprep.commands.terminal import console
    from forgeprep.datasets import get_dataset
    from forgeprep.errors import UsageError
    from forgeprep.io.storage import absolute
    from forgeprep.io.user_settings import keep_root, read_roots
    from forgeprep.pipeline.configure import read_options

    dataset = get_dataset(name)
    root = absolute(folder)
    before = read_roots().get(dataset.name)
    params = read_options(name, option or [])
    try:
        clips, _ = _clips(dataset, root, params)
    except UsageError as error:
        # Here the folder has no flag.
        raise UsageError(str(error).replace("--root ", "")) from None
    file = keep_root(dataset.name, str(root))
    instead = f" instead of {before}" if before not in (None, str(root)) else ""
    console.print(f"{dataset.name}: {root}{instead}, {len(clips):,} clips; kept in {file}", markup=False)


@app.command("remove", cls=Command, epilog="forgeprep datasets remove ffpp")
def datasets_remove(name: Dataset, debug: Debug = False) -> None:
    """Forget where a dataset lies. Its files stay."""
    from forgeprep.commands.terminal import console
    from forgeprep.datasets import dataset_name
    from forgeprep.errors import UsageError
    from forgeprep.io.user_settings import keep_root, read_roots

    kept, name = read_roots(), dataset_name(name)
    if name not in kept:
        raise UsageError(f"no folder is kept for '{name}'; those that are: {', '.join(sorted(kept)) or 'none'}")
    file = keep_root(name, None)
    console.print(f"{name}: {kept[name]} is forgotten, in {file}; its files stay", markup=False)


@app.command("roots", cls=Command, epilog="forgeprep datasets roots --json")
def datasets_roots(as_json: Json = False, debug: Debug = False) -> None:
    """List where datasets lie, as far as that is kept or configured here."""
    from forgeprep.commands.terminal import console, print_json
    from forgeprep.commands.where import roots_given

    found = roots_given(Path.cwd())
    if as_json:
        print_json([{**one, "root": str(one["root"])} for one in found])
        return
    for one in found:
        absent = "" if one["there"] else "; there is no such folder"
        console.print(f"{one['dataset']:<13} {one['root']} ({one['origin']}{absent})", markup=False)
    if not found:
        console.print("no folder is kept or configured; 'forgeprep datasets add NAME FOLDER' keeps one")


def _facts(dataset: Adapter) -> dict[str, Any]:
    from forgeprep.datasets.base import describe

    return {"name": dataset.name, **describe(dataset)}


def _clips(dataset: Adapter, root: Path, params: DatasetParams) -> tuple[Sequence[Clip], list[str]]:
    """What lies under ``root``, at every compression, of which some may not be there; and warnings."""
    from forgeprep.commands import where
    from forgeprep.commands.terminal import counting
    from forgeprep.datasets.base import ScanOptions
    from forgeprep.datasets.find import scan_root
    from forgeprep.errors import UsageError

    clips: Sequence[Clip] = ()
    warnings: list[str] = []
    problems: list[UsageError] = []
    near = where.real_roots_of(dataset.name, (), Path.cwd(), root)
    real_roots = {name: one.value for name, one in near.items()}
    for compression in dataset.compressions or (None,):
        with counting() as tell:
            asked = ScanOptions(
                compressions=(compression,) if compression else None,
                params=params,
                real_roots=real_roots,
                progress=lambda files, tell=tell: tell("files found", files),  # type: ignore[misc]
            )
            try:
                scan = scan_root(dataset, root, asked)
            except UsageError as error:
                problems.append(error)
                continue
        # Of millions of clips, which lie in a table, no list is made.
        clips = [*clips, *scan.clips] if clips else scan.clips
        warnings += scan.warnings
    if not clips:
        raise problems[0]
    return clips, warnings


def _print_facts(dataset: Adapter) -> None:
    from forgeprep.commands.terminal import console
    from forgeprep.datasets.base import describe

    console.print(f"[bold]{dataset.name}[/bold]")
    for label, text in describe(dataset).items():
        for number, line in enumerate(text.splitlines()):
            console.print(f"    {label if number == 0 else '':<14} {line}", markup=False)


def _methods(dataset: Adapter, clips: Sequence[Clip]) -> list[dict[str, Any]]:
    """Each method: its place in the taxonomy, and clips published and found, at each compression."""
    from forgeprep.datasets.taxonomy import Kind, taxonomy

    compressions = sorted({clip.compression for clip in clips}, key=str)
    found = Counter((clip.compression, clip.method) for clip in clips)
    published: Counter[str | None] = Counter()
    for count in dataset.published:
        published[count.method] += count.clips
    kinds: dict[str | None, Kind] = {None: Kind("real", None)}
    kinds.update({**taxonomy().get(dataset.name, {}), **dataset.kinds})
    for clip in clips:
        kinds.setdefault(clip.method, Kind(clip.forgery, clip.family))
    return [
        {
            "forgery": kind.forgery,
            "family": kind.family,
            "method": method,
            "published": published[method] or None,
            "found": {name or "found": found[name, method] for name in compressions},
        }
        for method, kind in kinds.items()
    ]


def _count_frames(text: str, dataset: Adapter, clips: Sequence[Clip], methods: list[dict[str, Any]]) -> None:
    """Add to each method how many frames are taken at most; None where a rule sets no limit.

    Raises:
        UsageError: the rules cannot be read, or name what there is not.
    """
    from pydantic import ValidationError

    from forgeprep.errors import UsageError
    from forgeprep.io.settings import first_problem
    from forgeprep.stages.frames import FramesParams, check_asked, rule_of

    try:
        params = FramesParams(frames=text)
    except ValidationError as error:
        raise UsageError(f"--frames: {first_problem(error)[1]}") from None
    check_asked(params, dataset.methods, clips)
    for one in methods:
        rules = [rule_of(clip, clip.split, params) for clip in clips if clip.method == one["method"]]
        one["frames"] = sum(map(int, rules)) if all(map(str.isdigit, rules)) else None


def _print_methods(methods: Sequence[dict[str, Any]], clips: Sequence[Clip]) -> None:
    from forgeprep.commands.terminal import add_cells, console, light_table, print_table

    of_frames = ["frames"] if "frames" in methods[0] else []
    table = light_table(
        "methods: clips published, clips found" if clips else "methods: clips published",
        ["forgery", "family", "method"],
        ["published", *methods[0]["found"], *of_frames],
    )
    for one in methods:
        told = f"{one['published']:,}" if one["published"] else "-"
        numbers = [f"{number:,}" for number in one["found"].values()]
        numbers += [f"{one['frames']:,}" if one["frames"] is not None else "-"] if of_frames else []
        add_cells(table, one["forgery"], one["family"] or "-", one["method"] or "-", told, *numbers)
    print_table(table)
    if of_frames and all(one["frames"] is not None for one in methods):
        real, fake = (sum(one["frames"] for one in methods if bool(one["method"]) == fake) for fake in (False, True))
        console.print(f"frames at most, of all compressions together: {real:,} real, {fake:,} fake")
