"""Draw a contact sheet: pictures with cv2, text with matplotlib."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from forgeprep.errors import UsageError
from forgeprep.report.panels import EMPTY, OWN_PANELS, SIDE, Panel, SheetRow
from forgeprep.text import counted

UInt8 = npt.NDArray[np.uint8]
GAP = 14
MARGIN = 28
TEXT = 290
TITLE = 96
BAND = 46
"""Layout in pixels: space between two pictures, border, width of the text column, heights of headings."""

INK, FAINT, ALARM = "#1b1f24", "#6b7280", "#b42318"
DOUBTFUL = 0.5
"""A confidence or an IoU below this is written in red: the mask shares less than half with the truth."""


@dataclass(slots=True)
class _Page:
    """The canvas, uint8 RGB, and the texts to be put on it: (x, y, text, size, colour, weight)."""

    canvas: UInt8
    texts: list[tuple[float, float, str, float, str, str]] = field(default_factory=list)

    def write(self, x: float, y: float, text: str, size: float, colour: str = INK, weight: str = "normal") -> None:
        """Put text with its top left corner at (x, y); ``size`` is in pixels."""
        self.texts.append((x, y, text, size, colour, weight))


def draw_sheet(rows: Sequence[SheetRow], panels: Sequence[Panel] = OWN_PANELS) -> UInt8:
    """The sheet, uint8 (H, W, 3) RGB; pictures that no sample has are left out."""
    shown = _present(rows, panels)
    headings = sum(number == 0 or rows[number - 1].heading != row.heading for number, row in enumerate(rows))
    width = 2 * MARGIN + TEXT + len(shown) * (SIDE + GAP) - GAP
    height = TITLE + headings * BAND + len(rows) * (SIDE + GAP) + MARGIN
    page = _Page(np.full((height, width, 3), 255, np.uint8))
    _draw_title(page, rows, shown)
    y = TITLE
    last = None
    for row in rows:
        if row.heading != last:
            page.canvas[y + BAND - 14 : y + BAND - 13, MARGIN : width - MARGIN] = 210
            page.write(MARGIN, y + 6, row.heading, 20, weight="bold")
            y, last = y + BAND, row.heading
        _draw_text(page, row, y)
        for number, panel in enumerate(shown):
            x = MARGIN + TEXT + number * (SIDE + GAP)
            _draw_panel(page, panel, row, (x, y))
        y += SIDE + GAP
    return _with_texts(page)


def _draw_panel(page: _Page, panel: Panel, row: SheetRow, xy: tuple[int, int]) -> None:
    x, y = xy
    missing = "none"
    try:
        picture = panel.draw(row)
    except UsageError:
        # A picture of another package's stage; the sheet shows the others.
        picture, missing = None, "cannot be drawn"
    if picture is None:
        page.canvas[y : y + SIDE, x : x + SIDE] = EMPTY
        page.write(x + 12, y + 12, missing, 14, FAINT)
    else:
        page.canvas[y : y + SIDE, x : x + SIDE] = picture


def _present(rows: Sequence[SheetRow], panels: Sequence[Panel]) -> list[Panel]:
    present = {name for row in rows for name, value in row.sample.items() if value is not None}
    present |= {"overlay"} if "mask" in present else set()
    present |= {"original"} if any(row.sample["label"] == 1 for row in rows) else set()
    return [panel for panel in panels if panel.name in present]


def _draw_title(page: _Page, rows: Sequence[SheetRow], panels: Sequence[Panel]) -> None:
    dataset = rows[0].sample["dataset"]
    page.write(MARGIN, 22, dataset, 24, weight="bold")
    why = " or ".join(sorted({row.why for row in rows if row.why}))
    page.write(MARGIN, 56, counted(len(rows), "sample") + (f", some of {why}" if why else ""), 13, FAINT)
    for number, panel in enumerate(panels):
        x = MARGIN + TEXT + number * (SIDE + GAP)
        page.write(x, 30, panel.heading, 18, weight="bold")
        page.write(x, 56, panel.meaning, 13, FAINT)
        if panel.name == "overlay" and any(row.sample.get("mask_provided") is not None for row in rows):
            page.write(x, 74, "filled: forged by one of the two alone", 12, FAINT)


def _draw_text(page: _Page, row: SheetRow, y: int) -> None:
    sample = row.sample
    clip = sample["clip_id"].rsplit("/", 1)[-1]
    page.write(MARGIN, y + 2, clip if len(clip) < 24 else clip[:22] + "…", 18, weight="bold")
    width, height = sample["image_size"]
    time_s = sample["timestamp_s"]
    lines = [
        ("split", sample["split"]),
        ("frame", str(sample["frame_index"]) + ("" if time_s is None else f"  ({time_s:.2f} s)")),
        ("track", str(sample["track_id"])),
        *([("compression", sample["compression"])] if sample["compression"] else []),
        ("crop", f"{width} x {height} px"),
    ]
    if sample.get("mask") is not None:
        lines.append(("mask", f"{100 * sample['mask_fraction']:.1f} %  ({sample['mask_source']})"))
    figures = {"confidence": sample.get("mask_confidence"), "IoU with own": sample.get("mask_agreement")}
    told: dict[str, float] = {name: value for name, value in figures.items() if value is not None}
    for name, value in told.items():
        picked = row.why and name.startswith(row.why.split()[-1])
        lines.append((name, f"{value:.2f}{'  (lowest)' if picked else ''}"))
    for number, (name, value) in enumerate(lines):
        bad = told.get(name, 1.0) < DOUBTFUL
        page.write(MARGIN, y + 32 + 22 * number, name, 14, FAINT)
        page.write(MARGIN + 104, y + 32 + 22 * number, value, 14, ALARM if bad else INK, "bold" if bad else "normal")
    if sample["perturbation"]:
        steps = sample["perturbation"].replace("+", " + ")
        page.write(MARGIN, y + 30 + 22 * len(lines), steps if len(steps) <= 42 else f"{steps[:41]}…", 11)
    name = sample["sample_id"]
    name_lines = textwrap.wrap(name if len(name) <= 80 else f"{name[:28]}…{name[-51:]}", 40)
    for number, line in enumerate(reversed(name_lines)):
        page.write(MARGIN, y + SIDE - 15 - 15 * number, line, 11, FAINT)


def _with_texts(page: _Page) -> UInt8:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height, width = page.canvas.shape[:2]
    # At 72 dots an inch, matplotlib's points are pixels.
    figure = Figure(figsize=(width / 72, height / 72), dpi=72)
    figure.patch.set_visible(False)
    for x, y, text, size, colour, weight in page.texts:
        # Names may hold dollar signs, which are mathematics to matplotlib.
        drawn = figure.text(x / width, 1 - y / height, text, fontsize=size, color=colour, weight=weight, va="top")
        drawn.set_fontfamily("DejaVu Sans")
        drawn.set_parse_math(False)
    # Straight into the renderer's pixels: as a matplotlib image, the canvas would be resampled, for seconds.
    renderer: Any = FigureCanvasAgg(figure).get_renderer()
    pixels = np.asarray(renderer.buffer_rgba())
    pixels[..., :3], pixels[..., 3] = page.canvas, 255
    figure.draw(renderer)
    return np.ascontiguousarray(pixels[..., :3])
