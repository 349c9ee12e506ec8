"""Check one shard against its record, and each of its samples."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forgeprep.errors import UsageError, VerifyError
from forgeprep.io.safe_files import open_regular
from forgeprep.schemas.columns import Column
from forgeprep.schemas.drops import DROP_SCHEMA, REASONS
from forgeprep.schemas.samples import sequence_columns
from forgeprep.shards.check_sample import row_problems, sequence_problems
from forgeprep.shards.formats import FORMATS
from forgeprep.shards.formats.parquet import file_schema
from forgeprep.shards.random_access import known_format
from forgeprep.shards.read import iter_rows
from forgeprep.text import counted


@dataclass(frozen=True, slots=True)
class Contents:
    """What the shards of a run hold, by its ``run.json``.

    Attributes:
        columns: the columns, of single frames.
        length: frames of a sample; None where samples are single frames.
        reasons: the drop reasons that there may be.
        packages: shard format -> the package that brings it, of those that are not forgeprep's.
        open_ended: whether shards may have further columns: of a stage that nothing is known of.
    """

    columns: Sequence[Column]
    length: int | None = None
    reasons: Collection[str] = tuple(REASONS)
    packages: Mapping[str, str] = field(default_factory=dict)
    open_ended: bool = False

    @property
    def file_columns(self) -> Sequence[Column]:
        """The columns as the files have them."""
        return self.columns if self.length is None else sequence_columns(self.columns)


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


def check_shard(out: Path, record: dict[str, Any], contents: Contents) -> Checked:
    """Check a shard's record, its files and its rows. Damage of any kind becomes a problem, never an exception."""
    checked = Checked()
    where = f"state/{record['shard']}.json"
    try:
        for what in _record_problems(record, contents.reasons):
            checked.note(where, what)
        there = [file for file in record["files"] if _check_file(out / file["path"], file, checked)]
        files = [file for file in there if _check_schema(out, file, contents, checked)]
        if files:
            _check_rows(out, record, files, contents, checked)
    except MemoryError:
        checked.starved = True
        checked.note(where, "the shard claims more than it holds: checking it takes too much memory")
    except Exception as error:  # what damage makes a parser raise cannot be foreseen, and the other shards wait
        checked.note(where, f"the shard cannot be checked ({type(error).__name__}: {error})")
    return checked


def _record_problems(record: dict[str, Any], reasons: Collection[str]) -> Iterator[str]:
    rows, drops = record["rows"], [dict(zip(DROP_SCHEMA.names, drop, strict=True)) for drop in record["drops"]]
    if record["planned"] != rows + len(drops):
        there = f"{counted(rows, 'row')} and {counted(len(drops), 'drop')}"
        yield f"{counted(record['planned'], 'sample was', 'samples were')} planned, but the shard has {there}"
    for drop in drops:
        if drop["reason"] not in reasons:
            yield f"{drop['clip_id']}: frame {drop['frame_index']}: unknown drop reason '{drop['reason']}'"
    dropped = Counter(drop["clip_id"] for drop in drops)
    for clip in record["clips"]:
        name = clip["clip_id"]
        if clip["dropped"] != dropped[name]:
            said = counted(clip["dropped"], "sample is", "samples are")
            yield f"{name}: {said} said to be dropped, but {counted(dropped[name], 'drop is', 'drops are')} listed"
        if clip["split"] != record["split"]:
            yield f"{name}: split is '{clip['split']}', but the shard's is '{record['split']}'"
    for file in record["files"]:
        if file["rows"] != rows:
            yield f"{file['path']}: {counted(file['rows'], 'row')}, but the shard has {rows}"


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
        checked.note(file["path"], f"{size} bytes, but the record says {file['bytes']}; run again to remake it")
    elif digest != file["sha256"]:
        checked.note(file["path"], "its SHA-256 is not the record's: the bytes have changed; delete it and run again")
    return True


def _check_schema(out: Path, file: dict[str, Any], contents: Contents, checked: Checked) -> bool:
    """Whether the file can be read and has the run's columns."""
    path, expected = file["path"], file_schema(contents.file_columns)
    try:
        FORMATS.get(file["format"], contents.packages)
        found = known_format(out / path).read_schema(out / path)
    except (VerifyError, UsageError) as error:
        checked.note(path, " ".join(str(error).removeprefix(f"{out / path}: ").split()))
        return False
    if found is None:
        return True
    before = len(checked.problems)
    for field_ in expected:
        if field_.name not in found:
            checked.note(path, f"the column '{field_.name}' is missing")
        elif found[field_.name] not in (None, field_.type):
            checked.note(path, f"the column '{field_.name}' is {found[field_.name]}, not {field_.type}")
    for name in found.keys() - set(expected.names):
        if not contents.open_ended:
            checked.note(path, f"the column '{name}' belongs to none of the run's stages")
    return len(checked.problems) == before


def _check_rows(
    out: Path, record: dict[str, Any], files: list[dict[str, Any]], contents: Contents, checked: Checked
) -> None:
    """Read the shard's files in step: the first is checked, the others must hold the same rows."""
    checked.file = files[0]["path"]
    read = [_rows_of(out, file, checked) for file in files]
    for row, *others in itertools.zip_longest(*read):
        if row is None:
            continue
        where = f"{checked.file}: {row['sample_id']}"
        for other, file in zip(others, files[1:], strict=True):
            if other is not None and other != row:
                names = [name for name in row if row[name] != other.get(name)]
                checked.note(f"{file['path']}: {row['sample_id']}", f"not as in {checked.file}: {', '.join(names)}")
        if row["split"] != record["split"]:
            checked.note(where, f"split is '{row['split']}', but the shard's is '{record['split']}'")
        length, columns = contents.length, contents.columns
        problems = row_problems(row, columns) if length is None else sequence_problems(row, length, columns)
        for what in problems:
            checked.note(where, what)
        checked.hashes += hashlib.blake2b(row["sample_id"].encode(), digest_size=8).digest()
        checked.clips[row["source_id"], row["clip_id"]] += 1
    written = {clip["clip_id"]: clip["written"] for clip in record["clips"]}
    found = Counter({clip_id: rows for (_, clip_id), rows in checked.clips.items()})
    for clip_id in sorted(written.keys() | found.keys()):
        if written.get(clip_id, 0) != found[clip_id]:
            said = counted(written.get(clip_id, 0), "sample is", "samples are")
            what = f"{clip_id}: {said} said to be written, but {counted(found[clip_id], 'is', 'are')} there"
            checked.note(f"state/{record['shard']}.json", what)


def _rows_of(out: Path, file: dict[str, Any], checked: Checked) -> Iterator[dict[str, Any]]:
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
        checked.note(file["path"], f"{counted(count, 'row')}, but the record says {file['rows']}")
