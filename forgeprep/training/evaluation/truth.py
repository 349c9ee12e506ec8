"""What shards say of the samples that are judged: their labels, and what they have in common; reads no pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from forgeprep.export.base import dataset_of
from forgeprep.export.select import Clips
from forgeprep.schemas.splits import read_split
from forgeprep.shards.names import table_path
from forgeprep.shards.read import shard_paths
from forgeprep.shards.records import read_run
from forgeprep.shards.sequences import MARK as SEQUENCES
from forgeprep.shards.sums import shard_sums
from forgeprep.training.sample_index import SampleIndex, load_index, read_columns, sequence_index

Row = dict[str, Any]
COLUMNS = (
    "sample_id", "clip_id", "source_id", "dataset", "split", "track_id", "frame_index", "label", "forgery", "method",
    "family", "compression", "perturbation",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ClipFacts:
    """What a clip has in common with others.

    Attributes:
        group: its source group, without the compression: a video at two qualities is one and the same.
        people: who is in it, as far as the dataset names them.
        perturbation: what was done to its crops, e.g. ``jpeg:3``; None for nothing.
        path: the file in the dataset; empty where the run does not say.
        method: the clip's; None for a real one.
        size: bytes of its source's video; 0 where the run does not say.
    """

    group: str
    people: tuple[str, ...] = ()
    perturbation: str | None = None
    path: str = ""
    method: str | None = None
    size: int = 0

    def units(self, kind: str) -> tuple[str, ...]:
        """The names of what is drawn again: of ``source`` its group, of ``identity`` the people, else its group too."""
        return self.people if kind == "identity" and self.people else (self.group,)


@dataclass(frozen=True, slots=True)
class Truth:
    """The samples of a split.

    Attributes:
        rows: a dict for each sample, with :data:`COLUMNS`.
        clips: clip_id -> what it has in common with others.
        absent: ``frames`` that were planned and have no sample, and ``clips`` that have none at all.
        dataset: the run's.
    """

    rows: list[Row]
    clips: Mapping[str, ClipFacts]
    absent: Mapping[str, int]
    dataset: str


def read_truth(out: Path, split: str, *, sequence: tuple[int, int] | None = None) -> Truth:
    """The samples of a split.

    Args:
        out: the folder of a run.
        split: train, val or test.
        sequence: frames and step of the sequences that a model makes of frames; None where a sample is a row.

    Raises:
        UsageError: no run, no sample.
        VerifyError: a shard or a table is damaged.
    """
    index = load_index([out], split)
    made = sequence is not None and SEQUENCES not in index.columns  # What is stored as a sequence is a row already.
    rows = _sequence_rows(index, *sequence) if sequence and made else _rows(index, index)
    return Truth(rows, *clip_facts(out, split, rows), dataset_of(read_run(out)))


def clip_facts(out: Path, split: str, rows: list[Row] | None = None) -> tuple[dict[str, ClipFacts], dict[str, int]]:
    """The clips of a split, and how much of it is absent; ``rows`` as :func:`read_truth` gives them, if they are there.

    Raises:
        VerifyError: a shard or a table is damaged.
    """
    known: dict[str, Row] = {}
    absent = {"frames": 0, "clips": 0}
    # Runs that were made by hand may lack the table.
    for clip in Clips(out).rows if table_path(out, "clips").is_file() else ():
        if read_split(str(clip.get("split"))) == split:
            known[clip["clip_id"]] = clip
            absent["frames"] += int(clip.get("dropped") or 0)
            absent["clips"] += int(not clip.get("written"))
    found: dict[str, ClipFacts] = {}
    for row in _clip_rows(out, split) if rows is None else rows:
        if row["clip_id"] not in found:
            clip = known.get(row["clip_id"], {})
            people = tuple(sorted(set(clip.get("identities") or ())))
            path = str(clip.get("path") or "")
            method = clip.get("method", row.get("method"))
            size = int(known.get(str(row.get("source_id")), {}).get("size_bytes") or 0)
            found[row["clip_id"]] = ClipFacts(_group(row), people, row.get("perturbation"), path, method, size)
    return found, absent


def _clip_rows(out: Path, split: str) -> list[Row]:
    """What :func:`clip_facts` takes of a split, with a row or two a clip, where there may be millions of samples."""
    names = ["clip_id", "source_id", "compression", "perturbation", "method"]
    table = read_columns(load_index([out], split), names)
    found: list[Row] = table.group_by([name for name in names if name in table.column_names]).aggregate([]).to_pylist()
    return found


def shards_fingerprint(out: Path) -> str:
    """A hash over the checksums of a run's shards; over names and sizes, where the table of them is not there.

    Raises:
        VerifyError: the table is damaged.
    """
    try:
        lines = sorted(f"{path} {digest}" for path, digest in shard_sums(out).items())
    except FileNotFoundError:
        lines = [f"{file.relative_to(out)} {file.stat().st_size}" for file in shard_paths(out)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _rows(index: SampleIndex, judged: SampleIndex) -> list[Row]:
    """The rows of an index; label and method are those of ``judged``, of as many samples."""
    rows: list[Row] = read_columns(index, COLUMNS).to_pylist()
    for row, label, method in zip(rows, judged.label.tolist(), judged.method.tolist(), strict=True):
        row |= {"label": label, "method": judged.methods[method]}
    return rows


def _sequence_rows(index: SampleIndex, frames: int, step: int) -> list[Row]:
    """A row for each sequence: that of its first forged frame, or else of its first, as a model judges it."""
    made = sequence_index(index, frames=frames, step=step)
    assert made.parts is not None
    numbers = made.parts[1]
    labels = index.label[numbers]
    first = numbers[np.arange(len(numbers)), labels.argmax(axis=1)]
    every = _rows(index, index)
    return [
        {**every[at], "label": label, "method": made.methods[method]}
        for at, label, method in zip(first.tolist(), made.label.tolist(), made.method.tolist(), strict=True)
    ]


def _group(row: Row) -> str:
    """``ffpp/c23/071`` and ``ffpp/c40/071`` are one group."""
    parts = str(row.get("source_id") or row["clip_id"]).split("/")
    return "/".join(part for place, part in enumerate(parts) if place != 1 or part != row.get("compression"))
