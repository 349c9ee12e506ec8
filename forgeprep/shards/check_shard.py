"""Check one shard against its record, and each of its samples."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from forgeprep.errors import VerifyError
from forgeprep.io.safe_files import open_regular
from forgeprep.io.storage import parquet_source
from forgeprep.schemas.drops import DROP_SCHEMA, REASONS
from forgeprep.schemas.samples import SAMPLE_COLUMNS, clip_columns, columns_of
from forgeprep.shards.check_sample import clip_problems, row_problems
from forgeprep.shards.read import iter_rows
from forgeprep.shards.write import file_schema

_PICTURES = [column.name for column in SAMPLE_COLUMNS if column.kind == "image"]
_BUILT_IN = {column.stage for column in SAMPLE_COLUMNS} | {"frames"}


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong. ``where`` is a file of the run, followed by the sample's id where it is about one."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass(slots=True)
class Checked:
    """What is kept of a shard once its rows have been read.

    Attributes:
        problems: what is wrong with it.
        file: the file whose rows were checked.
        hashes: 8 bytes a row, the hash of its sample_id.
        clips: (source_id, clip_id) -> rows.
        starved: whether there was too little memory to read it.
    """

    problems: list[Problem] = field(default_factory=list)
    file: str = ""
    hashes: bytearray = field(default_factory=bytearray)
    clips: Counter[tuple[str, str]] = field(default_factory=Counter)
    starved: bool = False

    def note(self, where: str, what: str) -> None:
        """Add a problem."""
        self.problems.append(Problem(where, what))


def check_shard(out: Path, record: dict[str, Any], stages: Sequence[str], clip_length: int | None = None) -> Checked:
    """Check a shard's record, its files and its rows. Damage of any kind becomes a problem, never an exception.

    ``clip_length`` is the number of frames of a sample in clip shards, else None.
    """
    checked = Checked()
    where = f"state/{record['shard']}.json"
    try:
        for what in _record_problems(record):
            checked.note(where, what)
        there = [file for file in record["files"] if _check_file(out / file["path"], file, checked)]
        files = [file for file in there if _check_schema(out, file["path"], stages, clip_length, checked)]
        if files:
            _check_rows(out, record, files, clip_length, checked)
    except MemoryError:
        checked.starved = True
        checked.note(where, "the shard claims more than it holds: checking it takes too much memory")
    except Exception as error:  # what damage makes a parser raise cannot be foreseen, and the other shards wait
        checked.note(where, f"the shard cannot be checked ({type(error).__name__}: {error})")
    return checked


def _record_problems(record: dict[str, Any]) -> Iterator[str]:
    rows, drops = record["rows"], [dict(zip(DROP_SCHEMA.names, drop, strict=True)) for drop in record["drops"]]
    if record["planned"] != rows + len(drops):
        yield f"{record['planned']} samples were planned, but there are {rows} rows and {len(drops)} drops"
    for drop in drops:
        if drop["reason"] not in REASONS:
            yield f"{drop['clip_id']}: frame {drop['frame_index']}: unknown drop reason '{drop['reason']}'"
    dropped = Counter(drop["clip_id"] for drop in drops)
    for clip in record["clips"]:
        name = clip["clip_id"]
        if clip["dropped"] != dropped[name]:
            yield f"{name}: {clip['dropped']} samples are said to be dropped, but {dropped[name]} drops are listed"
        if clip["split"] != record["split"]:
            yield f"{name}: split is '{clip['split']}', but the shard's is '{record['split']}'"
    for file in record["files"]:
        if file["rows"] != rows:
            yield f"{file['path']}: {file['rows']} rows, but the shard has {rows}"


def _check_file(path: Path, file: dict[str, Any], checked: Checked) -> bool:
    """Whether the file is there to be read further; its size and checksum on the way."""
    try:
        size = path.stat().st_size
        with open_regular(path) as stream:
            # A file of another size has another checksum too.
            digest = hashlib.file_digest(stream, "sha256").hexdigest() if size == file["bytes"] else None
    except FileNotFoundError:
        checked.note(file["path"], "the file is missing; run again to remake it")
        return False
    except OSError as error:
        checked.note(file["path"], f"cannot be read ({error.strerror})")
        return False
    if size != file["bytes"]:
        checked.note(file["path"], f"{size} bytes, but the record says {file['bytes']}")
    elif digest != file["sha256"]:
        checked.note(file["path"], "its SHA-256 is not the record's: the bytes have changed")
    return True


def _check_schema(out: Path, path: str, stages: Sequence[str], clip_length: int | None, checked: Checked) -> bool:
    """Whether the file has the stages' columns; stages of other packages may add what they like."""
    columns = tuple(column for stage in ("key", *stages) for column in columns_of(stage))
    expected = file_schema(columns if clip_length is None else clip_columns(columns))
    open_ended = not set(stages) <= _BUILT_IN
    try:
        if path.endswith(".tar"):
            first = next(iter_rows(out / path, decode=False), None)
            found = dict.fromkeys(first or expected.names)
        else:
            found = {field.name: field.type for field in pq.read_schema(parquet_source(out / path))}
    except (VerifyError, OSError, ValueError, pa.ArrowException) as error:
        checked.note(path, " ".join(str(error).removeprefix(f"{out / path}: ").split()))
        return False
    before = len(checked.problems)
    for field_ in expected:
        if field_.name not in found:
            checked.note(path, f"the column '{field_.name}' is missing")
        elif found[field_.name] not in (None, field_.type):
            checked.note(path, f"the column '{field_.name}' is {found[field_.name]}, not {field_.type}")
    for name in found.keys() - set(expected.names):
        if not open_ended:
            checked.note(path, f"the column '{name}' belongs to none of the run's stages")
    return len(checked.problems) == before


def _check_rows(
    out: Path, record: dict[str, Any], files: list[dict[str, Any]], clip_length: int | None, checked: Checked
) -> None:
    """Read the shard's files in step: the first is checked, the second must hold the same rows."""
    checked.file = files[0]["path"]
    read = [_counted(out, file, checked) for file in files]
    for row, *others in itertools.zip_longest(*read):
        if row is None:
            continue
        where = f"{checked.file}: {row['sample_id']}"
        for other, file in zip(others, files[1:], strict=True):
            if other is not None and other != row:
                names = [name for name in row if row[name] != other.get(name)]
                checked.note(f"{file['path']}: {row['sample_id']}", f"not the Parquet file's: {', '.join(names)}")
        if row["split"] != record["split"]:
            checked.note(where, f"split is '{row['split']}', but the shard's is '{record['split']}'")
        problems = row_problems(row, _PICTURES) if clip_length is None else clip_problems(row, _PICTURES, clip_length)
        for what in problems:
            checked.note(where, what)
        checked.hashes += hashlib.blake2b(row["sample_id"].encode(), digest_size=8).digest()
        checked.clips[row["source_id"], row["clip_id"]] += 1
    written = {clip["clip_id"]: clip["written"] for clip in record["clips"]}
    found = Counter({clip_id: rows for (_, clip_id), rows in checked.clips.items()})
    for clip_id in sorted(written.keys() | found.keys()):
        if written.get(clip_id, 0) != found[clip_id]:
            what = (
                f"{clip_id}: {written.get(clip_id, 0)} samples are said to be written, but {found[clip_id]} are there"
            )
            checked.note(f"state/{record['shard']}.json", what)


def _counted(out: Path, file: dict[str, Any], checked: Checked) -> Iterator[dict[str, Any]]:
    """The rows of a file up to where it is damaged, and a problem if they are more or fewer than the record says."""
    count = 0
    try:
        for row in iter_rows(out / file["path"], decode=False):
            count += 1
            yield row
    except VerifyError as error:
        checked.starved |= isinstance(error.__cause__, MemoryError)
        checked.note(file["path"], str(error).removeprefix(f"{out / file['path']}: "))
    if count != file["rows"]:
        checked.note(file["path"], f"{count} rows, but the record says {file['rows']}")
