"""Write the reference pages of the documentation from the code: ``python tools/reference.py FOLDER``.

The site's build calls it; nothing of what it writes is kept in the repository.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

PYTHON = {
    "Make shards": ("forgeprep.pipeline.configure", "forgeprep.pipeline.run", "forgeprep.pipeline.add"),
    "Read shards": (
        "forgeprep.reader",
        "forgeprep.torch",
        "forgeprep.shards.read",
        "forgeprep.shards.sequences",
        "forgeprep.shards.verify",
    ),
    "Datasets": (
        "forgeprep.datasets.base",
        "forgeprep.datasets.listing",
        "forgeprep.datasets.scan",
        "forgeprep.datasets.splits",
        "forgeprep.datasets.taxonomy",
        "forgeprep.schemas.clips",
    ),
    "Stages and samples": (
        "forgeprep.stages.base",
        "forgeprep.schemas.columns",
        "forgeprep.schemas.samples",
        "forgeprep.schemas.drops",
    ),
    "Faces": (
        "forgeprep.faces.detectors.base",
        "forgeprep.faces.detectors.scaled",
        "forgeprep.faces.landmarkers.base",
        "forgeprep.faces.landmarkers.window",
    ),
    "Perturbations": ("forgeprep.ops.perturb.catalogue",),
    "Formats": ("forgeprep.shards.formats.base", "forgeprep.export.base"),
    "Arithmetic": ("forgeprep.ops.geometry", "forgeprep.ops.masks", "forgeprep.ops.noise", "forgeprep.ops.similarity"),
    "Video": ("forgeprep.media.video", "forgeprep.media.frames", "forgeprep.media.regions"),
    "Training": (
        "forgeprep.training.models.record",
        "forgeprep.training.models.base",
        "forgeprep.training.evaluation.metrics",
        "forgeprep.training.trainer",
        "forgeprep.training.recipe",
        "forgeprep.training.run_folder",
    ),
    "Files and errors": ("forgeprep.io.safe_files", "forgeprep.errors"),
}
"""What the Python reference shows: heading -> modules."""


def write(folder: Path) -> None:
    """Write all pages into ``folder``; a page that has not changed keeps its time stamp."""
    pages = {
        "cli": cli_page(),
        "columns": columns_page(),
        "drops": drops_page(),
        "datasets": datasets_page(),
        "models": models_page(),
        "perturbations": perturbations_page(),
        "python": python_page(),
    }
    pages["index"] = index_page(pages)
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in pages.items():
        text, file = "\n".join(lines) + "\n", folder / f"{name}.md"
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table; bars within cells are escaped."""
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    return [f"| {' | '.join(row)} |" for row in ([*heads], ["---"] * len(heads), *cells)]


def index_page(pages: Iterable[str]) -> list[str]:
    """The list of the other pages."""
    return ["# Reference", "", "These pages are made from the code.", "", "```{toctree}", *pages, "```"]


def cli_page() -> list[str]:
    """Every command with its arguments and options, grouped as ``--help`` groups them."""
    import typer.main

    from forgeprep.cli import app

    command = app if hasattr(app, "list_commands") else typer.main.get_command(app)
    lines = ["# Command line", ""]
    for names, one in _commands(command, ()):
        lines += [f"## forgeprep {' '.join(names)}", "", (one.help or "").replace("\b", "").strip(), ""]
        lines += _options(one)
        if one.epilog:
            lines += ["```sh", one.epilog.strip(), "```", ""]
    return lines


def _commands(group: Any, names: tuple[str, ...]) -> Iterable[tuple[tuple[str, ...], Any]]:
    """Commands below a group, with their names; a group that does something by itself comes before its commands."""
    import click

    context = click.Context(group)
    if names and group.invoke_without_command:
        yield names, group
    for name in group.list_commands(context):
        one = group.get_command(context, name)
        if hasattr(one, "list_commands"):
            yield from _commands(one, (*names, name))
        elif not one.hidden:
            yield (*names, name), one


def _options(command: Any) -> list[str]:
    import click

    from forgeprep.commands.groups import plain_name

    context = click.Context(command)
    panels: dict[str, list[list[str]]] = {}
    for parameter in command.params:
        if getattr(parameter, "hidden", False) or parameter.name == "help":
            continue
        argument = parameter.param_type_name == "argument"
        panel = getattr(parameter, "rich_help_panel", None) or ("Arguments" if argument else "Options")
        name, told = parameter.get_help_record(context)
        panels.setdefault(panel, []).append([f"`{plain_name(name, argument)}`", " ".join(told.split())])
    lines = []
    for panel, rows in panels.items():
        lines += [*table([panel, ""], rows), ""]
    return lines


def _kind(column: Any) -> str:
    from forgeprep.schemas.columns import type_text

    return "picture" if column.kind == "image" else type_text(column.type)


def columns_page() -> list[str]:
    """The columns of shards."""
    from forgeprep.schemas.samples import SAMPLE_COLUMNS, SEQUENCE_COLUMNS

    rows = [
        [f"`{c.name}`", "every" if c.stage == "key" else c.stage, _kind(c), "yes" if c.nullable else "", c.doc]
        for c in SAMPLE_COLUMNS
    ]
    more = [[f"`{c.name}`", _kind(c), c.doc] for c in SEQUENCE_COLUMNS]
    return [
        "# Columns",
        "",
        "A sample is a face in one frame, and a row of a shard. A run has the columns of its stages.",
        "",
        *table(["column", "stage", "type", "null?", "what it holds"], rows),
        "",
        "## Sequences",
        "",
        "A sample of several frames has lists in place of what differs between its frames, and these columns:",
        "",
        *table(["column", "type", "what it holds"], more),
    ]


def drops_page() -> list[str]:
    """Why a planned sample was not made."""
    from forgeprep.schemas.drops import REASONS, TRANSIENT

    rows = [[f"`{reason}`", meaning, "yes" if reason in TRANSIENT else ""] for reason, meaning in REASONS.items()]
    note = "Planned samples = rows + drops, always. `--retry-failed` makes those again that may work on another try."
    return ["# Drop reasons", "", note, "", *table(["reason", "meaning", "another try?"], rows)]


def datasets_page() -> list[str]:
    """What is known of every dataset."""
    from forgeprep.datasets import dataset_names, get_dataset
    from forgeprep.datasets.base import describe
    from forgeprep.datasets.taxonomy import taxonomy

    lines = ["# Datasets", ""]
    for name in dataset_names():
        dataset = get_dataset(name)
        facts = {label: text for label, text in describe(dataset).items() if label not in ("name", "title")}
        layout = facts.pop("layout", "").split("; ")
        lines += [f"## {name}: {dataset.title}", "", *table(["", ""], facts.items()), ""]
        lines += ["Files that are looked for:", "", "```text", *layout, "```", ""]
        options = [[f"`{o}`", repr(i.default), i.description or ""] for o, i in dataset.params.model_fields.items()]
        if options:
            lines += [*table(["`--option`", "default", ""], options), ""]
        published: Counter[str | None] = Counter()
        for count in dataset.published:
            published[count.method] += count.clips
        kinds = {**taxonomy().get(name, {}), **dataset.kinds}
        counts = {method: f"{published[method]:,}" if published[method] else "-" for method in kinds}
        rows = [[method, kind.forgery, kind.family or "-", counts[method]] for method, kind in kinds.items()]
        if rows:
            lines += [*table(["method", "forgery", "family", "clips published"], rows), ""]
    return lines


def models_page() -> list[str]:
    """Every forgery model with its options and recipe."""
    from forgeprep.training.models import FILLED, get_model, model_names, options_of, parameters_of
    from forgeprep.training.recipe import Recipe, make_recipe

    rows = [
        [f"`{m.name}`", f"{parameters_of(m):,}", str(m.size or "clip"), m.recipe_name, m.source]
        for m in map(get_model, model_names())
    ]
    lines = ["# Forgery models", "", *table(["model", "parameters", "input", "recipe", "paper"], rows), ""]
    told = [[f"`{name}`", repr(info.default), info.description or ""] for name, info in Recipe.model_fields.items()]
    lines += ["## Settings of a recipe", "", *table(["`--set`", "default", ""], told), ""]
    for model in map(get_model, model_names()):
        own = make_recipe(model.name, {}).model_dump(exclude_defaults=True)
        options = [f"{n}={d!r}" for n, (_, d) in options_of(model.name).items() if n not in FILLED]
        lines += [f"## {model.name}", ""]
        lines += [f"Options: {', '.join(f'`{o}`' for o in options)}.", ""] if options else []
        lines += [f"Recipe, where it differs: {', '.join(f'`{n}={v}`' for n, v in own.items())}.", ""]
    return lines


def perturbations_page() -> list[str]:
    """The catalogue of perturbations."""
    from forgeprep.report.perturbations import markdown_rows

    picture = "![every perturbation at severity 1 to 5](../perturbations.jpg)"
    return ["# Perturbations", "", picture, "", *markdown_rows()]


def python_page() -> list[str]:
    """The public modules."""
    lines = ["# Python", ""]
    for heading, modules in PYTHON.items():
        lines += [f"## {heading}", ""]
        for module in modules:
            lines += [f"### {module}", "", "```{eval-rst}", f".. automodule:: {module}", "   :members:", "```", ""]
    return lines


if __name__ == "__main__":
    write(Path(sys.argv[1]))
