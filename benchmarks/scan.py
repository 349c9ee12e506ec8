"""How long and how much memory it takes to list and plan a dataset of pictures, beside a bare walk of its folders.

The files hold one byte: nothing is decoded, as in a real plan. Run: python benchmarks/scan.py [--files 200000]
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from forgeprep.datasets import get_dataset
from forgeprep.datasets.base import ScanOptions
from forgeprep.pipeline.configure import make_config
from forgeprep.pipeline.run import prepare_run

KINDS = ("real/CelebA_HQ/{:06d}.jpg", "fake/FS/Diffusion/{:06d}_DiffFace.png", "fake/AM/Diffusion/{:06d}.png",
         "fake/EFS/GAN/stylegan_{:06d}.png")  # fmt: skip


def main() -> None:
    """Make the files, list them, plan them, and print seconds and the largest memory so far."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--files", type=int, default=200_000)
    arguments.add_argument("--json", type=Path, help="write the figures to this file too")
    given = arguments.parse_args()
    count = given.files
    with tempfile.TemporaryDirectory() as folder:
        root, out = Path(folder, "in"), Path(folder, "out")
        write(root, count)
        bare = timed("walk and stat", lambda: sum(path.stat().st_size for path in root.rglob("*")))
        scan = timed("scan", lambda: len(get_dataset("genface").scan(root, ScanOptions()).clips))
        config = make_config("genface", {"stages": "crop"})
        plan = timed("scan and plan", lambda: len(prepare_run(config, root, out).shards))
        size = (out / "meta/plan.pq").stat().st_size
        print(f"scan {scan / bare:.1f} x a bare walk, scan and plan {plan / bare:.1f} x; plan {size / 1e6:.1f} MB")
    if given.json:
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        given.json.write_text(json.dumps({"scan and plan s": plan, "scan and plan MB": memory}))


def write(root: Path, count: int) -> None:
    """Files of one byte in GenFace's layout, 7 of 10 in train."""
    done = 0
    for split, share in (("train", 0.7), ("val", 0.15), ("test", 0.15)):
        for kind in KINDS:
            (root / split / kind).parent.mkdir(parents=True)
            for number in range(round(share * count / len(KINDS))):
                (root / split / kind.format(number)).write_bytes(b"x")
                done += 1
    print(f"{done:,} files")


def timed(what: str, act: Callable[[], object]) -> float:
    """Run ``act`` and print what it took; returns seconds."""
    started = time.perf_counter()
    act()
    seconds = time.perf_counter() - started
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{what:<14} {seconds:6.1f} s   {memory:6.0f} MB at most so far")
    return seconds


if __name__ == "__main__":
    main()
