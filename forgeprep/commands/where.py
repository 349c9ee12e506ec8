"""Where the dataset lies and where the output goes: found, or said in one line what to give; and told."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgeprep.errors import UsageError

if TYPE_CHECKING:
    from forgeprep.datasets.base import Dataset
    from forgeprep.pipeline.precedence import Taken

_DEMOS = {"ffpp": "FaceForensics++", "celebdf-v1": "Celeb-DF", "celebdf-v2": "Celeb-DF-v2"}
"""What a demo's folder is called where that is not the dataset's name."""


def root_of(taken: Mapping[str, Taken], dataset: str, here: Path, words: Sequence[str]) -> Taken:
    """The root that is given, else the one that is found near ``here``.

    Args:
        taken: all that is given.
        dataset: its name.
        here: the working folder, absolute.
        words: the command as it was given, to be shown in full with what is missing.

    Raises:
        UsageError: none is found, or several are.
    """
    from forgeprep.io.storage import absolute, is_remote
    from forgeprep.pipeline.precedence import Source, Taken
    from forgeprep.pipeline.resolve import FLAGS, path_of

    given = taken.get("root")
    if given is not None:
        root, origin = path_of("root", given.value), given.source.origin
        if origin != FLAGS and not is_remote(root) and not root.is_dir():
            raise UsageError(
                f"{origin} has {dataset} in {root}, and there is no such folder; mend that, or give --root"
            )
        return Taken(absolute(root), given.source)
    from forgeprep.datasets import get_dataset
    from forgeprep.datasets.find import find_roots

    kind = get_dataset(dataset)
    found = find_roots(kind, here)
    if len(found) == 1:
        above = "above this folder" if found[0] in here.parents else "in this folder"
        return Taken(found[0], Source("this folder" if found[0] == here else f"found {above}", {}))
    if found:
        raise UsageError(
            f"{len(found)} folders look like {kind.title}: {', '.join(map(str, found))}; choose one: "
            f"{shlex.join([*words, '--root', str(found[0])])}"
        )
    raise UsageError(_not_found(kind, here, words))


def _not_found(kind: Dataset, here: Path, words: Sequence[str]) -> str:
    from forgeprep.demo.relayout import LAYOUTS
    from forgeprep.io.user_settings import settings_path
    from forgeprep.pipeline.precedence import root_variable
    from forgeprep.pipeline.resolve import PROJECT

    places = f"{here}, the folders above it and those down to two levels below it"
    dataset, title = kind.name, kind.title if kind.title != kind.name else f"dataset of the kind '{kind.name}'"
    files = [root_variable(dataset), PROJECT, str(settings_path() or "the user's settings")]
    demo = ["forgeprep", "demo", _DEMOS.get(dataset, dataset)]
    demo += [] if dataset == "ffpp" else ["--layout", dataset]
    try_it = f"; to try it on a small one: {shlex.join(demo)}" if dataset in {"ffpp", *LAYOUTS} else ""
    return (
        f"no {title} found: looked for it in {places}, and for its place in {', '.join(files)}; "
        f"give the folder that holds {kind.layout[0]}: {shlex.join(words)} --root DIR{try_it}"
    )


@contextmanager
def told_from(taken: Mapping[str, Taken]) -> Iterator[dict[str, Any]]:
    """Work with the values; errors about a setting that no flag gave name the file or variable that did."""
    from forgeprep.pipeline.resolve import FLAGS

    try:
        yield {name: one.value for name, one in taken.items()}
    except UsageError as error:
        others = {name: one for name, one in taken.items() if one.source.origin != FLAGS}
        text = _told_from(str(error), others)
        if text == str(error):
            raise
        raise UsageError(text) from None


def _told_from(text: str, taken: Mapping[str, Taken]) -> str:
    """A message that speaks of a flag by the place that its value stands in."""
    for name, one in taken.items():
        flag = re.match(rf"--(option )?{name.replace('_', '-')}(?![\w-])", text)
        if flag:
            return f"{one.source.origin}: {name}{text[flag.end() :]}"
    for name, one in taken.items():
        parts = one.value if isinstance(one.value, (list, tuple)) else str(one.value).split(",")
        if any(f"'{str(part).strip()}'" in text for part in parts) or (name == "root" and str(one.value) in text):
            return f"{text} ({name} is from {one.source.origin})"
    return text


def root_near(dataset: str, flag: Path | None, here: Path) -> Taken | None:
    """As :func:`root_of`, for commands that can do without: None where there is none, or more than one."""
    from forgeprep.datasets import get_dataset
    from forgeprep.datasets.find import find_roots
    from forgeprep.pipeline.precedence import take
    from forgeprep.pipeline.resolve import sources

    taken = take(sources(dataset, {"root": flag}, here))
    if "root" not in taken and len(find_roots(get_dataset(dataset), here)) != 1:
        return None
    return root_of(taken, dataset, here, ())


def real_roots_of(dataset: str, texts: Sequence[str], here: Path, root: Path | None) -> dict[str, Taken]:
    """The folders of the other datasets whose reals are this one's, as far as they are given or found.

    Args:
        dataset: its name.
        texts: of ``--real-root``, each ``NAME=DIR``.
        here: the working folder, absolute.
        root: the dataset's own folder, in and beside which they are looked for too.

    Raises:
        UsageError: a text is no ``NAME=DIR``, names a dataset whose reals are not needed, or no such folder.
    """
    from forgeprep.datasets import dataset_name, get_dataset
    from forgeprep.errors import unknown_name
    from forgeprep.io.settings import name_and_value
    from forgeprep.io.storage import absolute, is_remote, to_path

    needed = get_dataset(dataset).reals_from
    flags: dict[str, Path] = {}
    for text in texts:
        name, folder = name_and_value("--real-root", text)
        if not needed:
            raise UsageError(f"--real-root {text}: the reals of {dataset} are its own")
        if dataset_name(name) not in needed:
            raise unknown_name("dataset of --real-root", name, needed)
        flags[dataset_name(name)] = to_path(folder)
    places = [here] if root is None or is_remote(root) else [absolute(root), here, absolute(root).parent]
    found = {}
    for name in needed:
        near = (root_near(name, flags.get(name), place) for place in places)
        taken = next((taken for taken in near if taken is not None), None)
        if taken is not None:
            found[name] = taken
    return found


def roots_given(here: Path) -> list[dict[str, Any]]:
    """All roots that are kept or configured: dataset, root, origin, and whether there is such a folder."""
    from forgeprep.datasets import dataset_names
    from forgeprep.io.storage import absolute, is_remote
    from forgeprep.pipeline.precedence import take
    from forgeprep.pipeline.resolve import path_of, sources

    found = []
    for name in dataset_names():
        given = take(sources(name, {}, here)).get("root")
        if given is not None:
            root, origin = path_of(f"{given.source.origin}: {name}", given.value), given.source.origin
            there = is_remote(root) or root.is_dir()
            found.append({"dataset": name, "root": absolute(root), "origin": origin, "there": there})
    return found


def tell(
    dataset: str,
    asked: str,
    taken: Mapping[str, Taken],
    root: Taken,
    out: Taken,
    real_roots: Mapping[str, Taken] | None = None,
) -> None:
    """Print what was taken and from where, a line each."""
    from forgeprep.commands.terminal import console
    from forgeprep.pipeline.resolve import FLAGS

    lines = [] if asked == dataset else [("dataset", dataset, f"'{asked}'")]
    lines.append(("root", str(root.value), origin_of("root", root)))
    for name, one in (real_roots or {}).items():
        lines.append(("reals", f"{name} {one.value}", origin_of("real-root", one)))
    lines.append(("out", str(out.value), origin_of("out", out)))
    others: dict[str, list[str]] = {}
    for name, one in taken.items():
        if name not in ("root", "out") and one.source.origin != FLAGS:
            others.setdefault(one.source.origin, []).append(name.replace("_", "-"))
    lines += [("settings", ", ".join(names), origin) for origin, names in others.items()]
    for what, value, origin in lines:
        console.print(f"{what + ':':<9} {value} ({origin})", markup=False)
    hint = _doubled(out.value)
    if hint:
        console.print(hint, markup=False)


def _doubled(out: Path) -> str | None:
    """What to say of ``shards/shards``: that somebody may have meant ``shards`` to be the folder of all runs."""
    from forgeprep.io.storage import is_file
    from forgeprep.shards.records import runs_near

    if out.name != out.parent.name or is_file(out / "run.json"):
        return None
    near = runs_near(out.parent)
    there = f"; runs that are there: {', '.join(near)}" if near else ""
    return f"note:     --out ends in '{out.name}' twice; without --out a run goes to shards/DATASET{there}"


def origin_of(name: str, taken: Taken) -> str:
    """Who gave a value, for people."""
    from forgeprep.pipeline.resolve import FLAGS

    return f"--{name}" if taken.source.origin == FLAGS else taken.source.origin
