"""Where all commands print, and the look of their tables."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from forgeprep.io.json_files import json_text

LINES_S = 30.0
"""Seconds between two lines that tell how far work is, where there is no terminal."""

_LEAST_TEXT = 24
"""Columns that sentences in a table need, else they are below its row."""

console = Console(soft_wrap=True, highlight=False)


def light_table(title: str, texts: list[str], numbers: list[str], more_texts: Iterable[str] = ()) -> Table:
    """A table without frames, narrow, to leave room for names in a terminal of 80 columns.

    ``texts`` are names, which are never broken; ``more_texts`` are sentences, which may be.
    """
    table = Table(title=title, title_justify="left", caption_justify="left", box=box.SIMPLE_HEAD, show_edge=False)
    table.padding = (0, 1, 0, 0)
    for name in texts:
        table.add_column(name, no_wrap=True)
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    for name in more_texts:
        table.add_column(name, overflow="fold")
    return table


def print_table(table: Table) -> None:
    """Print a table of :func:`light_table`, or its rows one below the other where the terminal is too narrow.

    So a name is in one piece, and can be copied or searched for.
    """
    widths = [max([len(str(column.header)), *(len(str(cell)) for cell in column.cells)]) for column in table.columns]
    if not (console.is_terminal or "COLUMNS" in os.environ):
        # Programs that read lines have no width.
        wide = max(console.width, sum(widths) + 2 * len(widths))
        Console(file=console.file, width=wide, soft_wrap=True).print(table)
        return
    least = (
        width if column.no_wrap else min(width, _LEAST_TEXT)
        for width, column in zip(widths, table.columns, strict=True)
    )
    if sum(least) + 2 * len(widths) <= console.width:
        console.print(table)
    else:
        for line in _listed(table):
            console.print(line, markup=False)


def _listed(table: Table) -> Iterator[str]:
    """The lines of a table as a list: the names of a row, and below them what it says."""
    kinds = [(str(column.header), column.no_wrap, column.justify == "right") for column in table.columns]
    yield str(table.title or (kinds[0][0] if kinds else ""))
    for cells in zip(*(column.cells for column in table.columns), strict=True):
        row = [(*kind, str(cell)) for kind, cell in zip(kinds, cells, strict=True) if str(cell)]
        yield "  ".join(cell for _, whole, number, cell in row if whole and not number)
        numbers = ", ".join(f"{name} {cell}" for name, _, number, cell in row if number)
        yield from (f"    {line}" for line in (numbers, *(cell for _, whole, _, cell in row if not whole)) if line)
    if table.caption:
        yield str(table.caption)


def add_cells(table: Table, *cells: str) -> None:
    """Add a row; names may hold brackets, which rich would take for markup."""
    table.add_row(*(Text(cell) for cell in cells))


def print_json(value: Any) -> None:
    """Print a value as JSON, by itself: nothing else may go to stdout where it is asked for."""
    print(json_text(value, indent=2, default=str))


def print_broken(broken: Mapping[str, str]) -> None:
    """What other packages add and cannot be used, a line each, with the reason."""
    for name, reason in broken.items():
        console.print(f"{name}  broken: {reason}", markup=False)


def broken_facts(broken: Mapping[str, str]) -> list[dict[str, str]]:
    """The same for ``--json``."""
    return [{"name": name, "broken": reason} for name, reason in broken.items()]


@contextmanager
def document(wanted: bool) -> Iterator[dict[str, Any]]:
    """A document that is printed as JSON at the end, if it is wanted; text for people then goes to standard error.

    Nothing is printed where the command fails.
    """
    found: dict[str, Any] = {}
    before = console.stderr
    console.stderr = wanted or before
    try:
        yield found
    finally:
        console.stderr = before
    if wanted:
        print_json(found)


@contextmanager
def counting() -> Iterator[Callable[[str, int], None]]:
    """A line that shows how far something is while it is not known how much there is: ``tell(what, count)``."""
    if not console.is_terminal:
        latest = ""

        def note(what: str, count: int) -> None:
            nonlocal latest
            latest = f"{count:,} {what}"

        with now_and_then(lambda: console.print(latest) if latest else None):
            yield note
        return
    with console.status("…") as status:
        yield lambda what, count: status.update(f"{count:,} {what}")


@contextmanager
def now_and_then(say: Callable[[], object]) -> Iterator[None]:
    """Inside, ``say()`` is called every :data:`LINES_S`: in a log, lines tell what a bar tells in a terminal."""
    over = threading.Event()

    def speak() -> None:
        while not over.wait(LINES_S):
            say()

    thread = threading.Thread(target=speak, daemon=True, name="forgeprep-lines")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def unattended() -> Iterator[None]:
    """Let work outlive its terminal: a hang-up does not end it, and what cannot be printed any more is lost.

    What is started meanwhile, such as Ray's processes, inherits that the hang-up is ignored.
    """
    _fill_standard_streams()
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    streams = sys.stdout, sys.stderr
    # Python has None for one that was closed, which Ray does not expect.
    sys.stdout, sys.stderr = (
        cast(TextIO, _Lasting(stream or os.fdopen(number, "w", closefd=False)))
        for number, stream in zip((1, 2), streams, strict=True)
    )
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stdout, sys.stderr = streams
        signal.signal(signal.SIGHUP, before)


class _Lasting:
    """A stream that goes on into the void when its other end, a pipe or a terminal, is gone."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            self._silence()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            self._silence()

    def _silence(self) -> None:
        # By its number, so that what is still buffered, and what C libraries print, finds a place to go.
        void = os.open(os.devnull, os.O_WRONLY)
        with suppress(OSError):
            os.dup2(void, self._stream.fileno())
        os.close(void)


def _fill_standard_streams() -> None:
    """Open what the shell closed (``>&-``); else the next file gets its number, and others' messages."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # Takes the lowest free number.
