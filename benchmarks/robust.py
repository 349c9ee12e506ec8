"""What do perturbations cost a plain detector, and what does training on them give back?

    forgeprep run ffpp --root DEMO --out clean --frames 12 --size 192 --stages crop,mask
    forgeprep run ffpp --root DEMO --out hard0 --frames 12 --size 192 --stages crop,mask,perturb \
        --perturb-pairing shared --perturb-seed 0          # and hard1 to hard3, with other seeds
    python benchmarks/robust.py --clean clean --perturbed hard0 hard1 hard2 hard3

Trains Xception (128 x 128, few steps, CPU) on the people of train, clean or perturbed, and judges those of test. The
demo has two originals in test: with draws of their own, the perturbation would tell them from the fakes, or hide them.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from forgeprep.training.evaluation.tables import evaluate_run
from forgeprep.training.inference.loaded import load_model
from forgeprep.training.recipe import make_recipe
from forgeprep.training.run_folder import Training
from forgeprep.training.trainer import train


def main() -> None:
    """Train twice, judge four times."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--clean", type=Path, required=True, help="a run without the stage perturb")
    arguments.add_argument("--perturbed", type=Path, required=True, nargs="+", help="the same with it")
    arguments.add_argument("--model", default="xception-seg")
    arguments.add_argument("--steps", type=int, default=200)
    arguments.add_argument("--size", type=int, default=128)
    arguments.add_argument("--seed", type=int, default=0)
    given = arguments.parse_args()
    sets = {"clean": [given.clean], "perturbed": given.perturbed}
    settings = {"size": given.size, "batch": 8, "steps": given.steps, "lr": 3e-4, "balance": True, "seed": given.seed}
    recipe = make_recipe(given.model, {**settings, "epochs": 1, "workers": 0, "view": "resize", "flip": True})
    print(
        f"{given.model}, {given.size} x {given.size}, {given.steps} steps of 8; AUC by frame / by clip, mean over sets"
    )
    print(f"{'trained on':<12} {'tested: clean':>16} {'perturbed':>16} {'s':>6}")
    for name, shards in sets.items():
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            train(Training(given.model, tuple(shards), Path(folder), recipe, {}), device="cpu")
            found = evaluate_run(load_model(Path(folder), "cpu").with_workers(0), [given.clean, *given.perturbed])[
                "sets"
            ]
        spent = time.perf_counter() - started
        auc = {str(s): (f["frames"]["auc"], f["clips"]["auc"]) for s, f in found.items()}
        cells = ["{:.3f} / {:.3f}".format(*np.mean([auc[str(s)] for s in one], axis=0)) for one in sets.values()]
        print(f"{name:<12} {cells[0]:>16} {cells[1]:>16} {spent:6.0f}", flush=True)


if __name__ == "__main__":
    main()
