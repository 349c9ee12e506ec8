"""Score files: what a detector says of each sample, as CSV or Parquet, written by forgeprep or by anyone else.

A CSV of forgeprep's own begins with facts, a line each, which most readers skip (``comment="#"``)::

    # forgeprep-scores: 1
    # model: "fn3-seg"
    # checkpoint: "9f86d081…"
    id,score,status
    ffpp/c23/Deepfakes/071_054/0/000000,0.8731,ok
    ffpp/c23/Deepfakes/071_054/0/000012,,error

In Parquet, the same facts are JSON under the key ``forgeprep`` of the file's metadata, and what the shards say of each
sample stands beside its score.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from forgeprep.errors import UsageError, VerifyError, unknown_name
from forgeprep.io.atomic import atomic_write_bytes
from forgeprep.io.json_files import json_text
from forgeprep.io.safe_files import LIST_BYTES, parse_json, read_bytes
from forgeprep.shards.records import table_bytes

VERSION = 1
IDS = (
    "id", "sample_id", "path", "image_path", "img_path", "frame_path", "file_name", "filename", "file", "image", "name",
    "clip_id", "clip", "video", "video_id",
)  # fmt: skip
SCORES = ("score", "prob", "probability", "fake_prob", "prob_fake", "p_fake", "pred", "prediction", "logit")
FRAMES = ("frame", "frame_index", "frame_idx", "frame_id")
"""What columns are commonly called; the first that is there is taken."""


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a file, where they are called otherwise."""

    id: str | None = None
    score: str | None = None
    frame: str | None = None


@dataclass(frozen=True, slots=True)
class ScoreFile:
    """What a file says, an entry each row.

    Attributes:
        path: the file.
        ids: of samples or clips, or paths of pictures.
        scores: float64, NaN where there is none.
        status: ``ok``, ``missing`` or ``error``.
        frames: the frame of the clip that ``ids`` names; None without such a column.
        facts: what the file says of its model and data; empty of other people's.
        notes: what is to be said of its columns, a line each.
    """

    path: Path
    ids: list[str]
    scores: npt.NDArray[np.float64]
    status: list[str]
    frames: list[int | None] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def write_score_files(
    base: Path, ids: Sequence[str], scores: npt.ArrayLike, facts: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> list[Path]:
    """Write ``base.parquet`` and ``base.csv``; a score that is no number gets the status ``error``.

    Args:
        base: the files without their suffix.
        ids: of samples or clips.
        scores: (N,).
        facts: of the model and of the data.
        rows: more columns for the Parquet file.

    Raises:
        StorageError: they cannot be written.
    """
    values = [value if math.isfinite(value) else None for value in np.asarray(scores, float).tolist()]
    status = ["error" if value is None else "ok" for value in values]
    known = {"forgeprep-scores": VERSION, **facts}
    own = {"id": pa.array(ids, pa.string()), "score": pa.array(values, pa.float64()), "status": pa.array(status)}
    more = pa.Table.from_pylist([dict(row) for row in rows])
    own |= {name: more[name] for name in more.column_names if name not in own}
    table = pa.table(own).replace_schema_metadata({"forgeprep": json_text(known)})
    lines = io.StringIO()
    lines.writelines(f"# {name}: {json_text(value)}\n" for name, value in known.items())
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(["id", "score", "status"])
    # repr: the shortest text that gives the same number again.
    writer.writerows([i, "" if v is None else repr(v), s] for i, v, s in zip(ids, values, status, strict=True))
    files = [base.with_name(f"{base.name}.{suffix}") for suffix in ("parquet", "csv")]
    atomic_write_bytes(files[0], table_bytes(table))
    atomic_write_bytes(files[1], lines.getvalue().encode())
    return files


def read_score_file(path: Path, columns: Columns | None = None) -> ScoreFile:
    """Read a score file.

    Args:
        path: a CSV (with commas, semicolons or tabs, and a line of names) or a Parquet file.
        columns: what its columns are called; those that are not given are found by common names.

    Raises:
        UsageError: there is no such file, or no such column, or none that holds ids or scores.
        VerifyError: it is damaged.
    """
    try:
        data = read_bytes(path, LIST_BYTES)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); give a CSV or Parquet file of scores") from None
    parquet = data[:4] == b"PAR1"
    table, facts = _from_parquet(path, data) if parquet else _from_csv(path, data)
    chosen = columns or Columns()
    names = list(table)
    ids = table[_column(path, "id", chosen.id, IDS, names)]
    taken = _column(path, "score", chosen.score, SCORES, names)
    scores = [_number(value) for value in table[taken]]
    others = [name for name in names if name.lower() in SCORES and name != taken]
    notes: tuple[str, ...] = ()
    if others and chosen.score is None and not facts:
        unused = " and ".join(f"'{name}'" for name in others)
        notes = (f"{path}: scores are those of its column '{taken}', not of {unused}; --score-column NAME chooses",)
    frame = chosen.frame or next((name for name in FRAMES if name in names), None)
    if chosen.frame is not None and chosen.frame not in names:
        raise unknown_name(f"column of {path}", chosen.frame, names)
    told = table.get("status", [None] * len(ids))
    return ScoreFile(
        path,
        ["" if value is None else str(value).strip() for value in ids],
        np.array(scores, np.float64),
        [_status(text, score) for text, score in zip(told, scores, strict=True)],
        # Files of our own name samples, and tell their frame beside.
        None if frame is None or facts else [frame_number(value) for value in table[frame]],
        facts,
        notes,
    )


def _from_parquet(path: Path, data: bytes) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    try:
        table = pq.read_table(pa.BufferReader(data))
        facts = parse_json((table.schema.metadata or {}).get(b"forgeprep", b"{}"))
        return {name: table[name].to_pylist() for name in table.column_names}, _facts_of(path, facts)
    except (OSError, ValueError, MemoryError, pa.ArrowException) as error:
        raise VerifyError(f"{path}: damaged ({' '.join(str(error).split())[:160]}); write it again") from None


def _from_csv(path: Path, data: bytes) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise VerifyError(f"{path}: is neither UTF-8 text nor Parquet; give a CSV or Parquet file of scores") from None
    at = next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))
    facts: dict[str, Any] = {}
    for line in lines[:at]:
        name, colon, value = line.lstrip("# ").partition(":")
        if colon:
            try:
                facts[name] = parse_json(value)
            except ValueError:
                facts[name] = value.strip()
    head = lines[at] if at < len(lines) else ""
    delimiter = max(",;\t", key=head.count)
    try:
        rows = list(csv.reader(lines[at:], delimiter=delimiter))
    except csv.Error as error:
        raise VerifyError(f"{path}: is no CSV ({error}); give a CSV or Parquet file of scores") from None
    names = [name.strip() for name in rows[0]] if rows else []
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"{path}: two columns are called '{twice}'; give each its own name")
    for number, row in enumerate(rows[1:], at + 2):
        if row and len(row) != len(names):
            raise VerifyError(f"{path}: row {number} has {len(row)} cells, and the first line names {len(names)}")
    body = [row for row in rows[1:] if row]
    return {name: [row[place] for row in body] for place, name in enumerate(names)}, _facts_of(path, facts)


def _facts_of(path: Path, facts: Any) -> dict[str, Any]:
    """The facts of a file of forgeprep's own; nothing for others, whose comments are theirs."""
    if not isinstance(facts, dict) or "forgeprep-scores" not in facts:
        return {}
    if facts["forgeprep-scores"] != VERSION:
        raise VerifyError(f"{path}: a newer forgeprep wrote it (version {facts['forgeprep-scores']}); update forgeprep")
    for name, fits in _FACTS.items():
        if facts.get(name) is not None and not fits(facts[name]):
            raise VerifyError(f"{path}: what it says of its '{name}' is damaged; write the file again")
    return facts


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_sequence(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(type(one) is int and one > 0 for one in value)


def _is_seen(value: Any) -> bool:
    names = ("sources", "train", "val", "people", "people_train")
    return isinstance(value, dict) and all(type(value.get(name)) is int for name in names)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


_FACTS: dict[str, Callable[[Any], bool]] = {
    "threshold": _is_number, "val_threshold": _is_number, "sequence": _is_sequence,
    "split": _is_text, "level": _is_text, "score": _is_text, "model": _is_text, "data": _is_text,
    "seen": _is_seen,
}  # fmt: skip
"""What is read of the facts, and what each has to be."""


def _column(path: Path, kind: str, given: str | None, common: Sequence[str], names: Sequence[str]) -> str:
    if given is not None:
        if given not in names:
            raise unknown_name(f"column of {path}", given, names)
        return given
    lower = {name.lower(): name for name in reversed(names)}
    for name in common:
        if name in lower:
            return lower[name]
    there = ", ".join(names[:12]) or "no columns"
    raise UsageError(
        f"{path}: which column holds the {kind}? Its first line has {there}; name the columns there, or give "
        f"--{kind}-column NAME"
    )


def _number(value: Any) -> float:
    try:
        # Spreadsheets of many countries write 0,87.
        number = float(value.replace(",", ".") if isinstance(value, str) else value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
    return number if math.isfinite(number) else math.nan


def frame_number(value: Any) -> int | None:
    """A frame's number, also as ``000123.png`` or ``frame_012`` tell it."""
    text = str(value).rpartition("/")[2].partition(".")[0]
    digits = "".join(reversed(list(_last_digits(text))))
    return int(digits) if 0 < len(digits) < 10 else None


def _last_digits(text: str) -> Iterator[str]:
    for letter in reversed(text):
        if not letter.isdecimal():
            break
        yield letter


def _status(text: Any, score: float) -> str:
    """As the file says, and ``error`` where it says ok, or nothing, and gives no number."""
    told = str(text).strip().lower() if text is not None else ""
    if told in ("missing", "error"):
        return told
    return "ok" if math.isfinite(score) else "missing" if told == "" and text is not None else "error"
