"""What a table of a paper is, as its file in ``tables/`` says it, and which tables there are.

A table has *rows*, each a training or two, and *blocks* of columns, each a figure of what a training says of a data
set. A *cell* is one training and one such figure.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from forgeprep.errors import ForgeprepError, unknown_name
from forgeprep.io.settings import first_problem

Level = Literal["method", "forgery", "family", "identity"]
TESTED = "tested"
"""As what is trained on: the data set of the column."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Data(_Part):
    """A data set that a table needs.

    Attributes:
        dataset: its name among forgeprep's datasets.
        compression: of its clips; None where it has one alone.
        make: arguments of ``forgeprep run`` that make its shards as the paper has them, but for ``--out``.
        quick: settings of ``forgeprep run`` by name, for the small shards that ``--quick`` makes of the demo.
    """

    dataset: str
    compression: str | None = None
    make: str
    quick: dict[str, Any] = Field(default_factory=dict)


class First(_Part):
    """A training that comes before a row's own.

    Attributes:
        model, options, settings: as of a row.
        gives: what the row's training takes of it: its weights to start from (``init``), or its ``features``.
    """

    model: str
    options: dict[str, Any] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)
    gives: Literal["init", "features"] = "init"


class Row(_Part):
    """A row: what is trained.

    Attributes:
        name: as the table shows it.
        model: a forgery model.
        options: of the model.
        settings: of the recipe, over the model's own.
        reading: options of the model that say how its output is read, so that several rows share a training.
        weights: ``optional``, pretrained weights are taken where they are given; ``required``; ``none``, the row is
            trained from random weights.
        first: what is trained before.
        train: names of data sets, or ``tested``; None as the table says.
        learn: a level of the label tree and its classes: from fakes of these alone.
        published: title of a block -> column -> the paper's figure, in per cent; ``model`` takes those that stand in
            ``published.yaml`` for the model, under the block's ``published``.
    """

    name: str
    model: str
    options: dict[str, Any] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)
    reading: dict[str, Any] = Field(default_factory=dict)
    weights: Literal["optional", "required", "none"] = "optional"
    first: First | None = None
    train: str | tuple[str, ...] | None = None
    learn: dict[Level, tuple[str, ...]] = Field(default_factory=dict)
    published: dict[str, dict[str, float]] | Literal["model"] = Field(default_factory=dict)


class Column(_Part):
    """A column that differs from its block.

    Attributes:
        of: what stands for ``{}`` in the figure's path.
        data: the data set that is tested.
        learn, settings: those of the rows' trainings for this column, in the place of or over the rows' own.
    """

    of: str | None = None
    data: str | None = None
    learn: dict[Level, tuple[str, ...]] | None = None
    settings: dict[str, Any] = Field(default_factory=dict)


class Block(_Part):
    """Columns that show one figure.

    Attributes:
        title: as the table shows it.
        figure: a path into what :func:`forgeprep.training.reproduce.figures.figures_of` gives, ``{}`` for the column.
        columns: name -> what stands for ``{}``, or a :class:`Column`; empty with ``each``.
        each: a column for each class of this level, as the rows have.
        data: the data set that is tested.
        train: what the rows are trained on for these columns; None as the row or the table says.
        average: a last column with the mean of the others that are defined.
        published: where the figures of a row stand in ``published.yaml``, if not under the block's own title;
            ``{row}`` is the row's name.
    """

    title: str
    figure: str
    columns: dict[str, str | Column] = Field(default_factory=dict)
    each: Level | None = None
    data: str
    train: str | tuple[str, ...] | None = None
    average: bool = False
    published: str | None = None


class Quick(_Part):
    """What ``--quick`` changes: settings of all trainings, options by model, models that stand in, samples judged."""

    settings: dict[str, Any] = Field(default_factory=dict)
    options: dict[str, dict[str, Any]] = Field(default_factory=dict)
    models: dict[str, str] = Field(default_factory=dict)
    samples: int = 60


class Table(_Part):
    """A table.

    Attributes:
        paper, table: what the user types.
        citation: the paper.
        title: what is shown.
        number: the paper's own number, or that it is not known to us.
        notes: what has to be known to read it, a line each.
        split: what is tested.
        train: what is trained on, where no row or block says otherwise.
        each: there is a row for each class of this level in the training's shards, all like the one in ``rows``.
    """

    paper: str
    table: str
    citation: str
    title: str
    number: str
    notes: tuple[str, ...] = ()
    data: dict[str, Data]
    split: str = "test"
    train: str | tuple[str, ...]
    each: Level | None = None
    rows: tuple[Row, ...]
    blocks: tuple[Block, ...]
    quick: Quick = Quick()

    @property
    def name(self) -> str:
        """Paper and table."""
        return f"{self.paper} {self.table}"


@cache
def tables() -> dict[tuple[str, str], Table]:
    """All tables, by paper and table, in the order of the papers.

    Raises:
        ForgeprepError: a file of the package is damaged.
    """
    found = {}
    folder = resources.files("forgeprep.training.reproduce").joinpath("tables")
    for file in sorted(folder.iterdir(), key=lambda one: one.name):
        if file.name.endswith(".yaml"):
            table = read_table(file.name, file.read_text(encoding="utf-8"))
            found[table.paper, table.table] = table
    order = list(dict.fromkeys(PAPERS) | dict.fromkeys(paper for paper, _ in found))
    return dict(sorted(found.items(), key=lambda item: order.index(item[0][0])))


PAPERS = ("pixel-level", "two-stream", "local-similarity", "genface", "forgerynet")
"""The order in which papers are listed."""


def read_table(name: str, text: str) -> Table:
    """A table from the text of its file; raises ForgeprepError, which names the file and the first problem."""
    try:
        table = Table.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise ForgeprepError(f"{name}: is no YAML ({' '.join(str(error).split())[:120]})") from None
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise ForgeprepError(f"{name}: {where}: {first_problem(error)[1]}") from None
    for what, data in _mentioned(table):
        if data not in table.data:
            raise ForgeprepError(f"{name}: {what} names the data set '{data}', which is not in `data`")
    return table


def _mentioned(table: Table) -> list[tuple[str, str]]:
    """The data sets that a table names, and where."""
    found = [(f"block {block.title}", block.data) for block in table.blocks]
    for block in table.blocks:
        columns = block.columns.items()
        found += [(f"column {n}", c.data) for n, c in columns if isinstance(c, Column) and c.data is not None]
    trained = [("table", table.train), *((f"row {row.name}", row.train) for row in table.rows)]
    trained += [(f"block {block.title}", block.train) for block in table.blocks]
    for what, names in trained:
        found += [(what, name) for name in as_names(names) if name != TESTED]
    return found


def as_names(names: str | tuple[str, ...] | None) -> tuple[str, ...]:
    """One name or several, or none, as a tuple."""
    return () if names is None else (names,) if isinstance(names, str) else names


def get_table(paper: str, table: str) -> Table:
    """A table.

    Raises:
        UsageError: there is no such paper, or it has no such table.
    """
    found = tables()
    papers = list(dict.fromkeys(name for name, _ in found))
    if paper not in papers:
        raise unknown_name("paper", paper, papers)
    mine = {name.casefold(): one for (its, name), one in found.items() if its == paper}
    if table.casefold() not in mine:
        raise unknown_name(f"table of {paper}", table, [one.table for one in mine.values()])
    return mine[table.casefold()]


def column_of(block: Block, name: str) -> tuple[str, str]:
    """The path of a column's figure, and its data set."""
    column: Any = block.columns[name]
    of = column.of if isinstance(column, Column) else column
    data = column.data if isinstance(column, Column) else None
    return block.figure.replace("{}", name if of is None else of), data or block.data


def trained_for(row: Row, block: Block, name: str) -> Row:
    """The row as it is trained for a column."""
    column = block.columns[name]
    if not isinstance(column, Column) or (column.learn is None and not column.settings):
        return row
    learn = row.learn if column.learn is None else column.learn
    return row.model_copy(update={"learn": learn, "settings": {**row.settings, **column.settings}})


def published_figure(row: Row, block: Block, column: str, of_model: Mapping[str, Any]) -> float | None:
    """The paper's figure in per cent, None where our notes have none.

    Args:
        row: a row.
        block: a block.
        column: a column of it, or ``average``.
        of_model: what ``published.yaml`` has of the row's model.
    """
    found: Any = of_model if row.published == "model" else row.published
    where = block.published if row.published == "model" and block.published else block.title
    for part in (*where.split("/"), column):
        found = found.get(part.replace("{row}", row.name)) if isinstance(found, Mapping) else None
    return None if found is None else float(found)
