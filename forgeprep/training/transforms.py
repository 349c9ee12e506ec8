"""From a decoded sample to tensors: image, mask and noise are always cut, scaled and mirrored together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from forgeprep.datasets.taxonomy import LEVELS, class_at
from forgeprep.ops.geometry import resize_square
from forgeprep.training.augment import Planes, Points, augmented, mirrored_order
from forgeprep.training.blends import PLACES, crop_points
from forgeprep.training.recipe import Recipe

UInt8 = npt.NDArray[np.uint8]

PLANES = ("image", "mask", "mask_magnitude", "noise")


def prepare(
    row: dict[str, Any], recipe: Recipe, size: int, *, train: bool, epoch: int = 0, frame: int = 0
) -> dict[str, Any]:
    """The pictures of a sample as the detector takes them, uint8 (size, size, …), and its labels; a clip's (T, …).

    What is drawn depends on the recipe's seed, the epoch, the sample's number and the how-manieth time it comes alone.
    Outside of training nothing is drawn; the view ``crop`` then is the whole picture, whatever its size. An absent mask
    or magnitude stays None. Noise that would have to be scaled, or is of a picture that has been changed since, is left
    out: a residual does not survive that, it is computed of the picture as it is then. Where landmarks were read,
    ``points`` are those of the picture, float64 (N, 2), x and y from the corner of its first pixel.
    """
    if "frames" in row:
        # All frames have the clip's number, and so the same draws.
        own: dict[str, Any] = {name: row[name] for name in ("number", "time") if name in row}
        made = [
            prepare({**one, **own}, recipe, size, train=train, epoch=epoch, frame=at)
            for at, one in enumerate(row["frames"])
        ]
        rest = {name: value for name, value in row.items() if name not in (*PLANES, *PLACES, "frames")}
        return rest | {"image": np.stack([one["image"] for one in made])}
    planes = {name: row[name] for name in PLANES if row.get(name) is not None}
    found = crop_points(row)
    points = None if found is None else found + 0.5
    if recipe.enlarge is not None and recipe.enlarge < row["enlarge"]:
        before = planes["image"]
        planes = {name: _middle(plane, recipe.enlarge / row["enlarge"]) for name, plane in planes.items()}
        points = None if points is None else points - _corner(before, planes["image"])
    time = row.get("time", 0)
    key = (recipe.seed, epoch, row["number"], *([time] if time else []))
    rng = np.random.default_rng(key)
    planes, points = _viewed(planes, points, recipe.view, size, rng if train else None)
    if train and recipe.flip and rng.random() < 0.5:
        planes = {name: plane[:, ::-1] for name, plane in planes.items()}
        points = None if points is None else _mirrored(points, planes["image"].shape[1], row.get("landmark_scheme"))
    if train and recipe.augment:
        planes.pop("noise", None)
        planes, points = augmented(planes, points, recipe.augment, key, frame=frame)
    rest = {name: value for name, value in row.items() if name not in (*PLANES, *PLACES) or value is None}
    return rest | planes | ({} if points is None else {"points": points})


def _viewed(
    planes: Planes, points: Points | None, view: str, size: int, rng: np.random.Generator | None
) -> tuple[Planes, Points | None]:
    """The whole crop at the input's size, or a part of that size, drawn by ``rng``; without, the crop as it is."""
    height, width = planes["image"].shape[:2]
    if view == "resize" or min(height, width) < size:
        if min(height, width) != size:
            planes.pop("noise", None)
        scaled = {name: _scaled(plane, size, name) for name, plane in planes.items()}
        return scaled, None if points is None else points * (size / width, size / height)
    if rng is None:
        return planes, points
    top, left = (int(rng.integers(0, length - size + 1)) for length in (height, width))
    part = {name: plane[top : top + size, left : left + size] for name, plane in planes.items()}
    return part, None if points is None else points - (left, top)


def collate(samples: Sequence[dict[str, Any]], sigma: float | None = None) -> dict[str, Any]:
    """Samples of one size as a batch of tensors, pictures still uint8, see :mod:`forgeprep.training.models.detector`.

    A mask that a sample lacks is zero, and said to be absent; ``noise`` is there where all samples bring theirs, and
    ``magnitude`` where that column was read: a real's is zero, a fake's may be absent. ``landmarks`` where they were
    read: for each sample those of the picture, see :func:`prepare`, or None.
    """
    images = _stacked([sample["image"] for sample in samples])
    masks = [sample.get("mask") for sample in samples]
    empty = np.zeros(images.shape[-3:-1], np.uint8)
    batch: dict[str, Any] = {
        "image": images.movedim(-1, 1),
        "mask": _stacked([empty if mask is None else mask for mask in masks])[:, None],
        "label": torch.tensor([float(s["label"]) for s in samples]),
        "method": torch.tensor([s["method_number"] for s in samples]),
        "has_mask": torch.tensor([mask is not None for mask in masks]),
        "sigma": torch.tensor([sigma or (10.0 if s["compression"] == "c40" else 5.0) for s in samples]),
        "sample_id": [s["sample_id"] for s in samples],
        "levels": {level: [class_at(level, s) for s in samples] for level in LEVELS},
    }
    if all("mask_magnitude" in sample for sample in samples):
        told = [sample["mask_magnitude"] for sample in samples]
        batch["magnitude"] = _stacked([empty if m is None else m for m in told])[:, None]
        known = [m is not None or s["label"] == 0 for m, s in zip(told, samples, strict=True)]
        batch["has_magnitude"] = torch.tensor(known)
    if any("points" in sample for sample in samples):
        batch["landmarks"] = [sample.get("points") for sample in samples]
    if all(sample.get("noise") is not None for sample in samples):
        batch["noise"] = _stacked([sample["noise"] for sample in samples])[:, None]
    return batch


def _stacked(planes: Sequence[UInt8]) -> Tensor:
    return torch.from_numpy(np.stack(planes))


def to_device(batch: dict[str, Any], device: torch.device, *, noise: bool) -> dict[str, Any]:
    """The batch on a device, pictures as floats; noise is decoded, or computed of the image there."""
    from forgeprep.training.noise import noise_residual

    moved = {name: v.to(device, non_blocking=True) if isinstance(v, Tensor) else v for name, v in batch.items()}
    moved["image"] = moved["image"].float() / 255
    moved["mask"] = (moved["mask"] > 127).float()
    if "magnitude" in batch:
        moved["magnitude"] = moved["magnitude"].float() / 255
    if noise and "noise" in batch:
        moved["noise"] = (moved["noise"].float() - 128) / 5
    elif noise:
        moved["noise"] = noise_residual(moved["image"], moved["sigma"])
    return moved


def _corner(before: UInt8, middle: UInt8) -> tuple[int, int]:
    """Where the middle's first pixel lies, x and y."""
    return (before.shape[1] - middle.shape[1]) // 2, (before.shape[0] - middle.shape[0]) // 2


def _mirrored(points: Points, width: int, scheme: str | None) -> Points:
    """Landmarks of the mirrored picture, each in the place of its scheme: a left eye becomes a right one."""
    mirrored = points * (-1, 1) + (width, 0)
    order = mirrored_order(scheme) if scheme is not None else None
    return mirrored if order is None else mirrored[list(order)]


def _middle(plane: UInt8, share: float) -> UInt8:
    height, width = plane.shape[:2]
    sides = max(1, round(height * share)), max(1, round(width * share))
    top, left = (height - sides[0]) // 2, (width - sides[1]) // 2
    return plane[top : top + sides[0], left : left + sides[1]]


def _scaled(plane: UInt8, size: int, name: str) -> UInt8:
    if name == "image":
        return resize_square(plane, size)
    if plane.shape[:2] == (size, size):
        return plane
    # The share of forged pixels, cut at a half: thin regions neither vanish nor grow.
    way = cv2.INTER_AREA if min(plane.shape[:2]) >= size else cv2.INTER_LINEAR
    share = cv2.resize(plane, (size, size), interpolation=way)
    if name == "mask_magnitude":
        return np.asarray(share, np.uint8)
    return np.where(share > 127, 255, 0).astype(np.uint8)
