"""Weights of the optional detectors: where they lie, and the one command that fetches them."""

from __future__ import annotations

import bz2
import hashlib
import importlib.util
import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from forgeprep.errors import ForgeprepError, unknown_name


@dataclass(frozen=True, slots=True)
class Weights:
    """A file of weights: its name, where it comes from, and how its SHA-256 (unpacked) starts."""

    file: str
    url: str
    sha256: str


WEIGHTS = {
    "dlib-cnn": Weights(
        "mmod_human_face_detector.dat",
        "http://dlib.net/files/mmod_human_face_detector.dat.bz2",
        "4cb19393e2fbaf2b1609a9319ad5386618c886a6234ec1b971f3e87c85d87fe6",
    ),
    "s3fd": Weights(
        "s3fd-619a316812.pth",
        "https://www.adrianbulat.com/downloads/python-fan/s3fd-619a316812.pth",
        # By the convention of torch.hub, the file's name carries the start of its hash.
        "619a316812",
    ),
}


def weights_path(name: str) -> Path:
    """Where the weights ``name`` are looked for, whether they are there or not.

    dlib's lie in ``$FORGEPREP_WEIGHTS``, else ``~/.cache/forgeprep/weights``; an installed ``face_recognition_models``
    serves too. face-alignment looks in torch.hub's folder and nowhere else.

    Raises:
        UsageError: no such weights.
    """
    if name not in WEIGHTS:
        raise unknown_name("weights", name, WEIGHTS)
    file = WEIGHTS[name].file
    if name == "s3fd":
        import torch

        return Path(torch.hub.get_dir()) / "checkpoints" / file
    here = Path(os.environ.get("FORGEPREP_WEIGHTS") or Path.home() / ".cache" / "forgeprep" / "weights") / file
    # Found without importing it: that package needs pkg_resources, which new setuptools lack.
    spec = importlib.util.find_spec("face_recognition_models")
    if not here.is_file() and spec is not None and spec.submodule_search_locations:
        packaged = Path(next(iter(spec.submodule_search_locations))) / "models" / file
        if packaged.is_file():
            return packaged
    return here


def require(name: str) -> Path:
    """The weights ``name`` on this machine.

    Raises:
        ForgeprepError: they are not here; the message says where they belong and how to get them.
    """
    path = weights_path(name)
    if not path.is_file():
        raise ForgeprepError(f"no weights at {path}: run 'forgeprep weights fetch {name}' on a machine with network")
    return path


def fetch(name: str) -> Path:
    """Fetch weights, check their hash and put them in their place; nothing is done if they are there.

    Raises:
        ForgeprepError: they cannot be fetched, or are not what they should be.
    """
    path = weights_path(name)
    if path.is_file():
        return path
    source = WEIGHTS[name]
    try:
        with urllib.request.urlopen(source.url, timeout=60) as answer:
            data = answer.read()
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise ForgeprepError(f"{source.url}: cannot be fetched ({reason}); put the file at {path} yourself") from None
    if source.url.endswith(".bz2"):
        data = bz2.decompress(data)
    found = hashlib.sha256(data).hexdigest()
    if not found.startswith(source.sha256):
        raise ForgeprepError(f"{source.url}: SHA-256 {found}, expected {source.sha256}…; the file was not kept")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    temporary.write_bytes(data)
    temporary.replace(path)
    return path
