"""Draw a contact sheet: pictures with cv2, text with matplotlib."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from forgeprep.ops.similarity import similarity_map, unpack_grid

if TYPE_CHECKING:
    from forgeprep.report.sheet import SheetRow

UInt8 = npt.NDArray[np.uint8]
CELL = 240
GAP = 14
MARGIN = 28
TEXT = 290
TITLE = 96
BAND = 46
"""Layout in pixels: side of a picture, space between two, border, width of the text column, heights of headings."""

INK, FAINT, ALARM, EMPTY = "#1b1f24", "#6b7280", "#b42318", (236, 238, 241)
RED, CYAN = (255, 40, 40), (0, 225, 255)
"""The mask that forgeprep made, and the dataset's own."""
VEIL, FILL = 0.2, 0.45
"""How much of its colour covers a mask that stands alone, and what only one of two masks calls forged."""
LEAST_OUTLINED = 0.002
"""Parts of a sparse mask smaller than this share of the cell get no outline; their fill shows them."""
DOUBTFUL = 0.5
"""A confidence or an IoU below it is drawn to notice: a mask that shares less than half with the truth is a bad one."""


class Drawn(NamedTuple):
    """A mask in a cell, its colour, and whether it may be specks, whose every line would hide the rest."""

    inside: npt.NDArray[np.bool_]
    colour: tuple[int, int, int]
    sparse: bool


@dataclass(slots=True)
class _Page:
    """The canvas, uint8 RGB, and the texts to be put on it: (x, y, text, size, colour, weight)."""

    canvas: UInt8
    texts: list[tuple[float, float, str, float, str, str]] = field(default_factory=list)

    def write(self, x: float, y: float, text: str, size: float, colour: str = INK, weight: str = "normal") -> None:
        """Put text with its top left corner at (x, y); ``size`` is in pixels."""
        self.texts.append((x, y, text, size, colour, weight))


def draw_sheet(rows: Sequence[SheetRow]) -> UInt8:
    """The sheet, uint8 (H, W, 3) RGB; columns that no sample has are left out."""
    names = _columns(rows)
    headings = sum(number == 0 or rows[number - 1].heading != row.heading for number, row in enumerate(rows))
    width = 2 * MARGIN + TEXT + len(names) * (CELL + GAP) - GAP
    height = TITLE + headings * BAND + len(rows) * (CELL + GAP) + MARGIN
    page = _Page(np.full((height, width, 3), 255, np.uint8))
    _draw_title(page, rows, names)
    y = TITLE
    last = None
    for row in rows:
        if row.heading != last:
            page.canvas[y + BAND - 14 : y + BAND - 13, MARGIN : width - MARGIN] = 210
            page.write(MARGIN, y + 6, row.heading, 20, weight="bold")
            y, last = y + BAND, row.heading
        _draw_text(page, row, y)
        for number, name in enumerate(names):
            x = MARGIN + TEXT + number * (CELL + GAP)
            picture = cell(name, row)
            if picture is None:
                page.canvas[y : y + CELL, x : x + CELL] = EMPTY
                page.write(x + 12, y + 12, "none", 14, FAINT)
            else:
                page.canvas[y : y + CELL, x : x + CELL] = picture
        y += CELL + GAP
    return _with_texts(page)


HEADINGS = {
    "original": ("original", "the original's crop"),
    "image": ("sample", "the crop as stored"),
    "overlay": ("mask", "red; cyan: the dataset's own"),
    "difference": ("difference", "evidence, with the outlines"),
    "noise": ("noise residual", "x5 around mid gray"),
    "similarity": ("similarity", "cell by cell; white: differ"),
}
"""Picture of a sample -> its heading and what it shows."""


def _columns(rows: Sequence[SheetRow]) -> list[str]:
    present = {name for row in rows for name, value in row.sample.items() if value is not None}
    present |= {"overlay"} if "mask" in present else set()
    present |= {"original"} if any(row.sample["label"] == 1 for row in rows) else set()
    return [name for name in HEADINGS if name in present]


def _draw_title(page: _Page, rows: Sequence[SheetRow], names: list[str]) -> None:
    dataset = rows[0].sample["dataset"]
    page.write(MARGIN, 22, dataset, 24, weight="bold")
    why = " or ".join(sorted({row.why for row in rows if row.why}))
    page.write(MARGIN, 56, f"{len(rows)} samples" + (f", some of {why}" if why else ""), 13, FAINT)
    for number, name in enumerate(names):
        x = MARGIN + TEXT + number * (CELL + GAP)
        page.write(x, 30, HEADINGS[name][0], 18, weight="bold")
        page.write(x, 56, HEADINGS[name][1], 13, FAINT)
        if name == "overlay" and any(row.sample.get("mask_provided") is not None for row in rows):
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
        page.write(MARGIN, y + CELL - 15 - 15 * number, line, 11, FAINT)


def cell(name: str, row: SheetRow) -> UInt8 | None:
    """One of ``HEADINGS``, uint8 (CELL, CELL, 3) RGB; None where the sample lacks it."""
    sample = row.sample
    if name == "original":
        return None if row.original is None else _fit(row.original)
    if name == "overlay":
        return None if sample.get("mask") is None else _overlay(_fit(sample["image"]), _masks(sample))
    value = sample.get(name)
    if value is None:
        return None
    if name == "similarity":
        return _similarity(value, sample["similarity_side"])
    if name == "difference":
        # Gray, so that the colours of the outlines mean what they mean on the crop.
        return _outlined(_fit(value), _masks(sample), 1)
    return _fit(value)


def _fit(picture: UInt8) -> UInt8:
    """Scale a gray or RGB picture into a cell, centred, its shape kept."""
    height, width = picture.shape[:2]
    scale = CELL / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    scaled = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    return _centred(scaled if scaled.ndim == 3 else cv2.cvtColor(scaled, cv2.COLOR_GRAY2RGB))


def _centred(picture: npt.NDArray[Any]) -> UInt8:
    cell = np.full((CELL, CELL, 3), EMPTY, np.uint8)
    height, width = picture.shape[:2]
    y, x = (CELL - height) // 2, (CELL - width) // 2
    cell[y : y + height, x : x + width] = picture
    return cell


def _masks(sample: dict[str, Any]) -> list[Drawn]:
    """The masks that a sample has; where there are two, the one that was made comes last, to be drawn on top."""
    source = sample["mask_source"]
    own = source == "provided"
    found = [(sample.get("mask_provided"), CYAN, True)]
    found.append((sample.get("mask"), CYAN if own else RED, own or source == "literal"))
    return [Drawn(_fit(mask)[..., 0] > 127, colour, sparse) for mask, colour, sparse in found if mask is not None]


def _overlay(cell: UInt8, masks: Sequence[Drawn]) -> UInt8:
    """Outlines; a mask that stands alone is veiled, of two only what one of them alone calls forged is coloured."""
    veiled = cell.copy()
    for mask in masks:
        others = [other.inside for other in masks if other.colour != mask.colour]
        alone = np.logical_and.reduce([mask.inside, *(~other for other in others)])
        part = FILL if others else VEIL
        veiled[alone] = np.rint((1 - part) * cell[alone] + part * np.array(mask.colour)).astype(np.uint8)
    return _outlined(veiled, masks, 2)


def _outlined(cell: UInt8, masks: Sequence[Drawn], thickness: int) -> UInt8:
    """Draw all outlines of a solid mask, and thinly the large outer ones of a sparse one."""
    drawn = cell.copy()
    for inside, colour, sparse in masks:
        way = cv2.RETR_EXTERNAL if sparse else cv2.RETR_CCOMP
        contours, _ = cv2.findContours(inside.astype(np.uint8), way, cv2.CHAIN_APPROX_NONE)
        shown = [line for line in contours if not sparse or cv2.contourArea(line) >= LEAST_OUTLINED * inside.size]
        cv2.drawContours(drawn, shown, -1, colour, 1 if sparse else thickness, cv2.LINE_AA)
    return drawn


def _similarity(bits: bytes, side: int) -> UInt8:
    """The map in whole pixels a cell, so that no line is thicker than another; reduced only if it is larger."""
    cells = similarity_map(unpack_grid(bits, side)).astype(np.uint8) * 255
    scale = CELL // len(cells)
    if scale:
        scaled: npt.NDArray[Any] = np.kron(cells, np.ones((scale, scale), np.uint8))
    else:
        scaled = cv2.resize(cells, (CELL, CELL), interpolation=cv2.INTER_AREA)
    return _centred(np.repeat(scaled[..., None], 3, axis=2))


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
    renderer: Any = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    pixels = np.asarray(renderer.buffer_rgba())
    pixels[..., :3], pixels[..., 3] = page.canvas, 255
    figure.draw(renderer)
    return np.ascontiguousarray(pixels[..., :3])
