"""Does each detector learn? Trains all on the demo dataset (c23) for some steps on the CPU, and judges other people.

Inputs are small and steps few, so the figures say only whether a detector beats chance: AUC .5, and for the forged
region the IoU of a map that calls every pixel forged. Run: python benchmarks/learn.py --shards OUT [--only NAME …]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from forgeprep.training.data import Samples
from forgeprep.training.evaluation.tables import evaluate_run
from forgeprep.training.inference.loaded import load_model
from forgeprep.training.recipe import make_recipe
from forgeprep.training.run_folder import Training
from forgeprep.training.sample_index import load_index
from forgeprep.training.trainer import train

CROP = {"view": "crop"}
BALANCED = {"balance": True}
TRIALS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "fn3-seg": ("fn3-seg", {"size": 128, "batch": 16, "steps": 300, **CROP}, {}),
    "fn3-cls": ("fn3-cls", {"size": 128, "batch": 16, "steps": 300, **BALANCED}, {}),
    "vgg3-seg": ("vgg3-seg", {"size": 64, "batch": 16, "steps": 200, "lr": 1e-3}, {}),
    "vgg3-cls": ("vgg3-cls", {"size": 64, "batch": 16, "steps": 200, "lr": 3e-4, **BALANCED}, {}),
    "vgg5-seg": ("vgg5-seg", {"size": 96, "batch": 16, "steps": 200, "lr": 1e-3}, {}),
    "vgg5-cls": ("vgg5-cls", {"size": 96, "batch": 16, "steps": 200, "lr": 3e-4, **BALANCED}, {}),
    "vgg8-seg": ("vgg8-seg", {"size": 96, "batch": 8, "steps": 150, "lr": 3e-4}, {}),
    "vgg8-cls": ("vgg8-cls", {"size": 96, "batch": 16, "steps": 150, "lr": 1e-4, **BALANCED}, {}),
    "unet4x-seg": ("unet4x-seg", {"size": 96, "batch": 8, "steps": 150}, {}),
    "unet4x-cls": ("unet4x-cls", {"size": 64, "batch": 16, "steps": 300, "lr": 3e-4, **BALANCED}, {}),
    "unet8x-seg": ("unet8x-seg", {"size": 64, "batch": 16, "steps": 250, "lr": 3e-4}, {}),
    "unet8x-cls": ("unet8x-cls", {"size": 64, "batch": 16, "steps": 35, "epochs": 4, "lr": 3e-4, **BALANCED}, {}),
    "mesoinception4-seg": ("mesoinception4-seg", {"size": 128, "batch": 16, "steps": 400, **CROP}, {}),
    "mesoinception4-cls": ("mesoinception4-cls", {"size": 256, "batch": 16, "steps": 200, **BALANCED}, {}),
    "xception-seg": ("xception-seg", {"size": 128, "batch": 8, "steps": 200, "lr": 3e-4}, {}),
    "xception-cls": ("xception-cls", {"size": 128, "batch": 8, "steps": 200, "lr": 3e-4, **BALANCED}, {}),
    "two-stream": ("two-stream", {"batch": 4, "steps": 80, **BALANCED}, {}),
    "its backbone alone": ("two-stream", {"batch": 4, "steps": 80, **BALANCED}, {"stream": "none"}),
    "similarity, relu_pair": ("local-similarity", {"size": 128, "batch": 8, "steps": 150}, {"kernel": "relu_pair"}),
    "similarity, linear": ("local-similarity", {"size": 128, "batch": 8, "steps": 150}, {"kernel": "linear"}),
    "similarity, none": ("local-similarity", {"size": 128, "batch": 8, "steps": 150}, {"kernel": "none"}),
    "cael": ("cael", {"batch": 8, "steps": 60, **BALANCED}, {}),
    "f3net": ("f3net", {"size": 96, "batch": 8, "steps": 100, "optimizer": "adam", "lr": 3e-4, **BALANCED}, {}),
    "spsl": ("spsl", {"size": 96, "batch": 8, "steps": 200, "lr": 3e-4, **BALANCED}, {}),
    "srm": ("srm", {"size": 96, "batch": 8, "steps": 100, "lr": 3e-4, **BALANCED}, {}),
}
COMMON = {"epochs": 1, "workers": 0, "view": "resize", "flip": True}


def main() -> None:
    """Train and judge, one line each."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--shards", type=Path, required=True, help="a run with masks, e.g. of forgeprep demo")
    arguments.add_argument("--only", nargs="*", choices=list(TRIALS), default=list(TRIALS))
    given = arguments.parse_args()
    test, train_masks = (masks_of(given.shards, split) for split in ("test", "train"))
    usual = train_masks[train_masks.any(axis=(1, 2))].mean(axis=0) > 0.5
    print(f"{len(test)} samples of test, reals among them")
    print(f"IoU of calling all forged {test.mean():.3f}, of calling the usual region forged {iou(usual, test):.3f}")
    print(f"{'':<24} {'steps':>6} {'s':>6} {'AUC':>7} {'clips':>7} {'IoU':>7} {'mIoU':>7}")
    for name in given.only:
        model, settings, options = TRIALS[name]
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            recipe = make_recipe(model, {**COMMON, **settings})
            train(Training(model, (given.shards,), Path(folder), recipe, options), device="cpu")
            spent = time.perf_counter() - started
            found = evaluate_run(load_model(Path(folder), "cpu").with_workers(0), [given.shards])["sets"][
                str(given.shards)
            ]
        pixels = found["pixels"]
        figures = [
            found["frames"]["auc"],
            found["clips"]["auc"],
            pixels.get("fg_iou", np.nan),
            pixels.get("miou", np.nan),
        ]
        told = " ".join(f"{figure:7.3f}" for figure in figures)
        print(f"{name:<24} {(recipe.steps or 0) * recipe.epochs:>6} {spent:6.0f} {told}", flush=True)


def masks_of(shards: Path, split: str, side: int = 64) -> npt.NDArray[np.bool_]:
    """All masks of a split, small, bool (N, side, side)."""
    index = load_index([shards], split, ["mask"])
    rows = Samples(index, ("mask",)).read(range(len(index)))
    return np.stack([cv2.resize(row["mask"], (side, side), interpolation=cv2.INTER_AREA) > 127 for row in rows])


def iou(map_: npt.NDArray[np.bool_], masks: npt.NDArray[np.bool_]) -> float:
    """IoU of one map with many masks, over all pixels."""
    return float(np.sum(map_ & masks) / np.sum(map_ | masks))


if __name__ == "__main__":
    main()
