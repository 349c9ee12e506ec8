"""Read shards in PyTorch: crops, masks and labels in batches, each worker of the loader with its own row groups.

python examples/read_in_pytorch.py shards --split train --size 224
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import pyarrow.parquet as pq
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from forgeprep.shards.encode import decode_image
from forgeprep.shards.read import shard_paths


class Crops(IterableDataset[dict[str, torch.Tensor]]):
    """Samples as {"image": float (3, S, S) in [0, 1], "mask": float (1, S, S), 0 or 1, "label": long}."""

    def __init__(self, out: Path, split: str, size: int) -> None:
        self.paths, self.size = [path for path in shard_paths(out, split) if path.suffix == ".parquet"], size
        if not self.paths:
            raise SystemExit(f"no Parquet shards under {out}/shards/{split}: give the --out folder of a run")

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        groups = [(path, g) for path in self.paths for g in range(pq.read_metadata(path).num_row_groups)]
        for path, group in groups[first::step]:
            table = pq.ParquetFile(path, pre_buffer=False).read_row_group(group, columns=["image", "mask", "label"])
            for row in table.to_pylist():
                image = cv2.resize(decode_image(row["image"]["bytes"]), (self.size, self.size))
                mask = cv2.resize(decode_image(row["mask"]["bytes"]), (self.size, self.size), interpolation=0)
                yield {
                    "image": torch.from_numpy(image).permute(2, 0, 1) / 255,
                    "mask": torch.from_numpy(mask)[None] / 255,
                    "label": torch.tensor(row["label"]),
                }


def main() -> None:
    """Count samples and the forged share of their pixels."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("out", type=Path)
    arguments.add_argument("--split", default="train")
    arguments.add_argument("--size", type=int, default=224)
    given = arguments.parse_args()
    count, forged = 0, 0.0
    for batch in DataLoader(Crops(given.out, given.split, given.size), batch_size=32, num_workers=2):
        count += len(batch["label"])
        forged += float(batch["mask"].mean()) * len(batch["label"])
    print(f"{count} samples, {100 * forged / count:.1f} % of their pixels forged")


if __name__ == "__main__":
    main()
