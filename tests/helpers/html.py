"""The report's page taken apart."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

from forgeprep.report import page

VOID = {"meta", "img", "rect", "path", "circle", "br", "input"}


NASTY = "<script>alert('x')</script>\"&<img src=http://x.example/a.png onerror=alert(1)>"


class Parsed(HTMLParser):
    """A page taken apart: every element must be closed in its place."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.texts: list[str] = []
        self._rows: list[list[str]] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        own = dict(attributes)
        self.elements.append((name, own))
        if name not in VOID:
            self.open.append(name)
        if name == "table":
            self._rows = self.tables[str(own["id"])] = []
        elif name == "tr":
            self._rows.append([])
        elif name in ("td", "th"):
            self._rows[-1].append("")

    def handle_endtag(self, name: str) -> None:
        if name not in VOID:
            assert self.open.pop() == name

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if {"td", "th"} & set(self.open) and "svg" not in self.open:
            self._rows[-1][-1] += data

    def attributes(self, name: str) -> list[dict[str, str | None]]:
        return [own for element, own in self.elements if element == name]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def write_report(out: Path, file: Path | None = None, *, table: Path | None = None) -> Path:
    return page.write_page(page.gather(out), file or out / "report" / "index.html", table)


def parsed(out: Path) -> Parsed:
    return Parsed(write_report(out).read_text(encoding="utf-8"))
