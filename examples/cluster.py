"""Shards for a lab, made on a Ray cluster; root and out lie on storage that every node sees under the same path.

    python examples/cluster.py /data/FaceForensics++ /data/shards --address auto

Without ``--address`` a small cluster is started on this machine, which is how to try it out.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from forgeprep.pipeline.configure import make_config
from forgeprep.pipeline.progress import Progress
from forgeprep.pipeline.run import execute, prepare_run
from forgeprep.text import counted


def main() -> None:
    """Run the preset two-stream into both formats, one line for each shard that is done."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("root", type=Path)
    arguments.add_argument("out", type=Path)
    arguments.add_argument("--address", default=None)
    arguments.add_argument("--frames", default=None)
    given = arguments.parse_args()
    config = make_config("ffpp", {"preset": "two-stream", "format": "both", "frames": given.frames})
    prepared = prepare_run(config, given.root, given.out)
    clips = {shard.name: shard.clips for shard in prepared.shards}
    told: set[str] = set()

    def report(shard: str, progress: Progress) -> None:
        if progress.clips == clips[shard] and shard not in told:
            told.add(shard)
            print(f"{shard}: {counted(progress.rows, 'sample')}, {counted(progress.drops, 'drop')}", flush=True)

    result = execute(prepared, workers=2, address=given.address, report=report)
    for shard, message in result.failed:
        print(f"{shard} failed: {message}")
    sys.exit(1 if result.failed else 0)


if __name__ == "__main__":
    main()
