"""Reals that lie in another dataset: its own adapter lists them, with its splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from forgeprep.datasets import get_dataset
from forgeprep.datasets.base import ScanOptions
from forgeprep.errors import UsageError
from forgeprep.io.storage import absolute, is_remote
from forgeprep.schemas.clips import Clip


def reals_of(name: str, options: ScanOptions, compressions: Sequence[str] | None = None) -> dict[str, Clip]:
    """The reals of a dataset in ``options.real_roots``, by the last part of their clip_id; none where it is not given.

    Their paths are absolute, since they lie outside the root of the dataset whose fakes are listed.

    Raises:
        UsageError: there are none in the folder that is given, or it is no folder or on remote storage.
    """
    root = options.real_roots.get(name)
    if root is None:
        return {}
    if is_remote(root):
        raise UsageError(f"--real-root {name}={root}: must be a folder of this machine")
    if not root.is_dir():
        raise UsageError(f"--real-root {name}={root}: " + ("is a file" if root.exists() else "no such folder"))
    home = absolute(root)
    asked = ScanOptions(None if compressions is None else tuple(compressions), (), progress=options.progress)
    reals = get_dataset(name).scan(home, asked).clips
    return {clip.clip_id.rpartition("/")[2]: replace(clip, path=str(home / clip.path)) for clip in reals}


def told_without(options: ScanOptions, *names: str) -> list[str]:
    """What is to be said where the reals of a dataset are needed and nobody has told where it lies."""
    return [
        f"the reals are those of {get_dataset(name).title}, and nothing says where it lies: without them fakes have "
        f"no original, and there may be no reals; give --real-root {name}=DIR"
        for name in names
        if name not in options.real_roots
    ]
