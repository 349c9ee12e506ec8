"""Time and memory of a training step: each model at its recipe's batch and size, plain fp32 against our default.

The default on a GPU is bf16 and channels_last, and then torch.compile; on a CPU it is fp32 itself. Then the comparison
of places of local-similarity: the paper's kernel as we compute it, the same by making all pairs, and relu_pair.
Run: python benchmarks/step.py [--device cpu --batch 2 --only fn3-seg …]
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from forgeprep.errors import ForgeprepError
from forgeprep.training.inference.loaded import pick_device
from forgeprep.training.models import build, get_model, model_names, without_weights
from forgeprep.training.models.local_similarity import LinearPairs, ReluPairs
from forgeprep.training.recipe import make_recipe
from forgeprep.training.run_folder import Training
from forgeprep.training.task import Task, Validation
from forgeprep.training.trainer import Loop
from forgeprep.training.transforms import collate, to_device

MODES: dict[str, dict[str, Any]] = {
    "fp32": {"precision": "fp32", "compile": False},
    "bf16 channels_last": {"precision": "bf16", "compile": False},
    "the same, compiled": {"precision": "bf16", "compile": True},
}
CHANNELS = 728
IMAGES = [name for name in model_names() if get_model(name).takes == "image"]


def main() -> None:
    """One line a model and mode, ratios to fp32."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--device", help="cpu or cuda")
    arguments.add_argument("--batch", type=int, help="images a step; default: the recipe's")
    arguments.add_argument("--steps", type=int, default=10)
    arguments.add_argument("--only", nargs="*", choices=IMAGES, default=IMAGES)
    arguments.add_argument("--modes", nargs="*", choices=list(MODES), default=None)
    given = arguments.parse_args()
    place = pick_device(given.device)
    modes = given.modes or (list(MODES) if place.type == "cuda" else ["fp32"])
    print(f"{torch.cuda.get_device_name() if place.type == 'cuda' else 'CPU'}, torch {torch.__version__}")
    print(f"{'':<22} {'batch':>5} {'size':>5}  {'mode':<20} {'ms':>9} {'images/s':>9} {'GiB':>6} {'x fp32':>7}")
    for name in given.only:
        batch = given.batch or make_recipe(name, {}).batch
        plain = 0.0
        for mode in modes:
            try:
                seconds, memory = timed(model_step(name, batch, place, MODES[mode]), place, given.steps)
            except (torch.OutOfMemoryError, ForgeprepError) as error:
                print(f"{name:<22} {batch:>5} {get_model(name).size:>5}  {mode:<20} {str(error).splitlines()[0]}")
                continue
            plain = plain or seconds
            told = f"{seconds * 1e3:9.1f} {batch / seconds:9.1f} {memory:6.2f} {plain / seconds:7.2f}"
            print(f"{name:<22} {batch:>5} {get_model(name).size:>5}  {mode:<20} {told}", flush=True)
    similarity(place, given.batch or 8, given.steps)


def model_step(name: str, count: int, place: torch.device, settings: dict[str, Any]) -> Callable[[], None]:
    """A step of a training on random samples."""
    recipe = make_recipe(name, {"batch": count, **settings})
    # A foundation model's weights are not needed for its time: it is made as it is without them.
    model = build(name, without_weights(name).noted())
    empty: Any = None
    task = Task(
        Training(name, (), Path(), recipe), empty, "images", torch.channels_last, lambda *_: [], lambda *_: {},
        lambda batch, device: to_device(batch, device, noise="noise" in model.needs), "image",
        lambda model, tell: Validation({}, None),
    )  # fmt: skip
    loop = Loop(task, model, place)
    model.train()
    batch = random_batch(count, get_model(name).size)

    def step() -> None:
        loop.step(batch, 0)

    return step


def random_batch(count: int, size: int) -> dict[str, Any]:
    """Images of noise with half of each forged."""
    mask = np.zeros((size, size), np.uint8)
    mask[: size // 2] = 255
    draw = np.random.default_rng(0)
    return collate(
        [
            {
                "image": draw.integers(0, 256, (size, size, 3), np.uint8), "mask": mask, "label": 1, "method_number": 1,
                "noise": draw.integers(0, 256, (size, size), np.uint8), "compression": "c23", "sample_id": str(number),
            }
            for number in range(count)
        ]
    )  # fmt: skip


def similarity(place: torch.device, batch: int, steps: int) -> None:
    """Forward and backward of the comparison of all places, at 14 x 14 and 28 x 28."""
    print(f"comparison of places, {CHANNELS} channels, {batch} images")
    kernels: dict[str, Callable[[], nn.Module]] = {
        "linear, exact": lambda: LinearPairs(CHANNELS),
        "linear, all pairs": MadePairs,
        "relu_pair": lambda: ReluPairs(CHANNELS),
    }
    for side in (14, 28):
        for name, make in kernels.items():
            kernel = make().to(place).train()
            features = torch.randn(batch, CHANNELS, side, side, device=place, requires_grad=True)

            def step(kernel: nn.Module = kernel, features: Tensor = features) -> None:
                kernel(features).square().mean().backward()

            try:
                seconds, memory = timed(step, place, steps)
                print(f"    {side} x {side}  {name:<20} {seconds * 1e3:9.1f} ms {memory:6.2f} GiB", flush=True)
            except (torch.OutOfMemoryError, RuntimeError) as error:
                print(f"    {side} x {side}  {name:<20} {str(error).splitlines()[0][:80]}", flush=True)


class MadePairs(nn.Module):
    """The paper's kernel as it is drawn: all pairs of features side by side, then a convolution of 2 x 1."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Conv2d(CHANNELS, 1, (2, 1))

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to logits (B, HW, HW)."""
        flat = features.flatten(2)
        places = flat.shape[2]
        left = flat[:, :, :, None].expand(-1, -1, -1, places).flatten(2)
        right = flat[:, :, None, :].expand(-1, -1, places, -1).flatten(2)
        logits: Tensor = self.kernel(torch.stack([left, right], dim=2))
        return logits.view(-1, places, places)


def timed(step: Callable[[], None], place: torch.device, steps: int) -> tuple[float, float]:
    """Seconds of a step, the median after two to warm up, and the most memory in GiB (of the process on a CPU)."""
    cuda = place.type == "cuda"
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    else:
        # Forget what models before this one took.
        Path("/proc/self/clear_refs").write_text("5")
    spent = []
    for _ in range(steps + 2):
        started = time.perf_counter()
        step()
        if cuda:
            torch.cuda.synchronize()
        spent.append(time.perf_counter() - started)
    most = torch.cuda.max_memory_allocated() if cuda else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return sorted(spent[2:])[steps // 2], most / 2**30


if __name__ == "__main__":
    main()
