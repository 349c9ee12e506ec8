"""Fit the numbers of ``forgeprep/ops/evidence_model.py`` on forgeries of real footage; prints the module.

    python benchmarks/masks_fit.py ../shared/data/footage --clips lp_d10 lp_d12 ... >forgeprep/ops/evidence_model.py

The demo dataset takes part too, so that what is right there stays right. Clips are forged in the ways of
``forgeries.py``, several times each, and coded in several qualities; originals against their own re-encodings teach
what is no forgery. A logistic model of the evidence tells forged cells; a linear one then tells the IoU of the masks
that come out. Needs scikit-learn (extra ``train``).
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from forgeries import WAYS
from masks_real import CODINGS, PAIRED, code, forged_clip, load_shots

from forgeprep.demo import load_truth, make_demo
from forgeprep.faces.detectors import make_detector
from forgeprep.faces.search import find_faces
from forgeprep.faces.tracks import Face
from forgeprep.media.frames import Frame
from forgeprep.media.regions import frame_rgb
from forgeprep.media.video import read_frames
from forgeprep.ops import evidence, masks
from forgeprep.params.crop import CropParams
from forgeprep.stages.crop.crops import compared, window, window_box

NULLS = (("c23", "c40"), ("c40", "c23"), ("c23", "c23/420"), ("c40", "c23/420"))
"""Originals against themselves: nothing is forged."""
SHARE = 0.04
"""Of the cells, so many take part in the fit."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("footage", type=Path)
    parser.add_argument("--clips", nargs="*", help="stems of the clips to fit on")
    parser.add_argument("--draws", type=int, default=2, help="forgeries of each way and clip")
    given = parser.parse_args()
    shots = load_shots(given.footage, given.clips)
    jobs = [(shots, number, given.draws) for number in range(len(shots))]
    with multiprocessing.get_context("spawn").Pool() as pool:
        parts = pool.starmap(measured_clip, jobs, chunksize=1)
    runs = [run for part in parts for run in part] + measured_demo()
    weights, bias = fit_evidence(runs)
    fits, fit_bias = fit_overlap(runs, weights, bias)
    print(TEXT.format(*(_numbers(values) for values in (weights, [bias], fits, [fit_bias]))), end="")


def measured_clip(shots: list[Any], number: int, draws: int) -> list[dict[str, Any]]:
    """All runs of one clip: standing of the channels, cells seen, truth on the grid, crops."""
    cv2.setNumThreads(1)
    shot = shots[number]
    coded = {name: code(shot.frames, coding) for name, coding in CODINGS.items()}
    faces = faces_of(coded["c23"])
    nothing = [np.zeros(frame.shape[:2], bool) for frame in shot.frames]
    runs = [measured(coded[b], coded[a], faces, nothing) for a, b in NULLS]
    for way in WAYS:
        for draw in range(draws):
            frames, truths = forged_clip(way, shots, number, draw)
            fakes = {name: code(frames, coding) for name, coding in CODINGS.items()}
            for name, (fake, original) in PAIRED.items():
                if name != "c23/420" or draw == 0:
                    runs.append(measured(fakes[fake], coded[original], faces, truths))
    return runs


def measured_demo() -> list[dict[str, Any]]:
    """The same of the demo's four people and methods."""
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_demo(root, people=4, seconds=1.0, compressions=("raw",))
        for file in sorted((root / "manipulated_sequences").glob("*/raw/videos/*.mp4")):
            target = root / "original_sequences/youtube/raw/videos" / f"{file.stem[:3]}.mp4"
            truths = list(load_truth(root / "truth" / file.parents[2].name / f"{file.stem}.npz"))
            clips = [
                [frame_rgb(frame)[..., ::-1] for frame in read_frames(path)][: len(truths)] for path in (file, target)
            ]
            fakes, reals = ({name: code(clip, coding) for name, coding in CODINGS.items()} for clip in clips)
            count = min(len(fakes["c23"]), len(reals["c23"]))
            faces = faces_of(reals["c23"][:count])
            for fake, original in PAIRED.values():
                runs.append(measured(fakes[fake][:count], reals[original][:count], faces, truths[:count]))
    return runs


def measured(fakes: list[Frame], originals: list[Frame], faces: list[Face], truths: list[Any]) -> dict[str, Any]:
    params = CropParams()
    pairs, crops, grids = [], [], []
    for fake, original, face, truth in zip(fakes, originals, faces, truths, strict=True):
        windows = window(fake, face.cut_box, params), window(original, face.cut_box, params)
        pair, crop = compared(windows, face, fake.size_wh, params)
        pairs.append(pair)
        crops.append(crop)
        grids.append(on_grid(truth, window_box(face.cut_box, params), evidence.grid_side(evidence.WIDE)))
    standing, seen = evidence.measure(pairs)
    return {"standing": standing.astype(np.float16), "seen": seen, "truth": np.stack(grids), "crops": crops}


def fit_evidence(runs: list[dict[str, Any]]) -> tuple[Any, float]:
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    rows, labels, weights = [], [], []
    for run in runs:
        truth = run["truth"]
        near = evidence._distance(truth.shape[1]) < 1.5
        for number, columns in enumerate(evidence.features(run["standing"].astype(np.float32), run["seen"])):
            if number % 2:
                continue
            pick = run["seen"][number] & near & (rng.random(near.shape) < SHARE)
            rows.append(columns[:, pick].T)
            labels.append(truth[number][pick])
            # A small region counts as much as a large one.
            share = max(float(truth[number][near].mean()), 0.01)
            weights.append(np.where(labels[-1], np.clip(0.15 / share, 0.5, 4), 1.0))
    x, y, w = np.concatenate(rows), np.concatenate(labels), np.concatenate(weights)
    mean, spread = x.mean(axis=0), x.std(axis=0) + 1e-6
    model = LogisticRegression(C=0.05, max_iter=300).fit((x - mean) / spread, y, sample_weight=w)
    found = model.coef_[0] / spread
    return found.astype(np.float32), float(model.intercept_[0] - found @ mean)


def fit_overlap(runs: list[dict[str, Any]], weights: Any, bias: float) -> tuple[Any, float]:
    from sklearn.linear_model import Ridge

    rows, overlaps = [], []
    for run in runs:
        standing, seen = run["standing"].astype(np.float32), run["seen"]
        odds = np.stack([np.tensordot(weights, c, 1) + np.float32(bias) for c in evidence.features(standing, seen)])
        odds[~seen] = -9.0
        found = evidence.Evidence(odds, standing, seen)
        # Also short runs, as a few frames of a clip are.
        for take in (slice(None), slice(0, None, 8)):
            part = evidence.Evidence(odds[take], standing[take], seen[take])
            crops = run["crops"][take]
            cuts = [masks._mask_of(part.log_odds[i], crop, 1.3) for i, crop in enumerate(crops)]
            regions = [masks._region(one.mask, crop, odds.shape[1]) for one, crop in zip(cuts, crops, strict=True)]
            rows.append(masks.fit_features(part, regions, crops))
            for region, truth, crop in zip(regions, run["truth"][take], crops, strict=True):
                inside = masks._inside(crop, odds.shape[1])
                overlaps.append(masks._overlap(region & inside, truth & inside) if truth.any() else 0.0)
    x, y = np.concatenate(rows), np.array(overlaps)
    there = x.any(axis=1)
    mean, spread = x[there].mean(axis=0), x[there].std(axis=0) + 1e-6
    model = Ridge(1.0).fit((x[there] - mean) / spread, y[there])
    found = model.coef_ / spread
    return found.astype(np.float32), float(model.intercept_ - found @ mean)


def faces_of(frames: list[Frame]) -> list[Face]:
    found = find_faces(iter(frames), make_detector("libfacedetection"))
    return [max(found.faces_at(frame.index), key=lambda face: face.box[2] - face.box[0]) for frame in frames]


def on_grid(truth: Any, box: tuple[int, int, int, int], cells: int) -> Any:
    """A frame's truth on the grid of a window, bool (cells, cells)."""
    scale = (box[2] - box[0]) / cells
    there = np.array([[scale, 0, box[0] + 0.5 * scale - 0.5], [0, scale, box[1] + 0.5 * scale - 0.5]])
    soft = cv2.blur(truth.astype(np.float32), (max(1, round(scale)),) * 2)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(soft, there, (cells, cells), flags=flags, borderMode=cv2.BORDER_REPLICATE) > 0.5


def _numbers(values: Any) -> str:
    texts = [f"{float(value):.4g}" for value in values]
    lines = [", ".join(texts[at : at + 10]) for at in range(0, len(texts), 10)]
    return lines[0] if len(texts) == 1 else "\n    " + ",\n    ".join(lines) + ",\n"


TEXT = '''"""The numbers of the models that masks are made with, fitted by ``benchmarks/masks_fit.py``."""

from __future__ import annotations

import numpy as np

# fmt: off
WEIGHTS = np.array([{}], np.float32)
"""Of each feature of :func:`forgeprep.ops.evidence.features`, in log-odds."""
BIAS = {}
FIT_WEIGHTS = np.array([{}], np.float32)
"""Of each of :data:`forgeprep.ops.masks.FIT_FEATURES`, in IoU."""
FIT_BIAS = {}
'''

if __name__ == "__main__":
    main()
