"""What a user has told once and for all: where each dataset lies. One small YAML file below the user's home folder."""

from __future__ import annotations

import os
from pathlib import Path

import yaml

from forgeprep.errors import StorageError, UsageError
from forgeprep.io.atomic import atomic_write_bytes
from forgeprep.io.settings import read_settings_file
from forgeprep.io.storage import is_file


def settings_path() -> Path | None:
    """The file, which may not exist: ``forgeprep/settings.yaml`` where the XDG specification has it.

    None where no home folder is known, as for a random user in a container.
    """
    folder = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    if folder.is_absolute():  # Others are to be ignored, says the specification.
        return folder / "forgeprep" / "settings.yaml"
    try:
        return Path.home() / ".config" / "forgeprep" / "settings.yaml"
    except RuntimeError:
        return None


def read_roots() -> dict[str, str]:
    """Dataset -> its root, as the user told; empty where there is no such file.

    Raises:
        UsageError: the file is none of ours.
    """
    path = settings_path()
    if path is None or not is_file(path):
        return {}
    roots = read_settings_file(path).get("roots") or {}
    if not isinstance(roots, dict) or not all(isinstance(text, str) for pair in roots.items() for text in pair):
        raise UsageError(f"{path}: roots must be a mapping of datasets to folders; mend or remove the file")
    return roots


def keep_root(dataset: str, root: str | None) -> Path:
    """Keep a dataset's root, None to forget it; returns the file. All else in it stays.

    Raises:
        UsageError: the file is none of ours.
        StorageError: no home folder is known, or it cannot be written.
    """
    path = settings_path()
    if path is None:
        raise StorageError("no home folder is known to keep settings in; set XDG_CONFIG_HOME to a folder")
    roots = read_roots()
    before = read_settings_file(path) if roots else {}
    kept = {name: place for name, place in {**roots, dataset: root}.items() if place is not None}
    text = yaml.safe_dump({**before, "roots": kept}, allow_unicode=True)
    try:
        atomic_write_bytes(path, f"# 'forgeprep datasets add' and 'remove' write this file.\n{text}".encode())
    except StorageError as error:
        why = getattr(error.__cause__, "strerror", None) or error.__cause__
        raise StorageError(
            f"{path}: cannot be written ({why}); set XDG_CONFIG_HOME to a folder that can, or use a forgeprep.yaml"
        ) from None
    return path
