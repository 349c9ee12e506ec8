"""Trees of files for the adapters of datasets, and what these find there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from forgeprep.datasets import get_dataset
from forgeprep.datasets.base import Scan, ScanOptions


def scan(name: str, root: Path, **params: Any) -> Scan:
    dataset = get_dataset(name)
    return dataset.scan(root, ScanOptions(params=dataset.params.model_validate(params)))


def put(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")
    return root
