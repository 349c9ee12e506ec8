"""``forgeprep datasets``: what is known of each dataset, and how much of it is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from forgeprep.datasets import dataset_names, get_dataset
from forgeprep.datasets.base import Dataset, DatasetParams, ScanOptions, describe
from forgeprep.datasets.taxonomy import Kind, taxonomy
from forgeprep.errors import UsageError
from forgeprep.pipeline.configure import read_options
from forgeprep.report.terminal import add_cells, console, counting, light_table
from forgeprep.schemas.clips import Clip


def print_datasets() -> None:
    """``forgeprep datasets``."""
    for name in dataset_names():
        _print_facts(get_dataset(name))


def show_dataset(name: str, root: Path | None, given: Sequence[str]) -> None:
    """``forgeprep datasets show``."""
    dataset = get_dataset(name)
    params = read_options(name, list(given))
    _print_facts(dataset)
    for option, info in dataset.params.model_fields.items():
        console.print(f"    --option {option}=… (default {info.default!r}): {info.description}", markup=False)
    clips = None if root is None else _clips(dataset, root, params)
    _print_methods(dataset, clips)


def _clips(dataset: Dataset, root: Path, params: DatasetParams) -> list[Clip]:
    """What lies under ``root``, at every compression; some may not be there."""
    clips: list[Clip] = []
    problems: list[UsageError] = []
    for compression in dataset.compressions or (None,):
        with counting() as tell:
            asked = ScanOptions(
                compressions=(compression,) if compression else None,
                params=params,
                progress=lambda files, tell=tell: tell("files found", files),  # type: ignore[misc]
            )
            try:
                scan = dataset.scan(root, asked)
            except UsageError as error:
                problems.append(error)
                continue
        clips += scan.clips
        for warning in scan.warnings:
            console.print(f"warning: {warning}", markup=False)
    if not clips:
        raise problems[0]
    return clips


def _print_facts(dataset: Dataset) -> None:
    console.print(f"[bold]{dataset.name}[/bold]")
    for label, text in describe(dataset).items():
        for number, line in enumerate(text.splitlines()):
            console.print(f"    {label if number == 0 else '':<14} {line}", markup=False)


def _print_methods(dataset: Dataset, clips: Sequence[Clip] | None) -> None:
    """A line a method: its place in the taxonomy, and clips published and found, at each compression."""
    compressions = sorted({clip.compression for clip in clips or []}, key=str)
    found = Counter((clip.compression, clip.method) for clip in clips or [])
    published: Counter[str | None] = Counter()
    for count in dataset.published:
        published[count.method] += count.clips
    kinds: dict[str | None, Kind] = {None: Kind("real", None)}
    kinds.update({**taxonomy().get(dataset.name, {}), **dataset.kinds})
    for clip in clips or []:
        kinds.setdefault(clip.method, Kind(clip.forgery, clip.generator))
    heads = [name or "found" for name in compressions]
    table = light_table(
        "methods: clips published, clips found" if clips else "methods: clips published",
        ["forgery", "generator", "method"],
        ["published", *heads],
    )
    for method, kind in kinds.items():
        told = f"{published[method]:,}" if published[method] else "-"
        numbers = [f"{found[name, method]:,}" for name in compressions]
        add_cells(table, kind.forgery, kind.generator or "-", method or "-", told, *numbers)
    console.print(table)
