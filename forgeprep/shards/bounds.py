"""How much a shard may ask for: what its headers claim is looked at before it is read."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import IO

import pyarrow.parquet as pq

from forgeprep.errors import VerifyError

MAX_MEMBER_BYTES = 256 << 20
"""A picture or the values of a sample; the largest crop that can be written, 67 million pixels of noise, is 200 MB."""
MAX_SAMPLE_BYTES = 1 << 30
"""All pictures of a sample together."""
MAX_GROUP_BYTES = 4 << 30
"""A row group of a shard, unpacked; forgeprep's own are under 100 MB, and are read a few dozen rows at a time."""
_HEADER_BYTES = 1 << 20
"""What names of files take; forgeprep's own are a few hundred bytes."""
_MOST_PACKED = 2000
"""No codec packs pictures so tightly: a row group that unpacks to more is made to."""


class BoundedInfo(tarfile.TarInfo):
    """A member of a tar, refused where its header claims more than a sample has, or is sparse."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> BoundedInfo:
        """Read a header block."""
        found = super().frombuf(buf, encoding, errors)
        named = found.type in (
            tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME,
            tarfile.GNUTYPE_LONGLINK,
        )  # fmt: skip
        limit = _HEADER_BYTES if named else MAX_MEMBER_BYTES
        if found.type == tarfile.GNUTYPE_SPARSE or not 0 <= found.size <= limit:
            # No HeaderError, which tarfile takes for the end of the archive.
            raise ValueError(f"a member of {found.size:,} bytes claims more than a sample holds")
        return found


def read_member(content: IO[bytes], member: tarfile.TarInfo) -> bytes:
    """A member's bytes; raises ValueError where it claims more than a sample has."""
    if member.issparse() or not 0 <= member.size <= MAX_MEMBER_BYTES:
        raise ValueError(f"{member.name[:100]}: {member.size:,} bytes claim more than a sample holds")
    return content.read()


def check_claims(path: Path, file: pq.ParquetFile) -> None:
    """Raise VerifyError where a Parquet file's footer claims row groups that no run writes."""
    size = path.stat().st_size
    for number in range(file.num_row_groups):
        group = file.metadata.row_group(number)
        claimed = group.total_byte_size
        if not 0 <= claimed <= min(MAX_GROUP_BYTES, _MOST_PACKED * size):
            raise VerifyError(f"{path}: row group {number} claims more than it holds ({claimed:,} bytes)")
