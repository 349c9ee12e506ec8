"""A training and the folder that it fills: what stands in ``config.json`` and ``log.jsonl``."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from forgeprep.errors import UsageError
from forgeprep.io.atomic import atomic_write_bytes
from forgeprep.io.json_files import json_text, write_json
from forgeprep.io.safe_files import parse_json, read_bytes, read_json
from forgeprep.registry import missing
from forgeprep.schemas.files import TrainingFile, problem_of
from forgeprep.schemas.renamed import SAMPLE_COLUMNS_RENAMED, current_name, current_row
from forgeprep.shards.read import shard_paths
from forgeprep.shards.records import read_run
from forgeprep.training.boards import Board
from forgeprep.training.checkpoint import read_facts
from forgeprep.training.models import FILLED, get_model, model_names, options_of, package_of
from forgeprep.training.recipe import Recipe
from forgeprep.training.sample_index import SampleIndex

Report = Callable[[dict[str, Any]], None]
"""``report(facts)``: after every step (``loss``, ``step``, ``images_s``, …) and every epoch (``val_auc``, …).

``epoch`` counts from 1. It is also told what is in no log: before an epoch how many ``steps`` there will be in all,
while val is judged how many samples are ``judged``, and any ``note``. What it raises ends the training; the state is
kept."""
_NEUTRAL = ("workers", "save_every", "also", "log")
"""Settings that do not change what comes out."""
_LONGER = ("epochs", "patience")
"""Settings that only say when a training ends."""
STOP = "stop"
"""A file in a run's folder that asks the processes of a training to end after a step, and to keep the state."""


@dataclass(frozen=True, slots=True)
class Training:
    """What is trained.

    Attributes:
        model: a name that :func:`forgeprep.training.models.get_model` knows.
        shards: folders of runs.
        run: folder to fill.
        recipe: how.
        options: of the model.
        weights: pretrained weights of the backbone.
        init: another training to start from: what it has of this model is taken.
        limit: steps after which to stop, for a try.
        kind: a column and a value: learn from fakes with that value alone. Methods are chosen by the recipe.
        also: name -> folder of a run whose test split is judged after each epoch, for the log alone.
        log: where curves are drawn, of :data:`forgeprep.training.boards.BOARDS`.
    """

    model: str
    shards: tuple[Path, ...]
    run: Path
    recipe: Recipe
    options: dict[str, Any] = field(default_factory=dict)
    weights: Path | None = None
    init: Path | None = None
    limit: int | None = None
    kind: tuple[str, str] | None = None
    also: Mapping[str, Path] = field(default_factory=dict)
    log: str = "tensorboard"

    @property
    def size(self) -> int:
        """Side of the input in pixels."""
        return self.recipe.size or get_model(self.model).size


def read_config(run: Path) -> dict[str, Any]:
    """A training's ``config.json``.

    Raises:
        UsageError: the folder holds no training.
    """
    try:
        config = read_json(run / "config.json")
    except (FileNotFoundError, NotADirectoryError):
        near = _trainings_in(run)
        meant = f"; did you mean {' or '.join(near)}?" if near else ""
        raise UsageError(f"{run}: holds no training of forgeprep (no config.json){meant}") from None
    except OSError as error:
        raise UsageError(f"{run / 'config.json'}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise UsageError(
            f"{run / 'config.json'}: damaged ({' '.join(str(error).split())[:120]}); train again"
        ) from None
    problem = problem_of(TrainingFile, config)
    if problem is not None:
        raise UsageError(f"{run / 'config.json'}: damaged ({problem}); train again")
    name, package = config["model"], config.get("package")
    if package and name not in model_names():
        raise UsageError(f"{run}: {missing('model', name, package)}")
    config["options"] = complete_options(config["model"], current_options(config["model"], config["options"]))
    if config.get("kind"):
        config["kind"] = [current_name(config["kind"][0]), *config["kind"][1:]]
    return dict(config)


def _trainings_in(folder: Path) -> list[str]:
    with suppress(OSError):
        return sorted(str(inside.parent) for inside in folder.glob("*/config.json"))[:5]
    return []


def current_options(model: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a model, whose levels may be named as in an earlier version, by the names of today."""
    found = dict(options)
    with suppress(UsageError):
        if get_model(model).levels:
            for name in _BY_LEVEL & found.keys():
                value = found[name]
                if isinstance(value, str):
                    found[name] = ",".join(SAMPLE_COLUMNS_RENAMED.get(part.strip(), part) for part in value.split(","))
                elif isinstance(value, dict):
                    found[name] = current_row(value)
    return found


_BY_LEVEL = {"levels", "weights", "names"}

_BEFORE: dict[str, dict[str, Any]] = {
    "foundation-vit": {"vision": None},
    "cael": {"transposed": "edges"},
    "mesoinception4-cls": {"head": "fc"},
    "two-stream": {"noise_scale": "gray"},
}
"""Options that trainings of earlier versions do not name, and what these did. New trainings always name them.

What a training notes of its model (:meth:`ForgeryModel.noted`) stands here too: it goes on with what it has noted."""


def complete_options(model: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a training that is there, with those that one of an earlier version does not name."""
    return {**_BEFORE.get(model, {}), **options}


def as_begun(training: Training) -> Training:
    """A training with the options of :data:`_BEFORE` as the one in its folder has them, else with their defaults.

    So a training of an earlier version goes on as it began, and a new one says what it is.
    """
    names = _BEFORE.get(training.model, {}).keys() - training.options.keys()
    if not names:
        return training
    begun = any((training.run / f"{state}.json").is_file() for state in ("last", "best"))
    known: Mapping[str, Any] = {}
    if begun and (training.run / "config.json").is_file():
        known = read_config(training.run)["options"]
    defaults = options_of(training.model)
    filled = {name: known.get(name, defaults[name][1]) for name in sorted(names)}
    return replace(training, options={**training.options, **filled})


def settings_of(training: Training) -> dict[str, Any]:
    """What ``config.json`` says of a training, but for what its samples tell."""
    training = as_begun(training)
    also = {"also": {name: str(out.resolve()) for name, out in training.also.items()}} if training.also else {}
    return {
        "model": training.model,
        "options": training.options,
        "recipe": training.recipe.model_dump(mode="json"),
        "size": training.size,
        "shards": [str(out.resolve()) for out in training.shards],
        "kind": list(training.kind) if training.kind else None,
        "weights": str(training.weights) if training.weights else None,
        "init": str(training.init) if training.init else None,
        "package": package_of(training.model),
        **also,
        **({"log": training.log} if training.log != "tensorboard" else {}),
    }


def is_finished(training: Training) -> bool:
    """Whether the folder holds this training, and nothing is left to be done.

    Raises:
        UsageError: the folder holds another training.
    """
    if not (training.run / "config.json").is_file():
        return False
    _refuse_others(training.run, settings_of(training))
    facts = read_facts(training.run, "last")
    return facts is not None and (facts["epoch"] >= training.recipe.epochs or bool(facts.get("done")))


def differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, str]:
    """The settings in which one training is another than an older one: name -> ``16 -> 32``; the recipe's singly."""
    before, after = map(_flat, (old, new))
    names = [name for name in after if name not in _NEUTRAL and before.get(name) != after[name]]
    return {name: f"{before.get(name)} -> {after[name]}" for name in names}


def _flat(config: Mapping[str, Any]) -> dict[str, Any]:
    options = {name: value for name, value in (config.get("options") or {}).items() if name not in FILLED}
    # A training of an earlier version does not name settings that came later, which then are as they are by default.
    recipe = {**Recipe().model_dump(mode="json"), **(config.get("recipe") or {})}
    return {**config, **recipe, "recipe": None, "options": options}


def _refuse_others(run: Path, config: Mapping[str, Any]) -> None:
    """With more or fewer epochs it is the same training; a folder without a state is nobody's yet.

    A cosine ends with the last epoch: with other epochs it is another one from the first step on.
    """
    same = [name for name in _LONGER if name != "epochs" or config["recipe"].get("schedule") != "cosine"]
    names = {name: told for name, told in differing(read_config(run), config).items() if name not in same}
    if names and not any((run / f"{state}.json").exists() for state in ("last", "best")):
        # The start of another training failed here. What it has computed is of other settings.
        for file in run.glob("features-*.npy"):
            file.unlink()
        return
    if names:
        told = "; ".join(f"{name}: {change}" for name, change in names.items())
        told += ", and a cosine ends with its last epoch" if "epochs" in names else ""
        raise UsageError(
            f"{run}: holds another training ({told}); give another folder, or the old settings to go on with it"
        )


def claim(training: Training, index: SampleIndex) -> None:
    """Write ``config.json``, or see that the one there is the same training's.

    Raises:
        UsageError: the folder holds another training, or larger crops are asked for than the shards have.
    """
    enlarge = round(index.enlarge, 4)
    if training.recipe.enlarge is not None and training.recipe.enlarge > enlarge:
        raise UsageError(f"enlarge: {training.recipe.enlarge:g} is more than the {enlarge:g} that the shards have")
    config = {
        **settings_of(training),
        "methods": list(index.methods),
        "enlarge": training.recipe.enlarge or enlarge,
    }
    path = training.run / "config.json"
    if path.is_file():
        _refuse_others(training.run, config)
    # How the shards' crops were cut, for `predict`; older trainings, which lack it, go on all the same.
    run = _run_of(training.shards[0])
    cut = _crop_params(run)
    # Of aligned crops the samples tell a multiple of what was asked for.
    asked = cut.get("enlarge", enlarge) if cut.get("align", "none") != "none" else enlarge
    config["crop"] = {**cut, "enlarge": asked, "size": index.crop_size}
    config["crop_versions"] = run.get("versions")
    training.run.mkdir(parents=True, exist_ok=True)
    write_json(path, config)


def crop_warnings(shards: Sequence[Path]) -> list[str]:
    """A line for each folder of shards whose crops were cut with other settings than those of the first."""
    lines = []
    first = _crop_params(_run_of(shards[0]))
    for out in shards[1:]:
        own = _crop_params(_run_of(out))
        names = [name for name in first if name in own and own[name] != first[name] and name != "bystanders"]
        if names:
            told = "; ".join(f"{name}: {first[name]} -> {own[name]}" for name in names)
            lines.append(f"{out}: was cut with other settings than {shards[0]} ({told}); predict will cut as the first")
    return lines


def val_warnings(shards: Sequence[Path]) -> list[str]:
    """A line where some folders of shards have a val, and others none."""
    without = [out for out in shards if not shard_paths(out, "val")]
    having = [str(out) for out in shards if out not in without]
    if not without or not having:
        return []
    told = ", ".join(map(str, without))
    return [f"{told}: no val; the best state and the threshold are chosen on that of {', '.join(having)} alone"]


def _run_of(out: Path) -> dict[str, Any]:
    """What ``run.json`` says of shards; nothing where it is not there."""
    with suppress(UsageError):
        return read_run(out)
    return {}


def _crop_params(run: Mapping[str, Any]) -> dict[str, Any]:
    """How faces were found and cut for the shards of a run; nothing where it does not say."""
    config: Any = run.get("config")
    params = config.get("params") if isinstance(config, dict) else None
    cut = params.get("crop") if isinstance(params, dict) else None
    return dict(cut) if isinstance(cut, dict) else {}


def logged(run: Path, report: Report, facts: Mapping[str, Any], board: Board) -> Report:
    """Write what is reported to ``log.jsonl`` and a board too, after what was known at the state of ``facts``."""
    _forget_later(run / "log.jsonl", facts)

    def tell(facts: dict[str, Any]) -> None:
        if "loss" not in facts and not any(name.startswith("val_") for name in facts):
            report(facts)
            return
        with (run / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json_text({"time": round(time.time(), 3), **facts}) + "\n")
        board.add({name: value for name, value in facts.items() if name not in ("step", "epoch")}, facts["step"])
        report(facts)

    return tell


def _entry(line: bytes) -> dict[str, Any] | None:
    """A line of the log; None for one that is not whole."""
    try:
        entry = parse_json(line)
    except ValueError:
        return None
    numbers = isinstance(entry, dict) and all(isinstance(entry.get(n), (int, float)) for n in ("step", "epoch"))
    return entry if numbers and line.endswith(b"\n") else None


def _forget_later(log: Path, facts: Mapping[str, Any]) -> None:
    """Take out of a log what came after a state, and comes again."""
    if log.is_file():
        lines = read_bytes(log).splitlines(keepends=True)
        entries = [_entry(line) for line in lines]
        # The state of a whole epoch was judged; one of the same step that was not, is judged again.
        judged = facts["step"] if facts["in_epoch"] == 0 else facts["step"] - 1
        kept = [
            line
            for line, entry in zip(lines, entries, strict=True)
            if entry is not None
            and entry["step"] <= (judged if any(name.startswith("val_") for name in entry) else facts["step"])
        ]
        atomic_write_bytes(log, b"".join(kept))
