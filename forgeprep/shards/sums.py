"""The checksums of a finished run's shards, as ``meta/shards.pq`` lists them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from forgeprep.errors import VerifyError
from forgeprep.io.safe_files import LIST_BYTES, open_regular, read_bytes
from forgeprep.shards.names import table_path


def shard_sums(out: Path) -> dict[str, str]:
    """File of each shard, below ``out``, to its SHA-256 in hex.

    Raises:
        FileNotFoundError: the run has no such table: it is not finished.
        VerifyError: the table is damaged.
    """
    path = table_path(out, "shards")
    try:
        table = pq.read_table(pa.BufferReader(read_bytes(path, LIST_BYTES)), columns=["path", "sha256"])
        return {row["path"]: row["sha256"] for row in table.to_pylist()}
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise VerifyError(f"{path}: {' '.join(str(error).split())}") from error


def check_sum(path: Path, expected: str, remedy: str = "look with 'forgeprep verify'") -> None:
    """Read a file to see whether it is as it was written.

    Raises:
        VerifyError: it is not, or cannot be read.
    """
    try:
        with open_regular(path) as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise VerifyError(f"{path}: cannot be read ({error.strerror})") from error
    if found != expected:
        raise VerifyError(f"{path}: its bytes have changed since it was written; {remedy}")
