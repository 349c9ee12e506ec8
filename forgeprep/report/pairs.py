"""How fakes lie on their originals and what was dropped where, from the records of the shards."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forgeprep.report.measure import Histogram
from forgeprep.report.summary import Kind, method_name
from forgeprep.schemas.drops import DROP_SCHEMA
from forgeprep.shards.records import iter_records

SHOWN = 30
"""The most rows of a table of single clips."""

LOW_SIMILARITY = 0.9
"""A pair below this correlation outside the faces is listed."""

_REASON, _CLIP = DROP_SCHEMA.get_field_index("reason"), DROP_SCHEMA.get_field_index("clip_id")
_KEPT = 4 * SHOWN


@dataclass(slots=True)
class Clips:
    """What :func:`look_at_clips` found.

    Attributes:
        drops: samples dropped by split, compression, method and label, and reason.
        empty: clips without a sample, the first ``SHOWN``; ``empty_count`` counts all.
        requested: frames planned in the shards that are made.
        topped_up: frames that stand in for wanted ones that showed no face.
        codings: ``interlaced``, ``pq`` or ``hlg`` -> clips that a player would show differently.
        pairs: fakes that were laid on an original.
        unpaired: fakes that were not.
        similarity: ``pair_similarity`` of all pairs.
        oddities: what is unusual -> pairs.
        odd: the most unusual pairs and what is unusual about each, at most ``SHOWN``; ``odd_count`` counts all.
        spans: method -> number of detected spans, None where they are not known -> clips.
        partial: clips forged in parts, the first ``SHOWN``; ``partial_count`` counts all.
    """

    drops: Counter[tuple[Kind, str]] = field(default_factory=Counter)
    empty: list[dict[str, Any]] = field(default_factory=list)
    empty_count: int = 0
    requested: int = 0
    topped_up: int = 0
    codings: Counter[str] = field(default_factory=Counter)
    pairs: int = 0
    unpaired: int = 0
    similarity: Histogram = field(default_factory=lambda: Histogram(0, 1))
    oddities: Counter[str] = field(default_factory=Counter)
    odd: list[tuple[list[str], dict[str, Any]]] = field(default_factory=list)
    odd_count: int = 0
    spans: dict[str, Counter[int | None]] = field(default_factory=dict)
    partial: list[dict[str, Any]] = field(default_factory=list)
    partial_count: int = 0


def look_at_clips(out: Path) -> Clips:
    """Count what became of all clips so far; damaged records are skipped."""
    found = Clips()
    for _, record in iter_records(out):
        if record is None:
            continue
        kinds = {clip["clip_id"]: kind_of(clip) for clip in record["clips"]}
        for drop in record["drops"]:
            if drop[_CLIP] in kinds:
                found.drops[kinds[drop[_CLIP]], drop[_REASON]] += 1
        for clip in record["clips"]:
            _add(found, clip)
    found.odd = _least_usual(found.odd)[:SHOWN]
    return found


_CODED = {
    "interlaced": "Interlaced clips: {:,}. Crops and noise show combs; deinterlace them first (ffmpeg -vf bwdif).",
    "pq": "HDR clips (PQ): {:,}. Crops look flat; tone-map them first (ffmpeg -vf zscale, tonemap).",
    "hlg": "HDR clips (HLG): {:,}. Crops look flat; tone-map them first (ffmpeg -vf zscale, tonemap).",
}


def coding_warnings(found: Clips) -> list[str]:
    """Warnings of clips that a player would show differently, a line each."""
    return [told.format(found.codings[key]) for key, told in _CODED.items() if found.codings[key]]


def kind_of(clip: dict[str, Any]) -> Kind:
    """The group in which a clip is counted."""
    return Kind(clip["split"], clip["compression"], clip["method"], clip["label"])


def duration_s(clip: dict[str, Any]) -> float | None:
    """A clip's length by its header, in seconds; None where the header does not say."""
    return clip["header_frames"] / clip["fps"] if clip["fps"] and clip["header_frames"] else None


def unusual(clip: dict[str, Any]) -> list[str]:
    """What is unusual about how a fake lies on its original, in words.

    >>> clip = {"offset": 3, "rate": 1.0, "scale": 1.0, "shift": [0.0, 0.0], "pair_similarity": 0.99,
    ...         "visual_change": True, "detected_spans": [[0.0, 2.0], [3.0, 4.0]]}
    >>> unusual(clip)
    ['starts at another frame', 'several spans']
    """
    similarity = clip["pair_similarity"]
    signs = {
        "starts at another frame": bool(clip["offset"]),
        "another frame rate": clip["rate"] is not None and abs(clip["rate"] - 1) > 1e-3,
        "scaled": clip["scale"] is not None and abs(clip["scale"] - 1) > 1e-3,
        "moved": any(abs(part) > 0.5 for part in clip["shift"] or ()),
        f"similarity below {LOW_SIMILARITY:g}": similarity is not None and similarity < LOW_SIMILARITY,
        "no visual change": clip["visual_change"] is False,
        "several spans": len(clip["detected_spans"] or ()) > 1,
    }
    return [sign for sign, there in signs.items() if there]


def _add(found: Clips, clip: dict[str, Any]) -> None:
    found.requested += clip["requested"]
    found.topped_up += clip["topped_up"]
    # Records of earlier versions lack both.
    found.codings.update(["interlaced"] if clip.get("interlaced") else [])
    found.codings.update([clip["hdr"]] if clip.get("hdr") else [])
    if not clip["written"]:
        found.empty_count += 1
        found.empty += [clip] if len(found.empty) < SHOWN else []
    if not clip["label"]:
        return
    if clip["pair_similarity"] is None:
        found.unpaired += 1
        return
    found.pairs += 1
    found.similarity.add(clip["pair_similarity"])
    if signs := unusual(clip):
        found.oddities.update(signs)
        found.odd_count += 1
        found.odd.append((signs, clip))
        if len(found.odd) > _KEPT:
            found.odd = _least_usual(found.odd)[:SHOWN]
    spans = clip["detected_spans"]
    method = method_name(clip["method"], clip["label"])
    found.spans.setdefault(method, Counter())[None if spans is None else len(spans)] += 1
    if spans and _in_parts(clip):
        found.partial_count += 1
        found.partial += [clip] if len(found.partial) < SHOWN else []


def _in_parts(clip: dict[str, Any]) -> bool:
    length = duration_s(clip)
    forged = sum(end - start for start, end in clip["detected_spans"])
    # Ends are exact to about a frame, and the header may claim one frame too many.
    return len(clip["detected_spans"]) > 1 or (length is not None and forged < 0.95 * length)


def _least_usual(odd: list[tuple[list[str], dict[str, Any]]]) -> list[tuple[list[str], dict[str, Any]]]:
    return sorted(odd, key=lambda item: (-len(item[0]), item[1]["pair_similarity"], item[1]["clip_id"]))
