"""``forgeprep evaluate --protocol``: train on one class of fakes, or one dataset, and test on each.

A row of the matrix is a training, a column is what is tested. All that is done is kept in the folder, and not done
again: ``trainings/ROW`` (each goes on by itself), ``scores/ROW/SET.parquet`` (one pass of a row's model over the
test split of a set of shards), and ``cells/ROW/COLUMN.json``, made from the scores. Scores and cells name the
checkpoint and the shards that they are of; those of others are made again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from forgeprep.errors import UsageError, unknown_name
from forgeprep.shards.random_access import iter_tables
from forgeprep.shards.read import shard_paths
from forgeprep.shards.records import run_meant
from forgeprep.training.evaluation.truth import shards_fingerprint
from forgeprep.training.models import build, get_model
from forgeprep.training.run_folder import Training, differing, read_config, settings_of
from forgeprep.training.sample_index import check_columns

PROTOCOLS: dict[str, str | None] = {
    "cross-method": "method",
    "cross-generator": "method",
    "cross-family": "family",
    "cross-forgery": "forgery",
    "cross-dataset": None,
}
"""Protocol -> the column that tells its classes; None: the sets of shards are the classes.

A *method* is the program that forged, a *family* the kind of program (gan, diffusion, …). GenFace calls a method a
generator, so its protocol of that name goes by the method.
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done.

    Attributes:
        protocol: a name of :data:`PROTOCOLS`.
        base: model, shards, recipe, options and weights of every row; its run is the folder to fill.
        split: what is tested.
        runs: trainings that are there already, taken for the rows that they fit.
    """

    protocol: str
    base: Training
    split: str = "test"
    runs: tuple[Path, ...] = ()

    @property
    def to(self) -> Path:
        """The folder to fill."""
        return self.base.run

    @property
    def column(self) -> str | None:
        """The column that tells the classes; None: the sets are the classes."""
        return PROTOCOLS[self.protocol]


class Key(NamedTuple):
    """What samples that are counted together share; ``set`` is the name of their set of shards."""

    set: str
    split: str
    dataset: str
    label: int
    method: str | None
    forgery: str
    family: str | None


@dataclass(frozen=True, slots=True)
class Row:
    """A training of the matrix: its class, what it is, why it cannot be (else None), and its samples in train."""

    name: str
    training: Training
    mark: str | None
    fakes: int
    reals: int


@dataclass(frozen=True, slots=True)
class Layout:
    """The matrix before it is filled.

    Attributes:
        plan: what was asked for.
        rows: the trainings.
        classes: the columns.
        sets: sets of shards by name.
        prints: what the shards of a set are, by its name.
        datasets: whose samples they hold.
        methods: of each set, whose fakes count; None for all.
    """

    plan: Plan
    rows: tuple[Row, ...]
    classes: tuple[str, ...]
    sets: dict[str, Path]
    prints: dict[str, str]
    datasets: tuple[str, ...]
    methods: dict[str, tuple[str, ...] | None]

    def sets_of(self, name: str) -> list[str]:
        """The sets that a column is tested on."""
        return [name] if self.plan.column is None else list(self.sets)


def get_protocol(name: str) -> str:
    """The name, if there is such a protocol; else a UsageError with the nearest one."""
    if name not in PROTOCOLS:
        raise unknown_name("benchmark protocol", name, PROTOCOLS)
    return name


def lay_out(plan: Plan, tell: Callable[[str, int], None] = lambda *_: None) -> Layout:
    """Count what the shards hold, and see what is trained and tested.

    Raises:
        UsageError: fewer than two classes, no such split, nothing that can be trained, a column that the model needs
            is missing, a training given that fits no row.
        VerifyError: a shard is damaged.
    """
    base = plan.base
    if get_model(base.model).takes == "features":
        raise UsageError(f"{plan.protocol}: {base.model} gives no verdict on samples, only spans in time")
    _check_sets(plan)
    needs = build(base.model, base.options).needs_columns()
    for out in base.shards:
        learnt = [path for split in ("train", "val") for path in shard_paths(out, split)]
        if learnt:
            check_columns(learnt, needs)
    counts = _census(base.shards, ("train", "val", plan.split), tell)
    names = _names(base.shards, counts)
    keys = Counter({key._replace(set=names[key.set]): n for key, n in counts.items()})
    methods = base.recipe.methods
    there = {key.method for key in keys if key.method is not None}
    for name in methods or ():
        if name not in there:
            raise unknown_name("method", name, there)
    wanted = _wanted(plan, keys)
    counted = {name: {*there, None} if own is None else set(own) for name, own in wanted.items()}
    keys = Counter({k: n for k, n in keys.items() if k.label == 0 or k.method in counted[k.set]})
    sets = {names[str(out)]: out for out in base.shards}
    classes = tuple(sets) if plan.column is None else _classes(keys, plan.column)
    if len(classes) < 2:
        held = f"only {classes[0]}" if classes else "none"
        where = "the shards hold" if methods is None else "with --set methods, the shards hold"
        raise UsageError(f"{plan.protocol}: takes two classes of fakes at least; {where} {held}")
    rows = tuple(_row(plan, name, sets, keys, wanted) for name in classes)
    if all(row.mark for row in rows):
        told = "; ".join(f"{row.name}: {row.mark}" for row in rows)
        raise UsageError(f"{plan.protocol}: no row can be trained ({told})")
    prints = {name: shards_fingerprint(out) for name, out in sets.items()}
    found = tuple(sorted({key.dataset for key in keys}))
    return Layout(plan, _with_given(plan.runs, rows), classes, sets, prints, found, wanted)


def _wanted(plan: Plan, keys: Counter[Key]) -> dict[str, tuple[str, ...] | None]:
    """The methods of each set that count. Where sets are crossed, one with none of those named keeps all its own."""
    methods = plan.base.recipe.methods
    found: dict[str, tuple[str, ...] | None] = {}
    for name in {key.set for key in keys}:
        own = {key.method for key in keys if key.set == name}
        there = None if methods is None else tuple(method for method in methods if method in own)
        found[name] = methods if plan.column is not None else there or None
    return found


def slug(name: str) -> str:
    """A file's name for a class; distinct names stay distinct."""
    text = quote(name, safe=" +()")
    return "%2E" + text[1:] if text.startswith(".") else text


def _check_sets(plan: Plan) -> None:
    shards = plan.base.shards
    resolved = [out.resolve() for out in shards]
    for number, out in enumerate(shards):
        if resolved[number] in resolved[:number]:
            raise UsageError(f"{out}: given twice with --shards")
        if not shard_paths(out):
            raise UsageError(f"{out}: holds no shards; {run_meant(out)}")
    if plan.column is None and len(shards) < 2:
        raise UsageError(f"{plan.protocol}: takes two sets of shards at least; give --shards once for each")
    for split in dict.fromkeys(("train", "val", plan.split)):
        if not any(shard_paths(out, split) for out in shards):
            where = ", ".join(map(str, shards))
            raise UsageError(f"{where}: no shards of the split '{split}', which {plan.protocol} takes")


def _census(shards: Sequence[Path], splits: Sequence[str], tell: Callable[[str, int], None]) -> Counter[Key]:
    counts: Counter[Key] = Counter()
    wanted = Key._fields[2:]
    for out in shards:
        for split in dict.fromkeys(splits):
            for path in shard_paths(out, split):
                for table in iter_tables(path, wanted):
                    for kind in table.group_by(list(wanted)).aggregate([([], "count_all")]).to_pylist():
                        count = kind.pop("count_all")
                        counts[Key(str(out), split, **kind)] += count
                tell("samples counted", counts.total())
    return counts


def _names(shards: Sequence[Path], counts: Counter[Key]) -> dict[str, str]:
    """Folder -> name: that of its dataset; of its folder, if several are of one dataset; the whole path at last."""
    texts = [str(out) for out in shards]
    datasets = ["+".join(sorted({key.dataset for key in counts if key.set == text})) for text in texts]
    for names in (datasets, [out.name for out in shards]):
        if all(names) and len(set(names)) == len(names):
            return dict(zip(texts, names, strict=True))
    return {text: text for text in texts}


def _classes(keys: Counter[Key], column: str) -> tuple[str, ...]:
    return tuple(sorted({value for key in keys if key.label and (value := getattr(key, column)) is not None}))


def _row(
    plan: Plan, name: str, sets: dict[str, Path], keys: Counter[Key], wanted: Mapping[str, tuple[str, ...] | None]
) -> Row:
    column, base = plan.column, plan.base
    folder = plan.to / "trainings" / slug(name)
    if column is None:
        recipe = base.recipe.model_copy(update={"methods": wanted.get(name)})
        training = replace(base, run=folder, shards=(sets[name],), recipe=recipe)
    elif column == "method":
        training = replace(base, run=folder, recipe=base.recipe.model_copy(update={"methods": (name,)}))
    else:
        training = replace(base, run=folder, kind=(column, name))

    def count(split: str, label: int) -> int:
        mine = (key for key in keys if key.split == split and key.label == label)
        if column is None:
            return sum(keys[key] for key in mine if key.set == name)
        return sum(keys[key] for key in mine if label == 0 or getattr(key, column) == name)

    found = {(what, split): count(split, label) for split in ("train", "val") for label, what in enumerate(_WHAT)}
    mark = next((f"no {what} in {split}" for (what, split), number in found.items() if number == 0), None)
    return Row(name, training, mark, found["fakes", "train"], found["reals", "train"])


_WHAT = ("reals", "fakes")


def _with_given(runs: Sequence[Path], rows: Sequence[Row]) -> tuple[Row, ...]:
    """The rows, each with the training that was given for it, if one fits."""
    taken: dict[str, Path] = {}
    for run in runs:
        old = read_config(run)
        odd = {row.name: differing(old, settings_of(replace(row.training, run=run))) for row in rows}
        nearest = min(odd, key=lambda name: len(odd[name]))
        if odd[nearest]:
            told = "; ".join(f"{name}: {change}" for name, change in odd[nearest].items())
            raise UsageError(
                f"{run}: fits no row; the nearest is {nearest} ({told}); give the settings that it was trained with, "
                "or leave it out"
            )
        if nearest in taken:
            raise UsageError(f"{run}: is the same training as {taken[nearest]}; leave one out")
        taken[nearest] = run
    return tuple(replace(r, training=replace(r.training, run=taken[r.name])) if r.name in taken else r for r in rows)
