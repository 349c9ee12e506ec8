"""WebDataset tars: of a sample ``KEY`` the files ``KEY.png``, ``KEY.mask.png`` and so on, and last ``KEY.json``.

Of sequences, frame 3 is ``KEY.003.png`` and its mask ``KEY.003.mask.png``. Bytes that are no picture are a file
``KEY.COLUMN.SUFFIX``, but for the built-in ``similarity``, which stands in the JSON as hexadecimal digits.

The tars are plain USTAR (POSIX.1-1988), a header block and the bytes of each file, since readers that make an index of
a tar know nothing else: behind the extended headers of later formats they look for files at the wrong place, and of the
prefix for long names they know nothing either, so names have 100 bytes at most (:func:`tar_key`). Metadata therefore is
in each sample's JSON, under ``_forgeprep``; before schema version 2 it was in a global header.

A picture that a sample lacks is null in its JSON and has no file. Where the metadata say ``absent: placeholder``, there
is a file all the same, black or empty, and zeros or empty texts stand for null in the JSON; ``_absent`` names all that
is not there. Some readers want the same files and types in all samples.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from forgeprep.errors import VerifyError, unknown_name
from forgeprep.io.safe_files import open_regular, parse_json
from forgeprep.media.claims import size_wh
from forgeprep.schemas.columns import Column
from forgeprep.schemas.samples import MAIN, SAMPLE_COLUMNS
from forgeprep.shards.bounds import MAX_SAMPLE_BYTES, BoundedInfo, read_member
from forgeprep.shards.encode import EXTENSIONS, encode_image
from forgeprep.shards.formats.base import Row, ShardFormat, Spot, WriteOnly, pictures_of, reason_of
from forgeprep.shards.sequences import MARK, is_sequence

_HEX = frozenset(column.name for column in SAMPLE_COLUMNS if column.is_binary and column.suffix == "hex")
_PICTURES = frozenset(EXTENSIONS.values())
_HEADER = "FORGEPREP."
"""Before the names of metadata in the global header of tars of before schema version 2."""
_META, _ABSENT = "_forgeprep", "_absent"
"""Names in a sample's JSON that are no columns."""
_LONGEST_ENDING = 24
"""What the longest ending of forgeprep's own columns takes; a longer one of another package shortens keys further."""
_DAMAGE = (OSError, tarfile.TarError, ValueError, LookupError, TypeError, OverflowError, MemoryError)


class TarWriter:
    """Writes by the standard library: no time stamp and no owner, so that equal samples give equal bytes."""

    def __init__(self, file: WriteOnly, columns: Sequence[Column], metadata: Mapping[str, str]) -> None:
        self._columns = [column for column in columns if column.is_picture]
        self._bytes = {column.name: column.suffix for column in columns if column.is_binary and column.suffix != "hex"}
        self._types = {c.name: c.type for c in columns if not c.is_picture and c.name not in self._bytes}
        self._metadata = dict(metadata)
        self._placeholders = metadata.get("absent") == "placeholder"
        endings = [f".000.{c.name}.{self._bytes.get(c.name, 'webp')}" for c in columns if c.is_picture or c.is_binary]
        self._ending = max(_LONGEST_ENDING, *map(len, endings))
        self._tar = tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT, encoding="utf-8")  # type: ignore[call-overload]  # noqa: SIM115

    def write(self, table: pa.Table) -> None:
        """Append samples."""
        for row in table.to_pylist():
            key, marks = tar_key(row["sample_id"], self._ending), list[str]()
            for ending, data in self._files(row, marks):
                self._member(key + ending, data)
            if self._placeholders:
                for name, kind in self._types.items():
                    row[name] = _filled(row[name], kind, name, marks)
                row[_ABSENT] = " ".join(marks)
            self._member(f"{key}.json", _json_bytes({**row, _META: self._metadata}))

    def _files(self, row: Row, marks: list[str]) -> Iterator[tuple[str, bytes]]:
        """End of its name and bytes of each file; what has files is taken out of the row, and ``marks`` the absent."""
        first = next(picture for picture in pictures_of(row[MAIN]) if picture is not None)
        black = {column.name: _black(column, first) for column in self._columns} if self._placeholders else {}
        for name in (*(column.name for column in self._columns), *self._bytes):
            frames, there = isinstance(row[name], list), False
            for number, value in enumerate(row[name] if frames else [row[name]]):
                front = f".{number:03d}" if frames else ""
                there = there or value is not None
                if isinstance(value, dict):
                    yield value["path"].removeprefix(row["sample_id"]), value["bytes"]
                elif value is not None:
                    yield f"{front}.{name}.{self._bytes[name]}", value
                elif self._placeholders:
                    suffix, data = black.get(name) or (self._bytes[name], b"")
                    marks.append(f"{front}.{name}"[1:])
                    yield f"{front}.{name}.{suffix}", data
            if there or self._placeholders:
                del row[name]

    def finish(self) -> None:
        """Write the end of the archive."""
        self._tar.close()

    def _member(self, name: str, data: bytes) -> None:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        self._tar.addfile(info, io.BytesIO(data))


def _black(column: Column, crop: Mapping[str, Any]) -> tuple[str, bytes]:
    """The ending and the bytes of a black picture in place of one that a sample lacks, of the crop's size."""
    suffix = crop["path"].rpartition(".")[2] if column.as_run else "png"
    wide, high = size_wh(crop["bytes"]) or (1, 1)
    shape = (high, wide, 3) if column.channels == 3 else (high, wide)
    name = next(name for name, extension in EXTENSIONS.items() if extension == suffix)
    return suffix, encode_image(np.zeros(shape, np.uint8), name, packing=column.packing)


def _filled(value: Any, kind: pa.DataType, name: str, marks: list[str]) -> Any:
    """The value without a null, also right within its list; ``marks`` gets the names of those that there were."""
    if value is None:
        marks.append(name)
        return _nothing(kind)
    if not isinstance(value, list):
        return value
    marks += [f"{number:03d}.{name}" for number, item in enumerate(value) if item is None]
    return [_nothing(kind.value_type) if item is None else item for item in value]


def _nothing(kind: pa.DataType) -> Any:
    """A value of that type that stands for null in JSON."""
    if pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind):
        return [_nothing(kind.value_type)] * (kind.list_size if pa.types.is_fixed_size_list(kind) else 1)
    if pa.types.is_struct(kind):
        return {field.name: _nothing(field.type) for field in kind}
    if pa.types.is_boolean(kind):
        return False
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return 0 if pa.types.is_integer(kind) else 0.0
    return b"" if pa.types.is_binary(kind) else ""


def tar_key(sample_id: str, ending: int = _LONGEST_ENDING) -> str:
    """A sample's WebDataset key, distinct for distinct samples.

    Readers cut a name at its first dot, so dots become ``%2E`` (and ``%``, ``%25``). Where a name of a file would have
    more than the 100 bytes of USTAR, the clip's part of the key is cut and ends in a digest; the JSON has all of the
    sample_id.

    >>> tar_key("dfdc/real/clip.v2/0/000001")
    'dfdc/real/clip%2Ev2/0/000001'
    >>> tar_key("folder/real/" + "long " * 20 + "name/0/000001")
    'folder/real/long long long long long long long lo%~788b44c7a7ef9d3c/0/000001'
    """
    key = sample_id.replace("%", "%25").replace(".", "%2E")
    room = tarfile.LENGTH_NAME - ending - len(key.encode())
    if room >= 0:
        return key
    clip, track, frame = key.rsplit("/", 2)
    # No key of another clip looks like this: in all others a digit follows after the percent sign.
    mark = f"%~{hashlib.sha256(clip.encode()).hexdigest()[:16]}"
    left = max(0, len(clip.encode()) + room - len(mark))
    return f"{clip.encode()[:left].decode(errors='ignore')}{mark}/{track}/{frame}"


def rows(path: Path, columns: Sequence[str] | None) -> Iterator[Row]:
    """The rows, one in memory at a time."""
    return tar_rows(path, columns)


def tar_rows(path: Path, columns: Sequence[str] | None, *, part: tuple[int, int] | None = None) -> Iterator[Row]:
    """The rows of a tar shard, or of a part of it (first byte, length) that begins and ends with a sample."""
    members: dict[str, bytes] = {}
    current, held = "", 0
    try:
        with _tar_stream(path, part) as stream, tarfile.open(fileobj=stream, mode="r|", tarinfo=BoundedInfo) as tar:
            for member in tar:
                folder, _, name = member.name.rpartition("/")
                stem, _, extension = name.partition(".")
                key = f"{folder}/{stem}"
                if members and key != current:
                    raise VerifyError(f"{path}: {current}: its .json is missing")
                current = key
                content = tar.extractfile(member)
                data = b"" if content is None else read_member(content, member)
                if extension == "json":
                    yield _row(_values(data), members, columns)
                    members, held = {}, 0
                else:
                    members[extension] = data
                    held += len(data)
                if held > MAX_SAMPLE_BYTES:
                    raise VerifyError(f"{path}: {current}: claims more than a sample holds")
    except _DAMAGE as error:
        raise VerifyError(f"{path}: {reason_of(error)}") from error
    if members:
        raise VerifyError(f"{path}: {current}: its .json is missing")


def metadata(path: Path) -> dict[str, str]:
    """The texts that the first sample has, or the global header of an older tar."""
    try:
        with open_regular(path) as stream, tarfile.open(fileobj=stream, mode="r:", tarinfo=BoundedInfo) as tar:
            found: Any = {name.removeprefix(_HEADER): text for name, text in tar.pax_headers.items()}
            while not found and (member := tar.next()) is not None:
                if member.name.endswith(".json") and (content := tar.extractfile(member)) is not None:
                    found = _values(read_member(content, member)).get(_META)
                    break
                tar.members = []  # type: ignore[attr-defined]
    except _DAMAGE as error:
        raise VerifyError(f"{path}: {reason_of(error)}") from error
    return {str(name): str(text) for name, text in found.items()} if isinstance(found, dict) else {}


def values(path: Path, columns: Sequence[str]) -> Iterator[tuple[Spot, Row]]:
    """Spots are (first byte, length); the JSON comes last of a sample, so that its place ends there."""
    try:
        with open_regular(path) as stream, tarfile.open(fileobj=stream, mode="r:", tarinfo=BoundedInfo) as tar:
            start, members = 0, dict[str, bytes]()
            while (member := tar.next()) is not None:
                extension = member.name.rpartition("/")[2].partition(".")[2]
                name, _, suffix = extension.rpartition(".")
                asked = suffix not in _PICTURES and name.rpartition(".")[2] in columns
                content = tar.extractfile(member) if asked or extension == "json" else None
                if content is not None and extension == "json":
                    row = _row(_values(read_member(content, member)), members, None)
                    end = member.offset_data + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
                    yield (start, end - start), {name: row[name] for name in columns if name in row}
                    start, members = end, {}
                elif content is not None:
                    members[extension] = read_member(content, member)
                # tarfile remembers every member, which adds up over a large shard.
                tar.members = []  # type: ignore[attr-defined]
    except _DAMAGE as error:
        raise VerifyError(f"{path}: {reason_of(error)}") from error


def row_at(path: Path, spot: Spot, columns: Sequence[str] | None) -> Row:
    """A row, by reading its part of the tar alone."""
    found = next(tar_rows(path, None, part=spot))
    return found if columns is None else {name: found[name] for name in columns if name in found}


def _values(data: bytes) -> Row:
    values = parse_json(data)
    if not isinstance(values, dict) or not isinstance(values.get("sample_id"), str):
        raise ValueError("a sample's .json holds no sample")
    return values


def _tar_stream(path: Path, part: tuple[int, int] | None) -> BinaryIO:
    if part is None:
        return open_regular(path)
    with open_regular(path) as file:
        file.seek(part[0])
        return io.BytesIO(file.read(part[1]) + bytes(2 * tarfile.BLOCKSIZE))


def _row(values: Row, members: Mapping[str, bytes], columns: Sequence[str] | None) -> Row:
    """The row of a sample's JSON and its other files, by the ends of their names."""
    values.pop(_META, None)
    absent = set(str(values.pop(_ABSENT, "")).split())
    for name in _HEX & values.keys():
        values[name] = _from_hex(values[name])
    for extension, data in members.items():
        front, _, suffix = extension.rpartition(".")
        number, _, rest = front.partition(".")
        picture = {"bytes": data, "path": f"{values['sample_id']}.{extension}"}
        value = None if front in absent else picture if suffix in _PICTURES else data
        absent.discard(front)
        if is_sequence(values) and number.isdigit():
            # Of frame 3, the picture is 003.png and the mask 003.mask.png.
            values.setdefault(rest or MAIN, [None] * len(values[MARK]))[int(number)] = value
        elif values.get(front or MAIN) is not None:
            raise ValueError(f"{front or MAIN} stands in the JSON and in a file of its own")
        else:
            values[front or MAIN] = value
    for mark in sorted(absent):
        number, _, name = mark.partition(".")
        if not name:
            values[mark] = None
        elif isinstance(values.get(name), list):
            values[name][int(number)] = None
    if columns is None:
        return values
    for name in columns:
        if name not in values:
            raise unknown_name("column", name, values)
    return {name: values[name] for name in columns}


def _hex(value: Any) -> Any:
    if isinstance(value, list):
        return [_hex(item) for item in value]
    return value.hex() if isinstance(value, bytes) else value


def _from_hex(value: Any) -> Any:
    if isinstance(value, list):
        return [_from_hex(item) for item in value]
    return None if value is None else bytes.fromhex(value)


def _json_bytes(row: Row) -> bytes:
    """A row without its files as JSON; a picture that is missing is null."""
    values = {name: _hex(value) if name in _HEX else value for name, value in row.items()}
    try:
        return json.dumps(values, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        what = "a value is not finite" if isinstance(error, ValueError) else str(error)
        raise VerifyError(f"{row['sample_id']}: {what}, which JSON cannot hold") from None


WEBDATASET = ShardFormat(
    name="webdataset",
    suffix="tar",
    mime="application/x-tar",
    writer=TarWriter,
    rows=rows,
    metadata=metadata,
    values=values,
    row_at=row_at,
)
