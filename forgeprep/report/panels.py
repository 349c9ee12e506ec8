"""The pictures that a report shows of a sample, each drawn to one size: the columns, and the mask on the crop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from forgeprep.errors import UsageError
from forgeprep.ops.geometry import matrix_of_row, through
from forgeprep.ops.similarity import similarity_map, unpack_grid
from forgeprep.schemas.columns import Column
from forgeprep.stages import columns_of

UInt8 = npt.NDArray[np.uint8]
SIDE = 240
"""Side of a drawn picture in pixels."""

EMPTY = (236, 238, 241)
RED, CYAN = (255, 40, 40), (0, 225, 255)
"""The mask that forgeprep made, and the dataset's own."""
DOT, RIM = (90, 255, 90), (20, 40, 20)
"""Landmarks."""
VEIL, FILL = 0.2, 0.45
"""How much of its colour covers a mask that stands alone, and what only one of two masks calls forged."""
LEAST_OUTLINED = 0.002
"""Parts of a sparse mask smaller than this share of the picture get no outline; their fill shows them."""
LONGEST_MEANING = 32
"""Characters of what a picture means: more do not fit above it."""


@dataclass(frozen=True, slots=True)
class SheetRow:
    """A sample to show, its pictures decoded.

    ``original`` is the original's crop, or None where there is none; ``why`` it was picked, "" if it was by spreading.
    """

    heading: str
    sample: dict[str, Any]
    original: Any | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One of the pictures that a report shows of a sample.

    Attributes:
        name: the column, or ``original`` or ``overlay``.
        heading: what stands above it.
        meaning: what it shows, in a few words.
        draw: gives it as uint8 (SIDE, SIDE, 3) RGB, or None where the sample lacks it.
        of_fakes: whether only fakes have something to show.
    """

    name: str
    heading: str
    meaning: str
    draw: Callable[[SheetRow], UInt8 | None]
    of_fakes: bool = False


class Drawn(NamedTuple):
    """A mask on a picture, its colour, and whether it may be specks, whose every line would hide the rest."""

    inside: npt.NDArray[np.bool_]
    colour: tuple[int, int, int]
    sparse: bool


def original(row: SheetRow) -> UInt8 | None:
    """The original's crop."""
    return None if row.original is None else _fit(row.original)


def stored(name: str, row: SheetRow) -> UInt8 | None:
    """A column's picture as it is stored."""
    value = row.sample.get(name)
    return None if value is None else _fit(value)


def overlay(row: SheetRow) -> UInt8 | None:
    """The crop with its masks."""
    return None if row.sample.get("mask") is None else _overlaid(_fit(row.sample["image"]), _masks(row.sample))


def difference(row: SheetRow) -> UInt8 | None:
    """The evidence with the outlines of the masks; gray, so that their colours mean what they mean on the crop."""
    value = row.sample.get("difference")
    return None if value is None else _outlined(_fit(value), _masks(row.sample), 1)


def similarity(row: SheetRow) -> UInt8 | None:
    """The similarity map, a square of pixels for each pair."""
    bits = row.sample.get("similarity")
    return None if bits is None else _map(bits, row.sample["similarity_side"])


def landmarks(row: SheetRow) -> UInt8 | None:
    """The crop with its landmarks, each a dot with a dark rim, so that it shows on any skin."""
    found = row.sample.get("landmarks")
    if found is None:
        return None
    picture = row.sample["image"]
    points = through(matrix_of_row(row.sample), np.array(found, np.float64).reshape(-1, 2))
    drawn, scale = _fit(picture), SIDE / max(picture.shape[:2])
    # Sixteenths of a pixel.
    places = np.rint(16 * ((points + 0.5) * scale - 0.5)).astype(int)
    size = 1 if len(places) > 20 else 2
    for colour, radius in ((RIM, size + 1), (DOT, size)):
        for x, y in places:
            cv2.circle(drawn, (int(x), int(y)), 16 * radius, colour, cv2.FILLED, cv2.LINE_AA, 4)
    return drawn


OWN_PANELS = (
    Panel("original", "original", "the original's crop", original, of_fakes=True),
    Panel("image", "sample", "the crop as stored", partial(stored, "image")),
    Panel("landmarks", "landmarks", "of the original, for fakes too", landmarks),
    Panel("overlay", "mask", "red; cyan: the dataset's own", overlay, of_fakes=True),
    Panel("difference", "difference", "evidence, with the outlines", difference, of_fakes=True),
    Panel("noise", "noise residual", "x5 around mid gray", partial(stored, "noise")),
    Panel("similarity", "similarity", "pair by pair; white: differ", similarity, of_fakes=True),
)
"""Pictures that forgeprep's own stages give, in the order in which they are shown."""


def picture_columns(run: Mapping[str, Any]) -> tuple[Panel, ...]:
    """All that can be drawn of a run's samples: :data:`OWN_PANELS`, then what the columns of other stages say.

    Args:
        run: its ``run.json``. What a function draws is left out where its stage is not installed.

    Raises:
        UsageError: its list of columns is damaged.
    """
    own = {panel.name for panel in OWN_PANELS}
    try:
        columns = columns_of({"stages": [], **run})
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"run.json: its list of columns is damaged ({error}); make the run again") from None
    return (*OWN_PANELS, *(panel_of(column) for column in columns if column.is_drawn and column.name not in own))


def panel_of(column: Column) -> Panel:
    """The panel of a column, drawn as the column says."""
    draw = partial(stored, column.name) if column.draw == "stored" else partial(_by_function, column)
    return Panel(column.name, column.name.replace("_", " "), _brief(column.doc), draw)


def _by_function(column: Column, row: SheetRow) -> UInt8 | None:
    value = row.sample.get(column.name)
    if value is None or not callable(column.draw):
        return None
    place = f"{row.sample['sample_id']}: the column {column.name!r}"
    try:
        picture = np.asarray(column.draw(value, row.sample))
    except Exception as error:  # another package's function may raise anything
        raise UsageError(f"{place} cannot be drawn ({error!r}); its stage is {column.stage!r}") from error
    if picture.dtype != np.uint8 or picture.size == 0 or picture.shape[2:] not in ((), (3,)) or picture.ndim < 2:
        got = f"{picture.dtype} {picture.shape}"
        raise UsageError(
            f"{place} must be drawn as uint8 (H, W) or (H, W, 3), got {got}; its stage is {column.stage!r}"
        )
    return _fit(picture)


def _brief(doc: str) -> str:
    """The beginning of what a column holds."""
    text = doc.partition(";")[0]
    return text if len(text) <= LONGEST_MEANING else f"{text[: LONGEST_MEANING - 1].rstrip()}…"


def _fit(picture: UInt8) -> UInt8:
    """Scale a gray or RGB picture to SIDE pixels, centred, its shape kept."""
    height, width = picture.shape[:2]
    scale = SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    scaled = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    return _centred(scaled if scaled.ndim == 3 else cv2.cvtColor(scaled, cv2.COLOR_GRAY2RGB))


def _centred(picture: npt.NDArray[Any]) -> UInt8:
    square = np.full((SIDE, SIDE, 3), EMPTY, np.uint8)
    height, width = picture.shape[:2]
    y, x = (SIDE - height) // 2, (SIDE - width) // 2
    square[y : y + height, x : x + width] = picture
    return square


def _masks(sample: dict[str, Any]) -> list[Drawn]:
    """The masks that a sample has; where there are two, the one that was made comes last, to be drawn on top."""
    source = sample["mask_source"]
    own = source == "provided"
    found = [(sample.get("mask_provided"), CYAN, True)]
    found.append((sample.get("mask"), CYAN if own else RED, own or source == "literal"))
    return [Drawn(_fit(mask)[..., 0] > 127, colour, sparse) for mask, colour, sparse in found if mask is not None]


def _overlaid(crop: UInt8, masks: Sequence[Drawn]) -> UInt8:
    """Outlines; a mask that stands alone is veiled, of two only what one of them alone calls forged is coloured."""
    veiled = crop.copy()
    for mask in masks:
        others = [other.inside for other in masks if other.colour != mask.colour]
        alone = np.logical_and.reduce([mask.inside, *(~other for other in others)])
        part = FILL if others else VEIL
        veiled[alone] = np.rint((1 - part) * crop[alone] + part * np.array(mask.colour)).astype(np.uint8)
    return _outlined(veiled, masks, 2)


def _outlined(picture: UInt8, masks: Sequence[Drawn], thickness: int) -> UInt8:
    """Draw all outlines of a solid mask, and thinly the large outer ones of a sparse one."""
    drawn = picture.copy()
    for inside, colour, sparse in masks:
        kept = cv2.RETR_EXTERNAL if sparse else cv2.RETR_CCOMP
        contours, _ = cv2.findContours(inside.astype(np.uint8), kept, cv2.CHAIN_APPROX_NONE)
        shown = [line for line in contours if not sparse or cv2.contourArea(line) >= LEAST_OUTLINED * inside.size]
        cv2.drawContours(drawn, shown, -1, colour, 1 if sparse else thickness, cv2.LINE_AA)
    return drawn


def _map(bits: bytes, side: int) -> UInt8:
    """The map in whole pixels a pair, so that no line is thicker than another; reduced only if it is larger."""
    pairs = similarity_map(unpack_grid(bits, side)).astype(np.uint8) * 255
    scale = SIDE // len(pairs)
    if scale:
        scaled: npt.NDArray[Any] = np.kron(pairs, np.ones((scale, scale), np.uint8))
    else:
        scaled = cv2.resize(pairs, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return _centred(np.repeat(scaled[..., None], 3, axis=2))
