"""How good the masks are: against the true ones of the demo dataset, per method and compression.

    python benchmarks/masks.py                    # makes a demo dataset; about three minutes
    python benchmarks/masks.py --demo demo/ffpp   # uses one that is there

Compressions: raw, c23, c40, and c23 fakes whose originals were compressed as c40. Per cell:

* IoU: mean over samples; a fake dropped as ``no_difference`` or ``no_visual_change`` counts as 0;
* stray: pixels of the mask outside the true region widened by 10 % of the crop, as a share of the crop;
* one: share of samples whose mask is one connected region;
* stable: IoU of the masks of neighbouring frames, in the coordinates of the crop, which goes with the face; beside it
  the same for the true masks, which move with mouth and expression too.

The last line says whether the confidence ranks masks: how many of those with IoU < 0.5 are in its lowest quarter.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from forgeprep.demo import load_truth, make_demo
from forgeprep.pipeline.configure import make_config
from forgeprep.pipeline.run import execute, prepare_run
from forgeprep.shards.read import iter_rows, shard_paths

Bool = npt.NDArray[np.bool_]
COMMON = 160
"""Side in pixels at which masks of neighbouring frames are compared."""
DROPPED = {"no_difference", "no_visual_change"}


@dataclass(frozen=True, slots=True)
class Found:
    """A sample's figures; ``aligned`` and ``truth`` are mask and true mask at a common size, bool (COMMON, COMMON)."""

    clip_id: str
    frame: int
    method: str
    iou: float
    stray: float
    regions: int
    confidence: float
    aligned: Bool
    truth: Bool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", type=Path, help="a demo dataset with all methods and compressions")
    parser.add_argument("--frames", default="all", help="frames of each clip, as in forgeprep run")
    parser.add_argument("--enlarge", type=float, default=1.3)
    parser.add_argument("--only", nargs="*", help="of raw c23 c40 c23/c40")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        demo = given.demo or Path(folder, "ffpp")
        if given.demo is None:
            make_demo(demo)
        everything: list[Found] = []
        print(f"{'':28}{'n':>6}{'IoU':>8}{'lowest':>8}{'stray %':>9}{'one %':>8}{'stable':>8}{'(true)':>8}")
        for name, fake, original in (
            ("raw", "raw", "raw"),
            ("c23", "c23", "c23"),
            ("c40", "c40", "c40"),
            ("c23/c40", "c23", "c40"),
        ):
            if given.only and name not in given.only:
                continue
            root = _arranged(demo, Path(folder, name.replace("/", "-")), fake, original)
            found, lost = evaluate(root, demo, fake, frames=given.frames, enlarge=given.enlarge)
            everything += found
            for method in sorted({one.method for one in found} | set(lost)):
                _print_row(f"{name} {method}", [one for one in found if one.method == method], lost.get(method, 0))
            _print_row(f"{name} all", found, sum(lost.values()))
        _print_ranking(everything)


def evaluate(
    root: Path, demo: Path, compression: str, *, frames: str = "all", enlarge: float = 1.3
) -> tuple[list[Found], dict[str, int]]:
    """Run crop and mask over a dataset; returns the samples' figures, and how many fakes were given up by method."""
    with tempfile.TemporaryDirectory() as folder:
        values = {"stages": "crop,mask", "compression": compression, "frames": frames, "enlarge": enlarge}
        out = Path(folder, "out")
        failed = execute(prepare_run(make_config("ffpp", values), root, out), workers=0, report=lambda *_: None).failed
        assert not failed, failed
        found = [one for path in shard_paths(out) for one in _measured(path, demo)]
        lost: dict[str, int] = defaultdict(int)
        for drop in pq.read_table(out / "meta/drops.pq").to_pylist():
            if drop["reason"] in DROPPED:
                lost[drop["clip_id"].split("/")[2]] += 1
    return sorted(found, key=lambda one: (one.clip_id, one.frame)), lost


def iou(a: Bool, b: Bool) -> float:
    """Intersection over union, 1 for two empty masks."""
    either = int(np.count_nonzero(a | b))
    return int(np.count_nonzero(a & b)) / either if either else 1.0


def _arranged(demo: Path, root: Path, fake: str, original: str) -> Path:
    """The demo with fakes at one compression, and in its place originals of another."""
    for folder in (demo / "manipulated_sequences").iterdir():
        _link(root / "manipulated_sequences" / folder.name / fake, folder / fake)
    sequences = "original_sequences/youtube"
    _link(root / sequences / fake, demo / sequences / original)
    return root


def _link(link: Path, target: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target.resolve(), target_is_directory=True)


def _measured(path: Path, demo: Path) -> Iterator[Found]:
    truths: dict[str, Bool] = {}
    for row in iter_rows(path):
        if row["label"] == 1:
            name = f"{row['method']}/{row['clip_id'].rsplit('/', 1)[-1]}"
            if name not in truths:
                truths = {name: load_truth(demo / f"truth/{name}.npz")}
            yield _measure(row, truths[name][row["frame_index"]])


def _measure(row: dict[str, Any], frame_truth: Bool) -> Found:
    x0, y0, x1, y1 = row["crop_box"]
    into_crop = np.array([[1, 0, -x0], [0, 1, -y0]], np.float32)
    truth = cv2.warpAffine(frame_truth.astype(np.uint8), into_crop, (x1 - x0, y1 - y0)) > 0
    mask = row["mask"] > 0
    reach = 2 * round(0.1 * len(mask)) + 1
    wide = cv2.dilate(truth.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))) > 0
    return Found(
        clip_id=row["clip_id"],
        frame=row["frame_index"],
        method=row["method"],
        iou=iou(mask, truth),
        stray=float(np.mean(mask & ~wide)),
        regions=cv2.connectedComponents(row["mask"])[0] - 1,
        confidence=row["mask_confidence"],
        aligned=_common(mask),
        truth=_common(truth),
    )


def _common(mask: Bool) -> Bool:
    small = cv2.resize(mask.astype(np.float32), (COMMON, COMMON), interpolation=cv2.INTER_AREA)
    return np.asarray(small > 0.5)


def _print_row(name: str, found: list[Found], lost: int) -> None:
    if not found:
        print(f"{name:28}{lost:6} all given up")
        return
    pairs = [(a, b) for a, b in itertools.pairwise(found) if (a.clip_id, a.frame + 1) == (b.clip_id, b.frame)]
    stable = np.mean([iou(a.aligned, b.aligned) for a, b in pairs]) if pairs else np.nan
    true = np.mean([iou(a.truth, b.truth) for a, b in pairs]) if pairs else np.nan
    print(
        f"{name:28}{len(found) + lost:6}{sum(one.iou for one in found) / (len(found) + lost):8.3f}"
        f"{min(one.iou for one in found):8.3f}{100 * np.mean([one.stray for one in found]):9.3f}"
        f"{100 * np.mean([one.regions == 1 for one in found]):8.1f}{stable:8.3f}{true:8.3f}"
        + (f"   {lost} given up" if lost else "")
    )


def _print_ranking(found: list[Found]) -> None:
    bad = [one for one in found if one.iou < 0.5]
    if not bad:
        print("no mask has IoU < 0.5")
        return
    lowest = sorted(found, key=lambda one: one.confidence)[: len(found) // 4]
    caught = sum(one.iou < 0.5 for one in lowest)
    print(f"{caught} of {len(bad)} masks with IoU < 0.5 are in the quarter of lowest confidence")


if __name__ == "__main__":
    main()
