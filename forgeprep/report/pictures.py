"""Decode, measure and draw the pictures that the report shows, one sample at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from forgeprep.errors import UsageError, VerifyError
from forgeprep.ops.similarity import similarity_map, unpack_grid
from forgeprep.report.measure import Pick
from forgeprep.report.panels import OWN_PANELS, Panel, SheetRow
from forgeprep.report.sheet import original_of
from forgeprep.shards.encode import encode_image
from forgeprep.shards.random_access import Place, iter_values, read_at
from forgeprep.shards.read import decode_row
from forgeprep.shards.sequences import frame_of, poster

UInt8 = npt.NDArray[np.uint8]

PER_REASON = 3
"""How many samples of each method are shown for each reason."""

WIDEN = 0.1
"""Differences are stray outside the main region, which is first widened by this share of the crop."""

_NOISE_GAIN = 5
_LIKELIHOOD = np.where(np.arange(256) > 0, 1 / (1 + np.exp((128 - np.arange(256)) / 20.0)), 0.0)
"""Level of ``difference`` -> probability that the pixel was forged."""


@dataclass(frozen=True, slots=True)
class NoiseFigures:
    """A residual's mean, mean absolute value and variance; the last two also inside and outside of the mask."""

    mean: float
    absolute: float
    variance: float
    inside: float | None
    outside: float | None


@dataclass(slots=True)
class Shown:
    """A sample whose pictures were decoded.

    Attributes:
        pick: which sample it is.
        values: its columns other than pictures.
        original: the original's sample_id; None where there is none.
        frame: of a sequence, the number of the frame that is shown.
        stray: see :func:`stray_share`.
        noise: figures of its residual; None without one.
        why: why it is shown, in words; "" if it is not.
        panels: name of a panel -> its picture, JPEG or PNG; only of samples that are shown.
    """

    pick: Pick
    values: dict[str, Any]
    original: str | None = None
    frame: int = 0
    stray: float | None = None
    noise: NoiseFigures | None = None
    why: str = ""
    panels: dict[str, bytes] = field(default_factory=dict)


@dataclass(slots=True)
class Pictures:
    """What :func:`look_at_pictures` found.

    Attributes:
        looked_at: every sample whose pictures were decoded.
        sheets: method -> the samples to show, the worst first.
        panels: the pictures that may be shown of a sample.
        problems: what could not be read, in words.
    """

    looked_at: list[Shown] = field(default_factory=list)
    sheets: dict[str, list[Shown]] = field(default_factory=dict)
    panels: Sequence[Panel] = OWN_PANELS
    problems: list[str] = field(default_factory=list)


def look_at_pictures(picks: dict[str, list[Pick]], panels: Sequence[Panel] = OWN_PANELS) -> Pictures:
    """Decode the picked samples, measure them, and draw those that are to be shown."""
    found = Pictures(panels=panels)
    for pick in sorted((p for chosen in picks.values() for p in chosen), key=lambda p: p.place):
        try:
            found.looked_at.append(_measured(pick))
        except (VerifyError, cv2.error) as error:
            found.problems.append(f"{pick.sample_id}: {error}")
    by_method: dict[str, list[Shown]] = defaultdict(list)
    for shown in found.looked_at:
        by_method[shown.pick.method].append(shown)
    found.sheets = {method: _worst_first(by_method[method], picks[method]) for method in picks if by_method[method]}
    _draw([shown for sheet in found.sheets.values() for shown in sheet], found)
    return found


def noise_figures(noise: UInt8, mask: UInt8 | None) -> NoiseFigures:
    """Figures of a stored residual, uint8 (H, W), in levels of 0 to 255; ``mask`` is the stored mask or None."""
    residual = (noise.astype(np.float32) - 128) / _NOISE_GAIN
    inside = outside = None
    if mask is not None and (mask > 0).any() and (mask == 0).any():
        inside, outside = float(residual[mask > 0].var()), float(residual[mask == 0].var())
    return NoiseFigures(float(residual.mean()), float(np.abs(residual).mean()), float(residual.var()), inside, outside)


def _decoded(place: Place, frame: int) -> dict[str, Any]:
    return decode_row(frame_of(read_at(place), frame), place.path)


def _measured(pick: Pick) -> Shown:
    sample = read_at(pick.place)
    number = poster(sample, worst=not pick.even)
    row = decode_row(frame_of(sample, number), pick.place.path)
    mask, noise = row.get("mask"), row.get("noise")
    values = {name: value for name, value in row.items() if not isinstance(value, np.ndarray)}
    shown = Shown(pick, values, original_of(sample), number)
    if mask is not None and row["label"]:
        shown.stray = stray_share(mask, row.get("difference"))
    if noise is not None:
        shown.noise = noise_figures(noise, mask)
    return shown


def _worst_first(found: list[Shown], picks: list[Pick]) -> list[Shown]:
    """The samples to show: of lowest confidence, of highest stray, and of the even draw for comparison.

    Each is of another clip as long as there are enough clips.
    """
    order = {pick.sample_id: number for number, pick in enumerate(picks)}
    fakes = [shown for shown in found if shown.values.get("mask_fraction") is not None and shown.values["label"]]
    rated = [shown for shown in fakes if shown.values["mask_confidence"] is not None]
    low = sorted(rated, key=lambda s: (s.values["mask_confidence"], s.pick.sample_id))
    strayed = [shown for shown in fakes if shown.stray]
    strayed.sort(key=lambda s: (-(s.stray or 0), s.pick.sample_id))
    even = sorted((shown for shown in found if shown.pick.even), key=lambda s: order[s.pick.sample_id])
    chosen: list[Shown] = []
    for why, ranked in (("lowest confidence", low), ("most stray", strayed), ("drawn evenly", even)):
        rest = [shown for shown in ranked if shown not in chosen]
        first: dict[str, Shown] = {}
        for shown in rest:
            first.setdefault(shown.pick.clip_id, shown)
        fresh = list(first.values())
        for shown in [*fresh, *(s for s in rest if s not in fresh)][:PER_REASON]:
            shown.why = why
            chosen.append(shown)
    return chosen


def _draw(sheet: list[Shown], found: Pictures) -> None:
    """Draw the panels. Pictures are decoded again, so that only those on the page stay in memory."""
    originals = _originals(sheet)
    for shown in sheet:
        row = _decoded(shown.pick.place, shown.frame)
        place = originals.get(shown.original or "") if row["label"] else None
        try:
            original = None if place is None else _decoded(place, shown.frame)["image"]
        except VerifyError:
            original = None
        drawn = SheetRow("", row, original)
        if row["label"] and row.get("similarity") is not None:
            shown.panels["similarity"] = _map(row["similarity"], row["similarity_side"])
        for panel in found.panels:
            # A real's mask is empty, and so are its difference and its similarity map.
            if panel.name != "similarity" and (row["label"] or not panel.of_fakes):
                try:
                    picture = panel.draw(drawn)
                except UsageError as error:
                    found.problems.append(str(error))
                    continue
                if picture is not None:
                    shown.panels[panel.name] = encode_image(picture, "jpeg", 82)


def _map(bits: bytes, side: int) -> bytes:
    """The similarity map, a pixel for each pair; as PNG, since JPEG would blur two values."""
    return encode_image(similarity_map(unpack_grid(bits, side)).astype(np.uint8) * 255)


def _originals(sheet: Iterable[Shown]) -> dict[str, Place]:
    """Where these samples' originals lie: in the samples' own shards, since a source group is never divided."""
    wanted: dict[Path, set[str]] = defaultdict(set)
    for shown in sheet:
        if shown.original:
            wanted[shown.pick.place.path].add(shown.original)
    return {
        values["sample_id"]: place
        for path, ids in wanted.items()
        for place, values in iter_values(path, ["sample_id"])
        if values["sample_id"] in ids
    }
