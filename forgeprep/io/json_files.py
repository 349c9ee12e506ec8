"""JSON as every program reads it: it has no NaN and no infinity, null stands for them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from forgeprep.io.atomic import atomic_write_bytes


def plain(value: Any) -> Any:
    """The value with null in place of numbers that are not finite.

    >>> plain({"auc": float("nan"), "acc": [0.5, float("inf")]})
    {'auc': None, 'acc': [0.5, None]}
    """
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def json_text(value: Any, **options: Any) -> str:
    """The value as JSON; ``options`` as those of ``json.dumps``."""
    return json.dumps(plain(value), allow_nan=False, **options)


def write_json(path: Path, value: Any) -> None:
    """Write a file of JSON whole or not at all.

    Raises:
        StorageError: it cannot be written.
    """
    atomic_write_bytes(path, json_text(value, indent=1).encode() + b"\n")
