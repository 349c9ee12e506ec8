"""Decode, measure and draw the pictures that the report shows, one sample at a time."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from forgeprep.errors import UsageError, VerifyError
from forgeprep.ops.mask_signs import stray_share
from forgeprep.ops.similarity import similarity_map, unpack_grid
from forgeprep.report.choose import Group, Pick
from forgeprep.report.panels import OWN_PANELS, Panel, SheetRow, overlay
from forgeprep.report.sheet import original_of
from forgeprep.report.signs import Signs, badness
from forgeprep.shards.encode import encode_image
from forgeprep.shards.random_access import Place, iter_values, read_at
from forgeprep.shards.read import decode_row
from forgeprep.shards.sequences import MARK, frame_of, is_sequence, poster

UInt8 = npt.NDArray[np.uint8]

PER_REASON = 3
"""The most samples of each group that are shown for each reason."""

SHOWN_GROUPS = 40
"""The most groups of which samples are shown."""

SHOWN_SAMPLES = 200
"""About so many samples are shown in all: of many groups fewer for each reason, so that browsers hold the page."""

REASONS = {
    "confidence": "lowest confidence",
    "jump": "largest jump",
    "stray": "most stray",
    "lost": "its clip lost samples",
    "even": "drawn evenly",
}
"""Why samples are shown, in this order."""

BESIDE = (
    Panel("before", "frame before", "its mask", overlay, of_fakes=True),
    Panel("after", "frame after", "its mask", overlay, of_fakes=True),
)
"""What is shown beside a mask whose area jumps."""

_NOISE_GAIN = 5


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
        signs: of its mask, None without one; in a run of an earlier version, stray is measured, and no jump known.
        noise: figures of its residual; None without one.
        why: why it is shown, one of :data:`REASONS`; "" if it is not.
        panels: name of a panel -> its picture, JPEG or PNG; only of samples that are shown.
    """

    pick: Pick
    values: dict[str, Any]
    original: str | None = None
    frame: int = 0
    signs: Signs | None = None
    noise: NoiseFigures | None = None
    why: str = ""
    panels: dict[str, bytes] = field(default_factory=dict)


@dataclass(slots=True)
class Pictures:
    """What :func:`look_at_pictures` found.

    Attributes:
        looked_at: every sample whose pictures were decoded.
        sheets: the samples to show, the worst first: groups by the mean doubt of their masks; reals come last.
        hidden: groups that are not shown.
        per_reason: the most samples of a group for each reason.
        panels: the pictures that may be shown of a sample.
        problems: what could not be read, in words.
    """

    looked_at: list[Shown] = field(default_factory=list)
    sheets: dict[Group, list[Shown]] = field(default_factory=dict)
    hidden: int = 0
    per_reason: int = PER_REASON
    panels: Sequence[Panel] = OWN_PANELS
    problems: list[str] = field(default_factory=list)


def look_at_pictures(picks: dict[Group, list[Pick]], panels: Sequence[Panel] = OWN_PANELS) -> Pictures:
    """Decode the picked samples, measure them, and draw those that are to be shown."""
    found = Pictures(panels=panels)
    for pick in sorted((p for chosen in picks.values() for p in chosen), key=lambda p: p.place):
        try:
            found.looked_at.append(_measured(pick))
        except (VerifyError, cv2.error) as error:
            found.problems.append(f"{pick.sample_id}: {error}")
    by_group: dict[Group, list[Shown]] = defaultdict(list)
    for shown in found.looked_at:
        by_group[shown.pick.group].append(shown)
    groups = sorted(by_group, key=lambda group: (-_mean_doubt(by_group[group]), group.method == "real", group))
    found.hidden = max(0, len(groups) - SHOWN_GROUPS)
    found.per_reason = min(PER_REASON, max(1, SHOWN_SAMPLES // (len(REASONS) * max(1, len(groups)))))
    for group in groups[:SHOWN_GROUPS]:
        found.sheets[group] = _worst_first(by_group[group], picks[group], found.per_reason)
    _draw([shown for sheet in found.sheets.values() for shown in sheet], found)
    return found


def _mean_doubt(found: list[Shown]) -> float:
    """How doubtful a group's masks are on the whole; -1 for reals, which have none, so that they come last."""
    doubts = [shown.signs.doubt for shown in found if shown.signs is not None and shown.pick.even]
    return round(sum(doubts) / len(doubts), 6) if doubts else -1.0


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
    number = poster(sample) if pick.number is None else pick.number
    row = decode_row(frame_of(sample, number), pick.place.path)
    mask, noise = row.get("mask"), row.get("noise")
    values = {name: value for name, value in row.items() if not isinstance(value, np.ndarray)}
    shown = Shown(pick, values, original_of(sample), number)
    if mask is not None and row["label"]:
        stray = row["mask_stray"] if "mask_stray" in row else stray_share(mask, row.get("difference"))
        shown.signs = Signs(row["mask_confidence"], stray, row.get("mask_jump"), number)
    if noise is not None:
        shown.noise = noise_figures(noise, mask)
    return shown


def _worst_first(found: list[Shown], picks: list[Pick], count: int) -> list[Shown]:
    """The samples to show: at most ``count`` for each of :data:`REASONS`.

    Each is of another clip as long as there are enough clips.
    """
    order = {pick.sample_id: number for number, pick in enumerate(picks)}
    chosen: list[Shown] = []
    for why in REASONS:
        rest = [shown for shown in _ranked(found, why, order) if shown not in chosen]
        first: dict[str, Shown] = {}
        for shown in rest:
            first.setdefault(shown.pick.clip_id, shown)
        fresh = list(first.values())
        for shown in [*fresh, *(s for s in rest if s not in fresh)][:count]:
            shown.why = why
            chosen.append(shown)
    return chosen


def _ranked(found: list[Shown], why: str, order: dict[str, int]) -> list[Shown]:
    """The samples that may be shown for a reason, the first first."""
    if why in ("lost", "even"):
        return sorted((s for s in found if getattr(s.pick, why)), key=lambda s: order[s.pick.sample_id])
    rated = [(badness(s.signs, why), s) for s in found if s.signs is not None]
    # A mask that does not stray or jump at all is no example of it.
    kept = [(bad, shown) for bad, shown in rated if bad is not None and (bad > 0 or why == "confidence")]
    return [shown for _, shown in sorted(kept, key=lambda one: (-one[0], one[1].pick.sample_id))]


def _draw(sheet: list[Shown], found: Pictures) -> None:
    """Draw the panels. Pictures are decoded again, so that only those on the page stay in memory."""
    originals, neighbours = _originals(sheet), _neighbours(sheet)
    for shown in sheet:
        row = _decoded(shown.pick.place, shown.frame)
        for panel, beside in zip(BESIDE, neighbours.get(shown.pick.sample_id, ()), strict=False):
            with contextlib.suppress(VerifyError, cv2.error):
                picture = None if beside is None else panel.draw(SheetRow("", _decoded(*beside), None))
                if picture is not None:
                    shown.panels[panel.name] = encode_image(picture, "jpeg", 82)
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


def _neighbours(sheet: Iterable[Shown]) -> dict[str, tuple[tuple[Place, int] | None, ...]]:
    """Where the frames before and after those lie whose area jumps: sample_id -> (place, number), or None."""
    jumping = [shown for shown in sheet if shown.why == "jump"]
    tracks: dict[Any, list[tuple[int, Place, int]]] = {_track(s.pick.place.path, s.values): [] for s in jumping}
    columns = ("clip_id", "track_id", "frame_index", MARK)
    for path in dict.fromkeys(shown.pick.place.path for shown in jumping):
        for place, row in iter_values(path, columns):
            own = tracks.get(_track(path, row))
            if own is not None:
                frames = row["frame_index"] if is_sequence(row) else [row["frame_index"]]
                own += [(index, place, number) for number, index in enumerate(frames)]
    found = {}
    for shown in jumping:
        own = tracks[_track(shown.pick.place.path, shown.values)]
        index = shown.values["frame_index"]
        before = max((entry for entry in own if entry[0] < index), default=None)
        after = min((entry for entry in own if entry[0] > index), default=None)
        found[shown.pick.sample_id] = tuple(entry and entry[1:] for entry in (before, after))
    return found


def _track(path: Path, row: dict[str, Any]) -> tuple[Path, str, int]:
    return path, row["clip_id"], row["track_id"]
