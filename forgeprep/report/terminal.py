"""Where all commands print, and the look of their tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

console = Console(soft_wrap=True, highlight=False)


def light_table(title: str, texts: list[str], numbers: list[str], more_texts: Iterable[str] = ()) -> Table:
    """A table without frames, narrow, to leave room for names in a terminal of 80 columns."""
    table = Table(title=title, title_justify="left", caption_justify="left", box=box.SIMPLE_HEAD, show_edge=False)
    table.padding = (0, 1, 0, 0)
    for name in texts:
        table.add_column(name, overflow="fold")
    for name in numbers:
        table.add_column(name, justify="right")
    for name in more_texts:
        table.add_column(name, overflow="fold")
    return table


def add_cells(table: Table, *cells: str) -> None:
    """Add a row; names may hold brackets, which rich would take for markup."""
    table.add_row(*(Text(cell) for cell in cells))


@contextmanager
def counting() -> Iterator[Callable[[str, int], None]]:
    """A line that shows how far something is while it is not known how much there is: ``tell(what, count)``."""
    with console.status("…") as status:
        yield lambda what, count: status.update(f"{count:,} {what}")
