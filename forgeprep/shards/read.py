"""Read shards row by row; a Parquet file and a tar of the same samples give the same rows."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator, Sequence, Set
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from forgeprep.errors import UsageError, VerifyError, unknown_name
from forgeprep.io.safe_files import open_regular, parse_json
from forgeprep.io.storage import parquet_source
from forgeprep.schemas.samples import SAMPLE_COLUMNS
from forgeprep.shards.bounds import MAX_SAMPLE_BYTES, BoundedInfo, check_claims, read_member
from forgeprep.shards.encode import decode_image
from forgeprep.shards.sequences import ClipArrays, clip_arrays, is_clip

_BATCH_ROWS = 32
_PICTURES = frozenset(column.name for column in SAMPLE_COLUMNS if column.kind == "image")
_HEX = frozenset(column.name for column in SAMPLE_COLUMNS if pa.types.is_binary(column.type))


def iter_rows(path: Path, columns: Sequence[str] | None = None, decode: bool = True) -> Iterator[dict[str, Any]]:
    """Yield a shard's rows in order, a few dozen in memory at a time.

    Args:
        path: a ``.parquet`` or ``.tar`` shard.
        columns: the columns to read; default: all. Pictures that are not asked for are not read from a Parquet file.
        decode: give pictures as uint8 arrays, (H, W, 3) RGB or (H, W) gray; else as ``{"bytes", "path"}``.

    Yields:
        column -> value; a picture that a sample lacks is None.

    Raises:
        VerifyError: the file, or a picture in it, is missing or damaged.
        UsageError: there is no such column.
    """
    rows = tar_rows(path, columns) if path.suffix == ".tar" else _parquet_rows(path, columns)
    for number, row in enumerate(rows):
        yield decode_row(row, path, f"row {number}") if decode else row


def find_rows(path: Path, sample_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Some rows of a shard by sample_id, pictures decoded; ids that it lacks are left out.

    From a Parquet file only the row groups that hold them are read.

    Raises:
        VerifyError: the file, or a picture in it, is missing or damaged.
    """
    missing = set(sample_ids)
    found: dict[str, dict[str, Any]] = {}
    rows = tar_rows(path, None) if path.suffix == ".tar" else _parquet_rows(path, None, only=missing)
    while missing:
        row = next(rows, None)
        if row is None:
            break
        if row["sample_id"] in missing:
            missing.remove(row["sample_id"])
            found[row["sample_id"]] = decode_row(row, path)
    return found


def shard_paths(out: Path, split: str | None = None) -> list[Path]:
    """A run's shards in order, one file each: the Parquet file where there is a tar beside it."""
    found: dict[Path, Path] = {}
    for suffix in ("tar", "parquet"):
        for path in out.glob(f"shards/{split or '*'}/[!.]*.{suffix}"):
            found[path.with_suffix("")] = path
    return [found[key] for key in sorted(found)]


def decode_row(row: dict[str, Any], path: Path, name: str = "") -> dict[str, Any]:
    """The row with its pictures decoded; ``path`` and ``name`` say in an error where it lies."""
    for column, value in row.items():
        try:
            if _is_picture(value):
                row[column] = decode_image(value["bytes"] or b"")
            elif isinstance(value, list) and any(map(_is_picture, value)):
                row[column] = [None if v is None else decode_image(v["bytes"] or b"") for v in value]
        except VerifyError as error:
            raise VerifyError(f"{path}: {row.get('sample_id', name)}: {column}: {error}") from None
    return row


def iter_clips(path: Path) -> Iterator[tuple[dict[str, Any], ClipArrays]]:
    """Yield the samples of a clip shard (``--sequence-length``) in order: the row without its pictures, and its frames.

    Raises:
        UsageError: the samples are single frames.
        VerifyError: the file, or a picture in it, is missing or damaged.
    """
    for row in iter_rows(path):
        if not is_clip(row):
            raise UsageError(f"{path}: its samples are single frames; make clip shards with --sequence-length")
        yield {name: value for name, value in row.items() if name not in _PICTURES}, clip_arrays(row)


def _is_picture(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"bytes", "path"}


def _parquet_rows(
    path: Path, columns: Sequence[str] | None, *, only: Set[str] | None = None
) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet shard; with ``only``, those of the row groups that hold one of these sample_ids."""
    try:
        # With pre_buffer, its default, Arrow holds all that it has read until the end.
        with pq.ParquetFile(parquet_source(path), pre_buffer=False) as file:
            check_claims(path, file)
            schema = file.schema_arrow
            for name in columns or ():
                if name not in schema.names:
                    raise unknown_name("column", name, schema.names)
            groups = list(range(file.num_row_groups))
            if only is not None:
                keys = ((group, file.read_row_group(group, ["sample_id"])["sample_id"].to_pylist()) for group in groups)
                groups = [group for group, ids in keys if not only.isdisjoint(ids)]
            for batch in file.iter_batches(_BATCH_ROWS, row_groups=groups, columns=columns):
                yield from batch.to_pylist()
    except (OSError, ValueError, MemoryError, pa.ArrowException) as error:
        raise VerifyError(f"{path}: {_reason(error)}") from error


def tar_rows(
    path: Path, columns: Sequence[str] | None, *, part: tuple[int, int] | None = None
) -> Iterator[dict[str, Any]]:
    """The rows of a tar shard, or of a part of it (first byte, length) that begins and ends with a sample."""
    pictures: dict[str, bytes] = {}
    current, held = "", 0
    try:
        with _tar_stream(path, part) as stream, tarfile.open(fileobj=stream, mode="r|", tarinfo=BoundedInfo) as tar:
            for member in tar:
                folder, _, name = member.name.rpartition("/")
                stem, _, extension = name.partition(".")
                key = f"{folder}/{stem}"
                if pictures and key != current:
                    raise VerifyError(f"{path}: {current}: its .json is missing")
                current = key
                content = tar.extractfile(member)
                data = b"" if content is None else read_member(content, member)
                if extension == "json":
                    yield _tar_row(path, _values(data), pictures, columns)
                    pictures, held = {}, 0
                else:
                    pictures[extension] = data
                    held += len(data)
                if held > MAX_SAMPLE_BYTES:
                    raise VerifyError(f"{path}: {current}: claims more than a sample holds")
    except (OSError, tarfile.TarError, ValueError, LookupError, TypeError, OverflowError, MemoryError) as error:
        raise VerifyError(f"{path}: {_reason(error)}") from error
    if pictures:
        raise VerifyError(f"{path}: {current}: its .json is missing")


def _values(data: bytes) -> dict[str, Any]:
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


def _tar_row(
    path: Path, values: dict[str, Any], pictures: dict[str, bytes], columns: Sequence[str] | None
) -> dict[str, Any]:
    for name in _HEX & values.keys():
        values[name] = _from_hex(values[name])
    for extension, data in pictures.items():
        picture = {"bytes": data, "path": f"{values['sample_id']}.{extension}"}
        first, _, rest = extension.partition(".")
        if is_clip(values):
            # Of frame 3, the picture is 003.png and the mask 003.mask.png.
            name = rest.rpartition(".")[0] or "image"
            values.setdefault(name, [None] * len(values["frame_labels"]))[int(first)] = picture
        else:
            values[extension.rpartition(".")[0] or "image"] = picture
    if columns is None:
        return values
    for name in columns:
        if name not in values:
            raise unknown_name("column", name, values)
    return {name: values[name] for name in columns}


def _from_hex(value: Any) -> Any:
    if isinstance(value, list):
        return [_from_hex(item) for item in value]
    return None if value is None else bytes.fromhex(value)


def _reason(error: Exception) -> str:
    """An error's text on one line; a missing file in plain words."""
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, MemoryError):
        return "claims more than it holds: reading it takes too much memory"
    return " ".join(str(error).split()) or type(error).__name__
