"""Who says where a dataset lies, where a run goes and what it does, if the command line does not say all of it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath
from typing import Any, cast

from forgeprep.datasets import dataset_name, dataset_names
from forgeprep.errors import ForgeprepWarning, UsageError, unknown_name
from forgeprep.io.storage import absolute, is_file, is_plain, is_remote, real_name, to_path
from forgeprep.io.user_settings import read_roots, settings_path
from forgeprep.pipeline.configure import read_yaml
from forgeprep.pipeline.precedence import Source, Taken, default_out, root_variable, take
from forgeprep.shards.records import run_around

PROJECT = "forgeprep.yaml"
FLAGS, DEFAULT = "flag", "default"

Renamed = Callable[[str, str, Path], None]


def sources(
    dataset: str,
    flags: Mapping[str, Any],
    here: Path,
    *,
    config: Path | None = None,
    renamed: Renamed = lambda old, new, file: None,
) -> list[Source]:
    """What gives settings of a run, the first one wins.

    Flags, the file of ``--config``, the environment (``FORGEPREP_FFPP_ROOT``), the nearest ``forgeprep.yaml`` in
    ``here`` or above it, the user's settings (``forgeprep datasets add``).

    Args:
        dataset: its name, or what people call it.
        flags: name -> value, None where the flag is not given.
        here: the working folder, absolute.
        config: the file of ``--config``.
        renamed: told of each name of an earlier version: that one, today's, and the file.

    Raises:
        UsageError: a file cannot be read, or holds a name that is no setting.
    """
    name = dataset_name(dataset)
    found = [Source(FLAGS, flags)]
    if config is not None:
        values = read_yaml(config, lambda old, new: renamed(old, new, config), more=("roots",))
        place = _root_in(config, values, name)
        found.append(Source(f"--config {config}", {**values, "root": values.get("root") or place}))
    variable = root_variable(name)
    found.append(Source(variable, {"root": os.environ.get(variable) or None}))
    project = project_file(here)
    if project is not None:
        found.append(Source(str(project), read_project(project, name, renamed)))
    # Not without need: a broken file at home must not stop somebody who gives the root.
    if "root" not in take(found):
        found.append(Source(str(settings_path()), {"root": read_roots().get(name)}))
    return found


def project_file(here: Path) -> Path | None:
    """The ``forgeprep.yaml`` of a folder or of the nearest above it."""
    return next((folder / PROJECT for folder in (here, *here.parents) if is_file(folder / PROJECT)), None)


def read_project(file: Path, dataset: str, renamed: Renamed) -> dict[str, Any]:
    """What a ``forgeprep.yaml`` says of a dataset's run: its settings, ``out``, and ``root`` from its ``roots``.

    Paths are relative to the file; ``{dataset}`` in ``out`` stands for the dataset's name.

    Raises:
        UsageError: it cannot be read, or holds a name that is no setting.
    """
    values = read_yaml(file, lambda old, new: renamed(old, new, file), more=("roots",), without=("dataset", "root"))
    values["root"] = _beside(file, "roots", _root_in(file, values, dataset))
    out = values.get("out")
    values["out"] = _beside(file, "out", out.replace("{dataset}", dataset) if isinstance(out, str) else out)
    return values


def _root_in(file: Path, values: dict[str, Any], dataset: str) -> Any:
    """Take ``roots`` out of a file's values; returns what it has for the dataset."""
    roots = values.pop("roots", None) or {}
    if not isinstance(roots, dict):
        raise UsageError(f"{file}: roots must be a mapping of datasets to folders, such as {{ffpp: DIR}}")
    places = {dataset_name(str(name)): place for name, place in roots.items()}
    for name in places.keys() - set(dataset_names()):
        raise UsageError(f"{file}: {unknown_name('dataset', name, dataset_names())}")
    return places.get(dataset)


def _beside(file: Path, what: str, place: Any) -> Path | None:
    """The path that a file names, relative to the file's folder."""
    if place is None:
        return None
    path = path_of(f"{file}: {what}", place)
    return path if is_remote(path) else absolute(file.parent / path)


def path_of(what: str, value: Any) -> Path:
    """A path of flags, of a file or of the environment; raises UsageError for what is none, saying ``what`` it is."""
    if isinstance(value, PurePath):
        return cast(Path, value)
    if not isinstance(value, str) or not value or not is_plain(value):
        raise UsageError(f"{what}: must be the path of a folder (got {value!r})")
    return to_path(value)


def out_of(kind: str, dataset: str, given: Taken | None, here: Path, root: Path) -> Taken:
    """Where to write: what is given, else :func:`~forgeprep.pipeline.precedence.default_out`; local paths absolute.

    Raises:
        UsageError: it is no path, lies inside another run, or inside the dataset and holds no run yet.
    """
    if given is None:
        at = None if is_remote(root) else Path(real_name(root))
        if at is not None and at.parent == at:
            raise UsageError(f"--out is missing: {root} is the root of everything, there is no place beside it")
        given = Taken(Path(default_out(kind, dataset, here, at)), Source(DEFAULT, {}))
    out = absolute(path_of("--out", given.value))
    there = is_file(out / "run.json")
    around = None if there else run_around(out)
    if around is not None:
        raise UsageError(f"--out {out} lies inside another run, {around}; give a folder outside of it")
    if _is_inside(out, root):
        if not there:
            inside = "lies inside" if real_name(out) != real_name(root) else "is"
            raise UsageError(f"--out {out} {inside} the dataset's own folder, {root}; give one outside of it")
        warnings.warn(
            f"{out} lies inside the dataset's own folder, {root}; better move it out", ForgeprepWarning, stacklevel=1
        )
    return Taken(out, given.source)


def _is_inside(out: Path, root: Path) -> bool:
    """Whether the output lies in the dataset's folder, also by way of links; in ``/`` lies everything."""
    if is_remote(out) or is_remote(root):
        return is_remote(out) and is_remote(root) and str(out).startswith(f"{str(root).rstrip('/')}/")
    at = Path(real_name(root))
    return at.parent != at and Path(real_name(out)).is_relative_to(at)
