"""Fakes as they are found in the wild: shifted, resampled, letterboxed, partly forged. Made from demo clips."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq

from forgeprep.media.regions import frame_rgb
from forgeprep.media.video import read_frames
from forgeprep.ops.perturb.catalogue import perturb, ready
from forgeprep.ops.perturb.draw import seeded
from forgeprep.pipeline.configure import make_config
from forgeprep.pipeline.run import execute, prepare_run
from forgeprep.shards.read import iter_rows, shard_paths
from forgeprep.shards.verify import verify
from tests.conftest import UInt8, encode_video, read_picture

CRF = {"raw": 0, "c23": 23, "c40": 40}


def original_path(root: Path, stem: str, compression: str) -> Path:
    return root / f"original_sequences/youtube/{compression}/videos/{stem[:3]}.mp4"


def fake_path(root: Path, method: str, stem: str, compression: str) -> Path:
    return root / f"manipulated_sequences/{method}/{compression}/videos/{stem}.mp4"


def pictures(path: Path) -> list[UInt8]:
    """All frames, RGB; they are kept for the next test and cannot be written to."""
    there = path.stat()
    return list(_decoded(path, there.st_mtime_ns, there.st_size))


@lru_cache(maxsize=6)
def _decoded(path: Path, changed: int, size: int) -> tuple[UInt8, ...]:
    frames = tuple(frame_rgb(frame) for frame in read_frames(path))
    for frame in frames:
        frame.flags.writeable = False
    return frames


def place(
    demo: Path,
    root: Path,
    stem: str,
    method: str,
    frames: Sequence[UInt8],
    *,
    compression: str = "c23",
    original_compression: str | None = None,
    fps: int = 25,
    change: Callable[[UInt8], UInt8] = lambda picture: picture,
) -> Path:
    """A dataset of one original of the demo, as it is, and one fake with these frames."""
    source = original_path(demo, stem, original_compression or compression)
    target = original_path(root, stem, compression)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(source.read_bytes())
    path = fake_path(root, method, stem, compression)
    return encode_video(path, map(change, frames), crf=CRF[compression], fps=fps)


def shards(root: Path, out: Path, **given: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, Any]]:
    """Run; returns rows, drops and clips by id."""
    values = {"stages": "crop,mask", "frames": "10", **given}
    prepared = prepare_run(make_config("ffpp", values), root, out)
    assert execute(prepared, workers=0, report=lambda *_: None).failed == []
    assert verify(out) == []
    rows = [row for path in shard_paths(out) for row in iter_rows(path)]
    clips = {clip["clip_id"]: clip for clip in pq.read_table(out / "meta/clips.pq").to_pylist()}
    return rows, pq.read_table(out / "meta/drops.pq").to_pylist(), clips


def letterboxed(size_wh: tuple[int, int], top: int, left: int) -> Callable[[UInt8], UInt8]:
    """Scale to a size, and put black bars around it."""

    def change(picture: UInt8) -> UInt8:
        small = cv2.resize(picture, size_wh, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.copyMakeBorder(small, top, top, left, left, cv2.BORDER_CONSTANT), np.uint8)

    return change


APART = ("zoom", "translate", "downscale", "jpeg", "brightness", "contrast", "gamma", "white-balance", "saturation")
"""Perturbations that people leave a picture recognisable in: cropped, rescaled, compressed, recoloured."""


def perturb_apart(root: Path, seed: int = 0, names: Sequence[str] = APART) -> int:
    """Perturb every picture of a ForgeryNet tree by three of some perturbations, each picture by others.

    Provided masks and the truth move with their picture. Returns how many fakes there are.
    """
    fakes = 0
    for picture in sorted(root.glob("*/image/**/*.jpg")):
        home, _, release, *rest = picture.relative_to(root).parts
        rng = seeded(seed, *picture.relative_to(root).parts)
        steps = [ready(str(name), int(rng.integers(1, 4)), rng) for name in rng.choice(names, 3, replace=False)]
        changed, warps = perturb(np.ascontiguousarray(read_picture(picture)[..., ::-1]), steps, rng)
        cv2.imwrite(str(picture), cv2.cvtColor(changed, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 90])
        mask = root / home / "spatial_localize" / release.replace("_release", "_mask_release") / Path(*rest)
        truth = (root / "truth" / home / release / Path(*rest)).with_suffix(".png")
        for beside in (mask, truth) if mask.is_file() else ():
            moved = read_picture(beside, cv2.IMREAD_GRAYSCALE)
            for warp in warps:
                moved = warp.mask(moved) if beside is truth else warp.levels(moved)
            cv2.imwrite(str(beside), moved)
        fakes += mask.is_file()
    return fakes
