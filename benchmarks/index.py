"""Time and memory of the index that a training begins with: ``load_index`` over many small shards without pictures.

Run: python benchmarks/index.py [--rows 2000000 --shards 500 --work FOLDER]
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from forgeprep.training.data import epoch_order
from forgeprep.training.sample_index import load_index

METHODS = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures")
GROUP = 500


def main() -> None:
    """Write the shards unless they are there, then load."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rows", type=int, default=2_000_000)
    arguments.add_argument("--shards", type=int, default=500)
    arguments.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "forgeprep-index")
    given = arguments.parse_args()
    make_shards(given.work, given.rows, given.shards)
    before, started = peak(), time.perf_counter()
    index = load_index([given.work], "train")
    spent = time.perf_counter() - started
    print(f"{len(index):,} samples: load_index {spent:.1f} s, {peak() - before:,.0f} MiB more at most")
    started = time.perf_counter()
    epoch_order(index, seed=0, epoch=0)
    print(f"epoch_order {time.perf_counter() - started:.1f} s, {peak() - before:,.0f} MiB more at most")


def make_shards(work: Path, rows: int, shards: int) -> None:
    """Shards with the columns that an index is made from; a fifth of the samples is real."""
    folder = work / "shards" / "train"
    folder.mkdir(parents=True, exist_ok=True)
    each = rows // shards
    number = np.arange(each)
    kind = number % (len(METHODS) + 1)
    method = [None if k == 0 else METHODS[k - 1] for k in kind.tolist()]
    for shard in range(shards):
        path = folder / f"{shard:05d}.parquet"
        if path.is_file():
            continue
        table = pa.table(
            {
                "sample_id": [f"ffpp/c23/{shard:05d}/{n:06d}" for n in number.tolist()],
                "label": pa.array((kind > 0).astype(np.int8)),
                "forgery": ["real" if m is None else "identity_replaced" for m in method],
                "method": pa.array(method, pa.string()),
                "family": pa.array([None if m is None else "graphics" for m in method], pa.string()),
                "enlarge": pa.array(np.full(each, 1.3, np.float32)),
                "image_size": pa.array([[299, 299]] * each, pa.list_(pa.int32())),
            }
        )
        pq.write_table(table, path, row_group_size=GROUP)


def peak() -> float:
    """The most memory of this process so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
