"""When large faces count as forged: what ``LARGE_RUN`` and ``LARGE_ENERGY`` of ``ops/masks.py`` give and cost.

    python benchmarks/masks_large.py ../shared/data/footage --clips lp_d10 lp_d12 lp_d18 lp_s20 lp_s29 vr_1 vr_5

Originals are compared with their own re-encodings, and with forgeries of ``forgeries.py``, in runs of 24 frames, 8, 4
and one; faces have their own size, or one enlarged up to 1.6 times. Printed for the rule of smaller faces and for
several levels of confidence and energy: how many runs of originals count as forged, how many of forgeries do not, and
how much IoU their masks would have had in sum. The package's levels have the least sum of lost IoU and
twice the false runs (2 of 616, and 49 of 1,344 lost; by the rule of smaller faces 62 and 6). Takes ten minutes of CPU.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from forgeries import WAYS
from masks_fit import LARGE, compared_run, faces_of
from masks_real import CODINGS, FAST, Coding, code, forged_clip, load_shots

from forgeprep.ops import masks
from forgeprep.ops.confidence_model import FIT_BIAS, FIT_WEIGHTS
from forgeprep.ops.evidence import find_evidence

ORIGINALS = (
    (CODINGS | FAST)
    | {"c30": Coding(30), "c40/420": Coding(40, "yuv420p"), "c23/superfast": Coding(23, preset="superfast")}
    | {"c40/ultrafast": Coding(40, preset="ultrafast")}
)
NULLS = (
    *(("c40", "c23"), ("c23", "c40"), ("c30", "c23"), ("c23/veryfast", "c23"), ("c23/superfast", "c23")),
    *(("c23/ultrafast", "c23"), ("c40", "c23/ultrafast"), ("c40/ultrafast", "c23"), ("c40/420", "c23")),
    *(("c40/420", "c23/420"), ("c40/ultrafast", "c40")),
)
PARTS = (10, 1.0), (52, 1.6)
"""Frames before a part of a clip, and what it is enlarged by at most."""
RUNS = slice(None), slice(1, None, 3), slice(0, 4), slice(5, 6)


class Run(NamedTuple):
    """Confidence and energy of its frames, (n,), mean IoU of its masks, and whether it is forged."""

    expected: Any
    energies: Any
    iou: float
    forged: bool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("footage", type=Path)
    parser.add_argument("--clips", nargs="*", help="stems of the clips")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    runs: list[Run] = []
    for skipped, most in PARTS:
        shots = load_shots(given.footage, given.clips, skipped, LARGE, most)
        for number in range(len(shots)):
            runs += runs_of(shots, number)
    print(f"{'':22}{'of originals':>14}{'not of forgeries':>18}{'their IoU':>11}")
    print_row("as small faces", runs, [masks._is_visible(run.expected, run.energies, large=False) for run in runs])
    for least, energy in itertools.product((0.3, 0.4, 0.44, 0.48, 0.52), (1.5, 1.6, 1.7, 1.8, 1.9)):
        masks.LARGE_RUN, masks.LARGE_ENERGY = least, energy
        found = [masks._is_visible(run.expected, run.energies, large=True) for run in runs]
        print_row(f"from {least:.2f} and {energy:.1f}", runs, found)


def print_row(name: str, runs: list[Run], visible: list[bool]) -> None:
    false = sum(seen and not run.forged for run, seen in zip(runs, visible, strict=True))
    lost = [run.iou for run, seen in zip(runs, visible, strict=True) if run.forged and not seen]
    forged = sum(run.forged for run in runs)
    counts = f"{false} of {len(runs) - forged}", f"{len(lost)} of {forged}"
    print(f"{name:22}{counts[0]:>14}{counts[1]:>18}{sum(lost):11.1f}")


def runs_of(shots: list[Any], number: int) -> list[Run]:
    """All runs of a clip's part."""
    shot = shots[number]
    coded = {name: code(shot.frames, coding) for name, coding in ORIGINALS.items()}
    faces = faces_of(coded["c23"])
    nothing = [np.zeros(frame.shape[:2], bool) for frame in shot.frames]
    every = [list(zip(coded[b], coded[a], faces, nothing, strict=True)) for b, a in NULLS]
    for way in WAYS:
        frames, truths = forged_clip(way, shots, number, draw=5)
        fakes = {name: code(frames, CODINGS[name]) for name in ("c23", "c40")}
        for fake, original in (("c23", "c23"), ("c40", "c40"), ("c23", "c40")):
            every.append(list(zip(fakes[fake], coded[original], faces, truths, strict=True)))
    return [run_of(frames[part]) for frames in every for part in RUNS]


def run_of(frames: list[Any]) -> Run:
    """The signs that :func:`forgeprep.ops.masks.difference_masks` goes by."""
    pairs, crops, truths = compared_run(frames)
    found = find_evidence(pairs, masks._shown(crops, len(truths[0])))
    cuts = [masks._mask_of(odds, crop, 1.3) for odds, crop in zip(found.log_odds, crops, strict=True)]
    regions = [masks._region(one.mask, crop, len(truths[0])) for one, crop in zip(cuts, crops, strict=True)]
    rows = masks.fit_features(found, regions, crops)
    energies = rows[:, [masks.FIT_FEATURES.index(name) for name in masks.ENERGIES]].mean(axis=1)
    inside = [masks._inside(crop, len(truths[0])) for crop in crops]
    overlaps = [masks._overlap(a & part, b & part) for a, b, part in zip(regions, truths, inside, strict=True)]
    expected = np.clip(rows @ FIT_WEIGHTS + FIT_BIAS, 0, 1)
    return Run(expected, energies, float(np.mean(overlaps)), any(truth.any() for truth in truths))


if __name__ == "__main__":
    main()
