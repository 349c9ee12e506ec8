"""A table before it is filled: its data sets, its trainings, and which cells are asked for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch

from forgeprep.datasets import get_dataset
from forgeprep.datasets.taxonomy import class_at, taxonomy
from forgeprep.errors import ForgeprepError, UsageError
from forgeprep.shards.random_access import iter_tables
from forgeprep.shards.read import shard_paths
from forgeprep.training.models import build, get_model
from forgeprep.training.protocols.layout import slug
from forgeprep.training.recipe import make_recipe
from forgeprep.training.reproduce.table import TESTED, Block, Data, First, Row, Table, as_names, column_of, trained_for
from forgeprep.training.run_folder import Training

QUICK: dict[str, Any] = {"epochs": 1, "steps": 30, "batch": 4, "size": 64, "workers": 0, "patience": 1}
"""Settings of all trainings with ``--quick``; a table's own ``quick`` wins."""
_UNKEYED = ("epochs", "patience", "workers", "save_every", "seed", "precision", "compile")
"""Settings with which a training is still the same one, as its folder sees it, or which its folder's name tells."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user asked for.

    Attributes:
        to: the folder to fill.
        shards: name of a data set -> folder.
        quick: the small version.
        seeds: how often each training is made, with the seeds 0, 1, …
        only: patterns ``ROW``, ``ROW/COLUMN`` or ``/COLUMN``; none for all.
        settings: of the recipe of all trainings, over the table's.
        weights: layout (``xception``, ``vgg16``, …) -> file.
    """

    to: Path
    shards: Mapping[str, Path]
    quick: bool = False
    seeds: int = 1
    only: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cell:
    """A row and a column.

    Attributes:
        row: the row.
        block, column: the column; ``column`` is its name.
        path: of its figure.
        data: what is tested.
        train: what the row is trained on for it.
        chosen: whether it was asked for.
    """

    row: Row
    block: Block
    column: str
    path: str
    data: str
    train: tuple[str, ...]
    chosen: bool


def unfolded(table: Table, shards: Mapping[str, Path]) -> Table:
    """The table with a row, and a column, for each class where it says ``each``, as the training's shards have them.

    Where these are not given, as the taxonomy has them. Classes of ForgeryNet's ``identity``, which no column holds,
    become the methods that the shards have of them.

    Raises:
        UsageError: the shards have fewer than two classes.
    """
    places = _places(table, shards)
    if table.each is not None:
        level = table.each
        names = list(dict.fromkeys(name for place in places if (name := class_at(level, place)) is not None))
        if len(names) < 2:
            raise UsageError(f"{table.name} crosses classes of {level}; the shards for training hold fewer than two")
        [row] = table.rows
        rows = tuple(row.model_copy(update={"name": name, "learn": {level: (name,)}}) for name in names)
        blocks = tuple(
            block.model_copy(update={"columns": {name: name for name in names}}) if block.each == level else block
            for block in table.blocks
        )
        table = table.model_copy(update={"rows": rows, "blocks": blocks})
    return table.model_copy(update={"rows": tuple(_with_methods(row, places) for row in table.rows)})


def with_model(table: Table, model: str) -> Table:
    """The table with another model: in the place of the rows' own where these differ in what they learn from, and of
    the one that gives features; else as a row of its own above them. With ``quick`` nothing stands in for it.
    """
    kept = {old: new for old, new in table.quick.models.items() if old != model}
    table = table.model_copy(update={"quick": table.quick.model_copy(update={"models": kept})})
    if table.each is not None or any(row.learn for row in table.rows):
        rows = tuple(
            row.model_copy(update={"model": model, "options": {}, "reading": {}, "first": None, "published": {}})
            for row in table.rows
        )
    else:
        base = table.rows[0]
        own: dict[str, Any] = {"name": model, "published": {}, "options": {}, "reading": {}}
        if base.first is not None and base.first.gives == "features":
            own |= {"first": First(model=model, gives="features"), "options": base.options}
        else:
            own |= {"model": model, "first": None, "settings": {}}
        rows = (base.model_copy(update=own), *table.rows)
    return table.model_copy(update={"rows": rows})


def _with_methods(row: Row, places: Sequence[Mapping[str, Any]]) -> Row:
    wanted = row.learn.get("identity")
    if wanted is None:
        return row
    methods = tuple(place["method"] for place in places if class_at("identity", place) in wanted)
    return row.model_copy(update={"learn": {"method": methods}})


def _places(table: Table, shards: Mapping[str, Path]) -> list[dict[str, Any]]:
    """The places in the label tree of the fakes that the table is trained on, by method."""
    names = [name for name in as_names(table.train) if name != TESTED] or list(table.data)
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for name in names:
        if name in shards:
            for path in shard_paths(shards[name], "train"):
                for rows in iter_tables(path, _TREE):
                    kinds = rows.group_by(list(_TREE)).aggregate([]).to_pylist()
                    found |= {tuple(kind.values()): kind for kind in kinds if kind["label"]}
        elif not any(one in shards for one in names):
            for method, kind in taxonomy().get(table.data[name].dataset, {}).items():
                place = {"label": 1, "forgery": kind.forgery, "family": kind.family, "method": method}
                found |= {tuple(place.values()): place} if kind.forgery != "real" else {}
    return [found[key] for key in sorted(found, key=lambda key: str(key[-1]))]


_TREE = ("label", "forgery", "family", "method")


def cells_of(table: Table, only: Sequence[str] = ()) -> list[Cell]:
    """All cells, row by row.

    Raises:
        UsageError: a pattern fits no cell.
    """
    cells = []
    for row in table.rows:
        for block in table.blocks:
            for name in block.columns:
                path, data = column_of(block, name)
                names = as_names(row.train) or as_names(block.train) or as_names(table.train)
                train = tuple(data if one == TESTED else one for one in names)
                chosen = not only or any(_fits(pattern, row, block, name) for pattern in only)
                cells.append(Cell(trained_for(row, block, name), block, name, path, data, train, chosen))
    for pattern in only:
        if not any(_fits(pattern, c.row, c.block, c.column) for c in cells):
            rows = ", ".join(row.name for row in table.rows)
            columns = ", ".join(dict.fromkeys(c.column for c in cells))
            raise UsageError(f"--only {pattern}: fits no cell; rows: {rows}; columns: {columns}")
    return cells


def _fits(pattern: str, row: Row, block: Block, column: str) -> bool:
    rows, _, columns = pattern.casefold().partition("/")
    names = [column, block.title, f"{block.title}: {column}"]
    return fnmatchcase(row.name.casefold(), rows or "*") and any(
        fnmatchcase(name.casefold(), columns or "*") for name in names
    )


def trainings_of(table: Table, asked: Asked, row: Row, train: tuple[str, ...], seed: int) -> list[Training]:
    """What is trained for a row: its own training, last, and before it the one that it starts from.

    The folder's name holds a digest of what the table says, so that rows which share a training share its folder.

    Raises:
        UsageError: a model, an option or a setting that does not exist.
    """
    chain: list[Training] = []
    base = {"train": list(train), "learn": {level: list(names) for level, names in row.learn.items()}}
    if row.first is not None:
        chain.append(_training(table, asked, row, row.first, base, train, seed))
    after = {"first": chain[0].run.name} if chain else {}
    own = _training(table, asked, row, row, base | after, train, seed)
    if row.first is not None and row.first.gives == "features":
        own = replace(own, options={**own.options, "features": str(chain[0].run.resolve())})
    elif chain:
        own = replace(own, init=chain[0].run, weights=None)
    return [*chain, own]


def _training(
    table: Table, asked: Asked, row: Row, step: Row | First, base: Mapping[str, Any], train: tuple[str, ...], seed: int
) -> Training:
    model = table.quick.models.get(step.model, step.model) if asked.quick else step.model
    stands_in = model != step.model
    options = {} if stands_in else dict(step.options)
    settings = {**({} if stands_in else step.settings)}
    if asked.quick:
        options |= table.quick.options.get(model, {})
        settings |= {**QUICK, **table.quick.settings}
        if get_model(model).fixed or not get_model(model).size:
            settings["size"] = None
    settings |= asked.settings
    settings |= {"seed": seed} | ({"methods": list(row.learn["method"])} if "method" in row.learn else {})
    file = _weights(asked, row, model)
    said = {
        "model": model, "options": options, "weights": file is not None, **base,
        "settings": {name: value for name, value in settings.items() if name not in _UNKEYED and value is not None},
    }  # fmt: skip
    digest = hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()[:8]
    kinds = [(level, names[0]) for level, names in row.learn.items() if level != "method"]
    return Training(
        model, tuple(asked.shards[name] for name in train if name in asked.shards),
        asked.to / "trainings" / f"{slug(model)}-{digest}-seed{seed}",
        make_recipe(model, settings), options, file, kind=kinds[0] if kinds else None,
    )  # fmt: skip


def _weights(asked: Asked, row: Row, model: str) -> Path | None:
    record = get_model(model).weights
    return None if record is None or row.weights == "none" else asked.weights.get(record.layouts)


def lacking(table: Table, asked: Asked, cell: Cell) -> str | None:
    """Why a cell cannot be filled with what was given; None if it can."""
    missing = [name for name in dict.fromkeys((*cell.train, cell.data)) if name not in asked.shards]
    if missing:
        return f"no shards of {missing[0]}{': a demo is made' if asked.quick else ''}"
    model = table.quick.models.get(cell.row.model, cell.row.model) if asked.quick else cell.row.model
    record = get_model(model).weights
    if cell.row.weights == "required" and record is not None and _weights(asked, cell.row, model) is None:
        return f"needs --weights {record.layouts}=FILE"
    return None


def check_models(table: Table, asked: Asked, cells: Iterable[Cell]) -> None:
    """See that this version has every model, option and setting of the chosen rows, before anything is trained.

    Raises:
        UsageError: it has not; the message names the table and the row. Or weights are given that no row takes.
    """
    cells, seen = tuple(cells), set()
    _check_weights(table, asked, [*table.rows, *(cell.row for cell in cells)])
    for row in {cell.row.name: cell.row for cell in cells if cell.chosen}.values():
        try:
            for training in trainings_of(table, asked, row, (), 0):
                options = {name: value for name, value in training.options.items() if name != "features"}
                judged = {**options, **(row.reading if training.model == row.model else {})}
                key = json.dumps([training.model, judged], default=str)
                if key not in seen:
                    _try(training.model, judged)
                    seen.add(key)
        except UsageError as error:
            raise UsageError(f"{table.name}, row '{row.name}': {error}") from None


def _check_weights(table: Table, asked: Asked, rows: Iterable[Row]) -> None:
    models = {step.model for row in rows if row.weights != "none" for step in (row, row.first) if step is not None}
    records = [get_model(model).weights for model in sorted(models)]
    taken = sorted({record.layouts for record in records if record is not None})
    for name in asked.weights.keys() - taken:
        takes = f"takes {', '.join(taken)}" if taken else "has no network that takes any"
        raise UsageError(f"--weights {name}: {table.name} {takes}")


def _try(model: str, options: Mapping[str, Any]) -> None:
    """Make a network without memory for its weights."""
    try:
        with torch.device("meta"):
            build(model, options)
    except (NotImplementedError, RuntimeError):  # Another package's network may compute with its weights at once.
        build(model, options)


def assigned(
    table: Table, given: Sequence[tuple[str | None, Path]], *, quick: bool
) -> tuple[dict[str, Path], list[str]]:
    """The folder of each data set, and what the user should know of them, a line each.

    A folder without a name is taken for the data sets that it holds; with ``quick`` for all.

    Raises:
        UsageError: a name that the table does not know, no shards, shards of another data set without a name, or two
            folders for one data set.
    """
    found: dict[str, Path] = {}
    named: set[str] = set()
    notes = []
    for name, out in given:
        held = holdings(out, ("train", table.split))
        if not held:
            raise UsageError(f"{out}: holds no shards; give the --out folder of a finished run")
        fitting = [n for n, data in table.data.items() if own_of(data, held) == {(data.dataset, data.compression)}]
        loosely = [
            n
            for n, data in table.data.items()
            if data.compression is None and {one for one, _ in own_of(data, held)} == {data.dataset}
        ]
        fitting = fitting or loosely
        told = ", ".join(sorted(" ".join(part for part in one if part) for one in held))
        if name is None:
            names = list(table.data) if quick else fitting
            if not names:
                takes = ", ".join(table.data)
                raise UsageError(f"{out}: holds {told}, and {table.name} takes {takes}; give --shards NAME=DIR")
            if all(found.get(n, out) != out for n in names):
                raise UsageError(f"{out}: {found[names[0]]} is taken for {', '.join(names)} already; leave one out")
            found |= {n: out for n in names if n not in found}
        elif name not in table.data:
            raise UsageError(f"--shards {name}: {table.name} takes {', '.join(table.data)}")
        elif name in named:
            raise UsageError(f"--shards {name} is given twice; leave one out")
        else:
            found[name] = out
            named.add(name)
            if name not in fitting and not quick:
                notes.append(f"{name}: {out} holds {told}, not the paper's data: its figures are not comparable.")
    return found, notes


def own_of(data: Data, held: Iterable[tuple[str, str | None]]) -> set[tuple[str, str | None]]:
    """What shards hold besides the reals that a data set takes from another dataset."""
    return {one for one in held if one[0] not in get_dataset(data.dataset).reals_from}


def holdings(out: Path, splits: Iterable[str]) -> set[tuple[str, str | None]]:
    """Dataset and compression of the samples in the first shards of each split; perturbed ones count as another set."""
    names = ["dataset", "compression", "perturbation"]
    found = set()
    for split in splits:
        for path in _some(shard_paths(out, split)):
            for rows in iter_tables(path, names):
                for kind in rows.group_by([n for n in names if n in rows.column_names]).aggregate([]).to_pylist():
                    perturbed = "perturbed " if kind.get("perturbation") else ""
                    found.add((perturbed + kind["dataset"], kind["compression"]))
    return found


def _some(paths: Sequence[Path]) -> Iterator[Path]:
    yield from paths[:4]


def commands_for(table: Table, missing: Iterable[str]) -> list[str]:
    """The command that makes the shards of each data set, a line each."""
    lines = []
    for name in missing:
        data = table.data[name]
        lines.append(f"forgeprep run {data.dataset} {data.make} --out shards/{name}".replace("  ", " "))
    return lines


def first_reason(reasons: Iterable[str]) -> ForgeprepError:
    """What is raised where no cell at all could be filled."""
    return ForgeprepError(f"no cell could be filled: {next(iter(reasons), 'nothing was asked for')}")
