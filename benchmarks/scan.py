"""How long and how much memory it takes to list and plan a dataset of pictures, beside a bare walk of its folders.

The files are links to a few that hold next to nothing: nothing is decoded, as in a real plan. ForgeryNet's headers of
videos are read, of clips of four frames. Seconds are those of the clock, and of the processor in brackets: on a busy
machine the clock tells little. Run: python benchmarks/scan.py [--files 200000] [--layout forgerynet --share 1]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from scan_trees import write_forgerynet, write_genface

from forgeprep.datasets import get_dataset
from forgeprep.datasets.base import ScanOptions
from forgeprep.pipeline.configure import make_config
from forgeprep.pipeline.run import prepare_run


def main() -> None:
    """Make the files, list them, plan them, and print seconds and the largest memory so far."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--layout", choices=("genface", "forgerynet"), default="genface")
    arguments.add_argument("--files", type=int, default=200_000, help="pictures of GenFace")
    arguments.add_argument("--share", type=float, default=1.0, help="how much of ForgeryNet; all is 3.1 million files")
    arguments.add_argument("--masks", action="store_true", help="with ForgeryNet's masks, 1.5 million files more")
    arguments.add_argument("--tree", type=Path, help="a folder to make the files in, or where they are already")
    arguments.add_argument("--json", type=Path, help="write the figures to this file too")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root, out = (given.tree or Path(folder)) / "in", Path(folder, "out")
        if not root.is_dir():
            genface = given.layout == "genface"
            count = (
                write_genface(root, given.files) if genface else write_forgerynet(root, given.share, masks=given.masks)
            )
            print(f"{count:,} files")
        bare = timed("walk", lambda: walk(root))
        scan = timed("scan", lambda: len(get_dataset(given.layout).scan(root, ScanOptions()).clips))
        config = make_config(given.layout, {"stages": "crop"})
        plan = timed("scan and plan", lambda: len(prepare_run(config, root, out).shards))
        size = (out / "meta/plan.pq").stat().st_size
        print(f"scan {scan / bare:.1f} x a bare walk, scan and plan {plan / bare:.1f} x; plan {size / 1e6:.1f} MB")
    if given.json:
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        given.json.write_text(json.dumps({"scan and plan s": plan, "scan and plan MB": memory}))


def walk(root: Path) -> int:
    """List each folder once, and look at the size of each file: the least that any scan has to do."""
    total, left = 0, [str(root)]
    while left:
        with os.scandir(left.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    left.append(entry.path)
                else:
                    total += entry.stat().st_size
    return total


def timed(what: str, act: Callable[[], object]) -> float:
    """Run ``act`` and print what it took; returns seconds."""
    started, used = time.perf_counter(), time.process_time()
    act()
    seconds, used = time.perf_counter() - started, time.process_time() - used
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{what:<14} {seconds:6.1f} s ({used:.1f})  {memory:6.0f} MB at most so far", flush=True)
    return seconds


if __name__ == "__main__":
    main()
