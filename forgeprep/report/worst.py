"""The samples whose masks are most doubtful, as rows for people and for programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from forgeprep.io.atomic import atomic_write_bytes
from forgeprep.report.signs import Signs

LISTED = 200
"""How many are listed where nothing else is said."""

FIELDS = (
    "split", "method", "compression", "clip_id", "track_id", "frame_index", "timestamp_s", "mask_source",
    "mask_confidence", "mask_stray", "mask_jump", "mask_fraction", "mask_agreement",
)  # fmt: skip
HEADER = ("rank", "sample_id", "doubt", "signs", *FIELDS, "shard")
"""The columns of the CSV file. A sequence has one row, with the figures of its worst frame."""

Row = dict[str, Any]


class Worst:
    """Keeps the ``count`` samples whose masks are most doubtful; memory does not grow with the run."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._kept: list[tuple[float, str, Row]] = []
        self._least = float("-inf")

    def add(self, shard: str, sample_id: str, rated: Sequence[tuple[Row, Signs]]) -> None:
        """Consider a sample by that frame of it which is most doubtful; ``rated`` are its frames with their signs."""
        frame, signs = max(rated, key=lambda one: one[1].doubt, default=(None, None))
        if frame is None or signs is None or signs.doubt < self._least:
            return
        own = {name: frame.get(name) for name in FIELDS}
        row = {"sample_id": sample_id, "doubt": signs.doubt, "signs": " ".join(signs.beyond), **own, "shard": shard}
        self._kept.append((-signs.doubt, sample_id, row))
        if len(self._kept) >= 2 * self.count:
            self._cut()

    def rows(self) -> list[Row]:
        """The samples, the most doubtful first; of equal ones the first by name."""
        self._cut()
        return [{"rank": rank, **row} for rank, (*_, row) in enumerate(self._kept, 1)]

    def _cut(self) -> None:
        self._kept.sort(key=lambda entry: entry[:2])
        del self._kept[self.count :]
        if len(self._kept) == self.count:
            self._least = -self._kept[-1][0]


def write_csv(rows: Iterable[Row], file: Path) -> None:
    """Write rows of :meth:`Worst.rows` as CSV: UTF-8, a header, empty cells where a figure is not known.

    Raises:
        StorageError: it cannot be written.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(HEADER)
    table.writerows([_cell(row.get(name)) for name in HEADER] for row in rows)
    atomic_write_bytes(file, text.getvalue().encode())


def _cell(value: object) -> object:
    # Columns are float32: more digits are none of theirs.
    return f"{value:.6g}" if isinstance(value, float) else value
