"""A run's samples as a torch dataset: ``DataLoader(forgeprep.torch.Samples(out, "train", size=224), shuffle=True)``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch.utils.data import Dataset, Sampler

from forgeprep import reader
from forgeprep.io.storage import to_path
from forgeprep.schemas.columns import columns_of_run
from forgeprep.schemas.samples import SAMPLE_COLUMNS
from forgeprep.shards.records import read_run
from forgeprep.training.data import epoch_order

Row = dict[str, Any]
COLUMNS = ("image", "mask", "label")
_NEAREST = ("mask", "mask_provided")


class Samples(Dataset[Row]):
    """The samples of a split as dicts of tensors, which torch's ``DataLoader`` puts together.

    - ``image``: float32 (3, H, W), RGB, 0 to 1.
    - ``mask`` and other gray pictures: float32 (1, H, W), 0 to 1; ``noise`` is the residual, (byte - 128) / 5.
      Where a sample has none it is zeros, and ``has_mask`` is False.
    - Numbers and lists of them are tensors, texts stay texts. What may be null is float64, NaN or an empty list where
      it is; a text is "".
    - In runs of sequences, pictures have the frames in front: (T, 3, H, W).

    Args:
        out: the folder of a finished run, here or remote.
        split: train, val (or validation) or test.
        columns: what is read of a sample.
        size: side in pixels to which pictures are scaled. Without it they are as they are stored, and of one size only
            if the run had ``--size``.
        transform: is given the dict, and returns what the loader gets.
        methods: fakes of these methods, and all reals; all by default.

    Raises:
        UsageError: there is no such run, split, column or method.
        VerifyError: a shard is damaged.
    """

    def __init__(
        self,
        out: str | os.PathLike[str],
        split: str = "train",
        columns: Sequence[str] = COLUMNS,
        *,
        size: int | None = None,
        transform: Callable[[Row], Any] | None = None,
        methods: Sequence[str] | None = None,
    ) -> None:
        asked = dict.fromkeys(columns)
        self.rows = reader.Samples(out, split, [*dict.fromkeys([*asked, "image_size"])], methods=methods)
        self.columns, self.size, self.transform = tuple(asked), size, transform
        held = columns_of_run(read_run(to_path(out)), SAMPLE_COLUMNS)
        self._pictures = frozenset(column.name for column in held if column.is_picture)
        self._nullable = frozenset(column.name for column in held if column.nullable)
        self._lists = frozenset(column.name for column in held if pa.types.is_nested(column.type))
        self._texts = frozenset(column.name for column in held if pa.types.is_string(column.type))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> Any:
        row = self.rows[number]
        width, height = row["image_size"]
        found: Row = {}
        for name in self.columns:
            value = row[name]
            if name in self._pictures:
                found |= self._picture(name, value, (height, width))
            elif name in self._texts:
                found[name] = value if value is not None else ""
            elif isinstance(value, bytes):
                found[name] = value
            else:
                found[name] = self._number(name, value)
        return found if self.transform is None else self.transform(found)

    def _number(self, name: str, value: Any) -> torch.Tensor:
        # Of one type in all samples: a loader puts them together.
        if name in self._nullable:
            lost: Any = [] if name in self._lists else float("nan")
            return torch.as_tensor(lost if value is None else value, dtype=torch.float64)
        return torch.as_tensor(value)

    def _picture(self, name: str, value: Any, shape: tuple[int, int]) -> Row:
        frames = value if isinstance(value, list) else [value]
        blank = np.full((*shape, 3) if name == "image" else shape, 128 if name == "noise" else 0, np.uint8)
        planes = np.stack([_scaled(blank if frame is None else frame, self.size, name) for frame in frames])
        tensor = torch.from_numpy(np.ascontiguousarray(planes.reshape(*planes.shape[:3], -1).transpose(0, 3, 1, 2)))
        values = (tensor.float() - 128) / 5 if name == "noise" else tensor.float() / 255
        there = torch.tensor([frame is not None for frame in frames])
        single = not isinstance(value, list)
        told = {} if name == "image" else {f"has_{name}": there[0] if single else there}
        return {name: values[0] if single else values, **told}


class Shuffled(Sampler[int]):
    """Another order in each epoch, in which samples that are read together come near each other.

    With ``DataLoader(samples, shuffle=True)`` a group of rows is read for every sample. Given as ``sampler``, this one
    mixes the samples of a few groups, which are kept while they are needed.

    Args:
        samples: what is shuffled.
        seed: the same seed gives the same orders.
    """

    def __init__(self, samples: Samples, seed: int = 0) -> None:
        self.samples, self.seed, self.epoch = samples, seed, 0

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[int]:
        order = epoch_order(self.samples.rows.places, seed=self.seed, epoch=self.epoch)
        self.epoch += 1
        return iter(order.tolist())

    def set_epoch(self, epoch: int) -> None:
        """Go on with this epoch, as trainers ask for; else each pass is the next one."""
        self.epoch = epoch


def _scaled(picture: npt.NDArray[np.uint8], size: int | None, name: str) -> npt.NDArray[np.uint8]:
    if size is None or picture.shape[:2] == (size, size):
        return picture
    shrinks = max(picture.shape[:2]) > size
    how = cv2.INTER_NEAREST if name in _NEAREST else cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (size, size), interpolation=how), np.uint8)
