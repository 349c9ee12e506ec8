"""Paths on this machine, and ``s3://…``, ``gs://…`` and the like through pyarrow's filesystems.

:func:`to_path` gives a :class:`pathlib.Path`, or a :class:`RemotePath`, which has the methods of a path that forgeprep
uses. On remote storage an object appears whole, when its upload ends, so nothing is renamed there.

S3 takes its keys, region and endpoint from the usual ``AWS_…`` variables and files.
"""

from __future__ import annotations

import contextlib
import fnmatch
import functools
import io
import os
import re
import shutil
import stat
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, cast
from urllib.parse import unquote, urlsplit

from forgeprep.errors import UsageError
from forgeprep.io.safe_files import check_regular

if TYPE_CHECKING:  # Processes that read media work without it, and start in four fifths of the time.
    import pyarrow.fs as pafs

_URI = re.compile(r"^([A-Za-z][A-Za-z0-9+]+):/+")
_BUFFER = 1 << 20
_SYSTEM = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir"})
"""Files that Windows, macOS and network storage leave in folders, in lower case: no data, so they are not reported."""
_ATTEMPTS = 8
"""Tries of a call to S3, with growing pauses, before it counts as failed."""


def is_plain(text: str) -> bool:
    """Whether a name can be stored and shown: UTF-8 without characters that control a terminal or reverse its text."""
    # Of nearly all names at once: letter by letter, millions of them take minutes.
    return text.isprintable() or all(letter.isprintable() or unicodedata.category(letter) == "Zs" for letter in text)


def spare_pandas() -> None:
    """Keep Arrow from importing pandas in this process, for commands and workers.

    Where pandas is installed, Arrow imports it with the first array made of a list, to see whether the list is a
    Series: half a second and 50 MB. ``to_pandas()`` still works.
    """
    import pyarrow as pa

    if "pandas" not in sys.modules:
        sys.modules["pandas"] = None  # type: ignore[assignment]
        try:
            for _ in range(2):  # Arrow's Python looks for pandas first, its C++ at the second call.
                with contextlib.suppress(ImportError, AttributeError):
                    pa.array([None])
        finally:
            del sys.modules["pandas"]


def to_path(text: str | os.PathLike[str]) -> Path:
    """The path that a user gave: a local one, or a URI.

    A leading ``~`` is the home folder, which a shell leaves alone in ``--out=~/shards``; ``file://`` is this machine;
    the case of a scheme does not matter.

    Raises:
        UsageError: a URI has no bucket, contains ``..`` or names another machine's file; no home folder is known.
    """
    name = os.fspath(text)
    if name.startswith("~"):
        try:
            return Path(name).expanduser()
        except RuntimeError:
            raise UsageError(f"{name}: no such user, or no home folder is known; give the whole path") from None
    scheme = _URI.match(name)
    if scheme is None:
        return Path(name)
    if scheme[1].lower() == "file":
        return _local_path(name)
    parts = PurePosixPath(name).parts
    if len(parts) < 2 or ".." in parts:
        raise UsageError(f"{name}: must be scheme://bucket/folder, without '..'")
    return path_of_name(scheme[1].lower() + name[len(scheme[1]) :])


def path_of_name(name: str) -> Path:
    """The path whose ``str()`` is ``name``, to the letter: a folder that is called ``~`` stays that folder."""
    # Typed as a Path: it has all methods of a Path that forgeprep uses.
    return cast(Path, RemotePath(name)) if _URI.match(name) else Path(name)


def _local_path(uri: str) -> Path:
    """The path of ``file:///folder`` or ``file://localhost/folder``."""
    # Not by urlsplit: a name may hold "?" and "#", which are parts of a URI for it.
    host, slash, below = uri.partition(":")[2].removeprefix("//").partition("/")
    if host not in ("", "localhost") or not slash:
        raise UsageError(f"{uri}: must be file:///folder, a folder of this machine")
    return Path("/" + unquote(below).lstrip("/"))


def is_remote(path: object) -> bool:
    """Whether a path is on remote storage."""
    return isinstance(path, RemotePath)


def _remote(path: object) -> RemotePath | None:
    return path if isinstance(path, RemotePath) else None


def parquet_source(path: Path) -> Any:
    """A path as pyarrow's Parquet readers take it; of a remote file they read only the pieces they need."""
    remote = _remote(path)
    check_regular(path)
    return path if remote is None else remote.native()


def media_source(path: Path) -> Any:
    """A path as PyAV takes it."""
    # With "file:" in front, "concat:a|b.mp4" is a file's name and no protocol.
    return path.open("rb") if is_remote(path) else f"file:{path}"


def absolute(path: Path) -> Path:
    """A path from the root on, without dots; links stay as they are, a remote path too."""
    if is_remote(path):
        return path
    plain = os.path.abspath(path)  # noqa: PTH100 -- takes dots away, which a path keeps
    # Behind a link, ".." leads elsewhere than the name says.
    return Path(plain if os.path.realpath(plain) == os.path.realpath(path) else os.path.realpath(path))


def is_file(path: Path) -> bool:
    """Whether there is such a file, as far as this user may look."""
    try:
        return path.is_file()
    except OSError:
        return False


def real_name(path: Path) -> str:
    """The path without links, to see whether two paths are the same file."""
    return str(path) if is_remote(path) else os.path.realpath(path)


def entries(folder: Path) -> list[Any]:
    """A folder's entries, each with ``name``, ``path``, ``is_dir()`` and ``stat()``; raises OSError."""
    remote = _remote(folder)
    if remote is not None:
        return list(remote.entries())
    with os.scandir(folder) as found:
        return list(found)


def visible_entries(folder: Path) -> list[Any]:
    """The :func:`entries` that are neither hidden nor files of the operating system, sorted by name."""
    found = {entry.name: entry for entry in entries(folder)}
    return [found[name] for name in sorted(found) if name[0] != "." and name.lower() not in _SYSTEM]


def sizes_below(folder: Path) -> dict[str, int]:
    """All files below a folder, by their POSIX path in it, with their bytes; of a link, those of its target."""
    remote = _remote(folder)
    if remote is not None:
        import pyarrow.fs as pafs

        found = remote.filesystem.get_file_info(pafs.FileSelector(remote.key, recursive=True, allow_not_found=True))
        begin = len(remote.key) + 1
        return {info.path[begin:]: int(info.size) for info in found if info.is_file}
    return {
        os.path.relpath(path, folder): os.stat(path).st_size  # noqa: PTH116 -- millions of files: no Path for each
        for home, _, names in os.walk(folder)
        for path in (f"{home}/{name}" for name in names)
    }


def remove_tree(folder: Path) -> None:
    """Remove a folder and all that is in it, if it exists."""
    remote = _remote(folder)
    if remote is None:
        shutil.rmtree(folder, ignore_errors=True)
    elif remote.is_dir():
        remote.filesystem.delete_dir(remote.key)


def upload(file: IO[bytes], path: Path) -> None:
    """Copy an open file to remote storage, from its beginning; it appears there when it is complete."""
    remote = _remote(path)
    assert remote is not None
    file.seek(0)
    with remote.filesystem.open_output_stream(remote.key, buffer_size=_BUFFER) as out:
        shutil.copyfileobj(file, out, 8 * _BUFFER)


class RemotePath(PurePosixPath):
    """A path on remote storage, as ``s3://bucket/key``."""

    __slots__ = ()

    def __str__(self) -> str:
        return _URI.sub(r"\1://", super().__str__())

    def __fspath__(self) -> str:
        return str(self)

    @property
    def filesystem(self) -> pafs.FileSystem:
        """The filesystem that holds it."""
        return _filesystem(self.parts[0].rstrip(":"), self.parts[1] if len(self.parts) > 1 else "")

    @property
    def key(self) -> str:
        """Its name on the filesystem: bucket and key."""
        return "/".join(self.parts[1:])

    def native(self) -> Any:
        """The file opened by pyarrow, for reading in pieces."""
        return self.filesystem.open_input_file(self.key)

    def open(self, mode: str = "rb", buffering: int = _BUFFER) -> Any:
        """The file as a stream of bytes."""
        if mode == "rb":
            return io.BufferedReader(self.native(), max(buffering, _BUFFER))
        assert mode == "wb", mode
        return self.filesystem.open_output_stream(self.key)

    def read_bytes(self) -> bytes:
        """All of the file."""
        with self.filesystem.open_input_stream(self.key) as stream:
            return bytes(stream.readall())

    def read_text(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """All of the file as text, with Unix line ends."""
        return self.read_bytes().decode(encoding, errors).replace("\r\n", "\n").replace("\r", "\n")

    def write_bytes(self, data: bytes) -> int:
        """Write the file, whole or not at all."""
        with self.filesystem.open_output_stream(self.key) as stream:
            stream.write(data)
        return len(data)

    def stat(self) -> os.stat_result:
        """Kind, size and time of change; raises FileNotFoundError."""
        info = self.filesystem.get_file_info(self.key)
        if info.type.name == "NotFound":
            raise FileNotFoundError(2, "No such file or directory", str(self))
        return _status(info)

    def exists(self) -> bool:
        """Whether there is such a file or folder."""
        return bool(self.filesystem.get_file_info(self.key).type.name != "NotFound")

    def is_file(self) -> bool:
        """Whether it is a file."""
        return bool(self.filesystem.get_file_info(self.key).is_file)

    def is_dir(self) -> bool:
        """Whether it is a folder."""
        return bool(self.filesystem.get_file_info(self.key).type.name == "Directory")

    def entries(self) -> list[RemoteEntry]:
        """The entries of the folder, by one call to the storage."""
        import pyarrow.fs as pafs

        return [RemoteEntry(self, info) for info in self.filesystem.get_file_info(pafs.FileSelector(self.key))]

    def iterdir(self) -> Iterator[RemotePath]:
        """The paths in the folder."""
        return (self / entry.name for entry in self.entries())

    def glob(self, pattern: str) -> Iterator[RemotePath]:
        """The paths below it that match; ``*``, ``?`` and ``[]`` stand for parts of one name."""
        first, _, rest = pattern.partition("/")
        if not re.search(r"[*?[]", first):
            found = [self / first] if rest or (self / first).exists() else []
        else:
            found = [self / e.name for e in self._listed() if fnmatch.fnmatchcase(e.name, first)]
        for path in sorted(found):
            if rest:
                yield from path.glob(rest)
            else:
                yield path

    def _listed(self) -> list[RemoteEntry]:
        return self.entries() if self.is_dir() else []

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Do nothing: on remote storage a folder exists as soon as a file is in it."""

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the file."""
        if not missing_ok or self.is_file():
            self.filesystem.delete_file(self.key)

    def resolve(self, strict: bool = False) -> RemotePath:
        """Itself: there are no links."""
        return self

    def absolute(self) -> RemotePath:
        """Itself: every such path begins with its scheme."""
        return self

    def samefile(self, other: object) -> bool:
        """Whether both are the same file."""
        return self == other


class RemoteEntry:
    """An entry of a remote folder, like :class:`os.DirEntry`; its size and time came with the listing."""

    def __init__(self, folder: RemotePath, info: pafs.FileInfo) -> None:
        self.name: str = info.base_name
        self.path = str(folder / info.base_name)
        self._info = info

    def is_dir(self) -> bool:
        """Whether it is a folder."""
        return bool(self._info.type.name == "Directory")

    def stat(self) -> os.stat_result:
        """Kind, size and time of change."""
        return _status(self._info)


def _status(info: pafs.FileInfo) -> os.stat_result:
    kind = stat.S_IFREG if info.is_file else stat.S_IFDIR
    changed = (info.mtime_ns or 0) / 1e9
    return os.stat_result((kind, 0, 0, 1, 0, 0, info.size or 0, changed, changed, changed))


@functools.cache
def _filesystem(scheme: str, bucket: str) -> pafs.FileSystem:
    import pyarrow.fs as pafs

    if scheme != "s3":
        try:
            return pafs.FileSystem.from_uri(f"{scheme}://{bucket}/")[0]
        except (ValueError, OSError) as error:
            raise UsageError(f"{scheme}://{bucket}: {' '.join(str(error).split())}") from None
    endpoint = urlsplit(os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or "")
    given = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if given and not endpoint.netloc:
        raise UsageError(f"AWS_ENDPOINT_URL is '{given}': must begin with http:// or https://")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if region is None and not endpoint.netloc:
        try:
            region = pafs.resolve_s3_region(bucket)
        except OSError as error:
            raise UsageError(f"s3://{bucket}: {' '.join(str(error).split())}; is AWS_REGION set?") from None
    return pafs.S3FileSystem(
        region=region,
        endpoint_override=endpoint.netloc or None,
        scheme=endpoint.scheme or "https",
        connect_timeout=10,
        request_timeout=60,
        retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS),
    )
