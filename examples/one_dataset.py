"""One dataset on one machine: FaceForensics++ into Parquet shards.

python examples/one_dataset.py FaceForensics++ shards --workers 4
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from forgeprep.pipeline.configure import make_config
from forgeprep.pipeline.run import execute, prepare_run
from forgeprep.shards.verify import verify
from forgeprep.text import counted


def main() -> None:
    """Run, verify, and say what came out."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("root", type=Path)
    arguments.add_argument("out", type=Path)
    arguments.add_argument("--frames", default="32")
    arguments.add_argument("--workers", type=int, default=2)
    given = arguments.parse_args()
    config = make_config("ffpp", {"stages": "crop,mask,noise", "frames": given.frames})
    prepared = prepare_run(config, given.root, given.out)
    samples: dict[str, int] = {}
    result = execute(
        prepared, workers=given.workers, report=lambda shard, progress: samples.update({shard: progress.rows})
    )
    problems = verify(given.out) if not result.failed else result.failed
    told = [counted(len(samples), "shard"), counted(len(problems), "problem")]
    print(f"{counted(sum(samples.values()), 'sample')} in {', '.join(told)}")
    for problem in problems:
        print(problem)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
