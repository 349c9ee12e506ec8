"""What do perturbations cost a plain detector, and what does training on them give back?

    forgeprep run ffpp --root DEMO --out clean --frames 24 --size 299 --stages crop,mask
    forgeprep run ffpp --root DEMO --out hard --frames 24 --size 299 --stages crop,mask,perturb
    python benchmarks/robust.py --clean clean --perturbed hard

Trains Xception (128 x 128, few steps, CPU) on the people of train of either run, and judges those of test of both.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from forgeprep.training.fit import Training, train
from forgeprep.training.recipe import make_recipe
from forgeprep.training.tables import evaluate_run


def main() -> None:
    """Train twice, judge four times."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--clean", type=Path, required=True, help="a run without the stage perturb")
    arguments.add_argument("--perturbed", type=Path, required=True, help="the same with it")
    arguments.add_argument("--model", default="xception-cls")
    arguments.add_argument("--steps", type=int, default=200)
    arguments.add_argument("--size", type=int, default=128)
    arguments.add_argument("--seed", type=int, default=0)
    given = arguments.parse_args()
    sets = [given.clean, given.perturbed]
    settings = {"size": given.size, "batch": 8, "steps": given.steps, "lr": 3e-4, "balance": True, "seed": given.seed}
    recipe = make_recipe(given.model, {**settings, "epochs": 1, "workers": 0, "view": "resize", "flip": True})
    print(f"{given.model}, {given.size} x {given.size}, {given.steps} steps of 8; AUC by frame / by clip")
    print(f"{'trained on':<12} {'tested: clean':>16} {'perturbed':>16} {'s':>6}")
    for name, shards in zip(("clean", "perturbed"), sets, strict=True):
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            train(Training(given.model, (shards,), Path(folder), recipe, {}), device="cpu")
            found = evaluate_run(Path(folder), sets, device="cpu", workers=0)["sets"]
        spent = time.perf_counter() - started
        cells = [f"{found[str(s)]['frames']['auc']:.3f} / {found[str(s)]['clips']['auc']:.3f}" for s in sets]
        print(f"{name:<12} {cells[0]:>16} {cells[1]:>16} {spent:6.0f}", flush=True)


if __name__ == "__main__":
    main()
