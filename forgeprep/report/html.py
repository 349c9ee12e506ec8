"""Pieces of a page as strings. Whatever is no :class:`Markup` is escaped: names of files may hold anything."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape

STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: #1b1f24; font: 16px/1.5 system-ui, "Segoe UI", Roboto, Helvetica, sans-serif;
  -webkit-text-size-adjust: 100%; }
main, header { max-width: 1160px; margin: 0 auto; padding: 0 20px; }
header { padding-top: 28px; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 6px; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 44px 0 8px; padding-top: 10px; border-top: 2px solid #1b1f24; }
h3 { font-size: 1.02rem; margin: 26px 0 6px; overflow-wrap: anywhere; }
p { max-width: 72ch; margin: 6px 0 12px; }
.faint, figcaption, caption { color: #5b6471; font-size: .875rem; }
.alert { border-left: 4px solid #b3261e; background: #fdf1f0; padding: 8px 14px; overflow-wrap: anywhere; }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: 4px 16px; padding: 0; margin: 14px 0 0; }
a { color: #1d4e9e; }
.facts { display: flex; flex-wrap: wrap; gap: 8px 32px; margin: 16px 0; padding: 0; }
.facts div { min-width: 84px; }
.facts dt { color: #5b6471; font-size: .8125rem; }
.facts dd { margin: 0; font-size: 1.3rem; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; margin: 10px 0 18px; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: 0 0 6px; }
th, td { padding: 4px 18px 4px 0; text-align: left; vertical-align: top; border-bottom: 1px solid #e3e6ea; }
thead th { vertical-align: bottom; border-bottom: 1.5px solid #8b94a1; font-weight: 600; }
tbody th { font-weight: 400; }
tfoot th, tfoot td { font-weight: 600; border-bottom: 0; }
th.number, td.number { text-align: right; white-space: nowrap; }
td.text, th.text { max-width: 420px; overflow-wrap: break-word; }
tr:has(td.chart) > * { vertical-align: middle; }
details { margin: 12px 0; }
summary { cursor: pointer; }
svg { display: block; }
svg.ranges { width: 100%; height: auto; max-width: 560px; }
svg text { font: 12.5px system-ui, "Segoe UI", Roboto, Helvetica, sans-serif; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 340px), 1fr)); gap: 8px 24px; }
.charts figure { margin: 8px 0; }
.sample { margin: 0 0 20px; padding: 0; }
.sample figcaption { overflow-wrap: anywhere; margin-bottom: 6px; }
.sample figcaption b { color: #1b1f24; }
.cells { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(46%, 180px), 1fr)); gap: 8px; }
.cells.large { grid-template-columns: repeat(auto-fill, minmax(min(46%, 240px), 1fr)); max-width: 780px; }
.cells div { font-size: .8125rem; color: #5b6471; }
.cells img { display: block; width: 100%; height: auto; background: #eceef1; }
.cells img.exact { width: auto; max-width: 100%; }
@media (max-width: 600px) { th, td { padding-right: 12px; } main, header { padding: 0 14px; } }
@media print { nav { display: none; } .sample, tr { break-inside: avoid; } }
"""


class Markup(str):
    """HTML that was made here, not text from outside."""

    __slots__ = ()


def text(value: object) -> Markup:
    """Any value as HTML: markup as it is, all else escaped."""
    return value if isinstance(value, Markup) else Markup(escape(str(value)))


def join(parts: Iterable[object]) -> Markup:
    """Parts one after the other."""
    return Markup("\n".join(text(part) for part in parts))


def tag(name: str, content: object, css: str = "") -> Markup:
    """An element around content.

    >>> tag("p", "a < b", "faint")
    '<p class="faint">a &lt; b</p>'
    """
    css = f' class="{css}"' if css else ""
    return Markup(f"<{name}{css}>{text(content)}</{name}>")


def table(
    anchor: str,
    caption: str,
    heads: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    foot: Sequence[object] | None = None,
) -> Markup:
    """A table that scrolls sideways where the screen is narrow.

    A head that begins with ``>`` is of numbers, set to the right; one with ``*`` is of charts. The first cell of a row
    is its heading.
    """
    kinds = [{">": "number", "*": "chart"}.get(head[:1], "text") for head in heads]

    def line(cells: Sequence[object]) -> str:
        first = f'<th scope="row" class="{kinds[0]}">{text(cells[0])}</th>'
        rest = (f'<td class="{k}">{text(c)}</td>' for k, c in zip(kinds[1:], cells[1:], strict=True))
        return f"<tr>{first}{''.join(rest)}</tr>"

    names = "".join(
        f'<th scope="col" class="{kind}">{escape(head.lstrip(">*"))}</th>'
        for kind, head in zip(kinds, heads, strict=True)
    )
    body = "\n".join(line(row) for row in rows)
    last = f"<tfoot>{line(foot)}</tfoot>" if foot else ""
    return Markup(
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table id="{escape(anchor)}">'
        f"<caption>{escape(caption)}</caption><thead><tr>{names}</tr></thead><tbody>{body}</tbody>{last}</table></div>"
    )


def section(anchor: str, title: str, *parts: object) -> Markup:
    """A part of the page with a heading."""
    return Markup(f'<section id="{escape(anchor)}">\n<h2>{escape(title)}</h2>\n{join(parts)}\n</section>')


def picture(data: bytes, alt: str, side: int, css: str = "") -> Markup:
    """A square picture, PNG or JPEG, inside the page itself."""
    kind = "png" if data.startswith(b"\x89PNG") else "jpeg"
    encoded = base64.b64encode(data).decode()
    css = f' class="{css}"' if css else ""
    return Markup(
        f'<img{css} src="data:image/{kind};base64,{encoded}" alt="{escape(alt)}" width="{side}" height="{side}">'
    )


def facts(pairs: Iterable[tuple[str, object]]) -> Markup:
    """A few figures in a row."""
    items = "".join(f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in pairs)
    return Markup(f'<dl class="facts">{items}</dl>')


def page(title: str, header: Markup, sections: Sequence[tuple[str, str, Markup]]) -> str:
    """The whole document; ``sections`` are anchors, titles and contents.

    Its own policy forbids it to load anything, so that a name that slipped through could not either.
    """
    links = "".join(f'<li><a href="#{escape(anchor)}">{escape(name)}</a></li>' for anchor, name, _ in sections)
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f'<header>\n{header}\n<nav aria-label="Sections"><ul>{links}</ul></nav>\n</header>\n<main>\n'
        + "\n".join(section(anchor, name, content) for anchor, name, content in sections)
        + "\n</main>\n</body>\n</html>\n"
    )
