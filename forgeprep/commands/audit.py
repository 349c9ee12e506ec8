"""``forgeprep datasets audit``: what is wrong with datasets on disk and with lists of them."""

from __future__ import annotations

import csv
import io
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forgeprep.commands.flags import ANY, LOCAL, Debug, Json, complete_datasets
from forgeprep.commands.groups import given_words
from forgeprep.text import counted

if TYPE_CHECKING:
    from forgeprep.datasets.audit import Copy
    from forgeprep.datasets.findings import Finding

_EXAMPLES = 3
EPILOG = """forgeprep datasets audit ffpp --root /data/FaceForensics++ --list test.json
forgeprep datasets audit ffpp df40 --root ffpp=/data/FaceForensics++ --root df40=/data/DF40 --csv found.csv"""


def datasets_audit(
    context: typer.Context,
    names: Annotated[
        list[str],
        typer.Argument(
            help="Dataset, or several to be compared.", autocompletion=complete_datasets, metavar="DATASET…"
        ),
    ],
    root: Annotated[
        list[str] | None,
        typer.Option(
            help="Folder of the dataset; of several, NAME=DIR for each. [default: as for 'forgeprep run']",
            metavar="[NAME=]DIR",
        ),
    ] = None,
    lists: Annotated[
        list[Path] | None,
        typer.Option(
            "--list",
            help="A published list, to be compared with the files and the splits: JSON of DeepfakeBench, the authors' "
            "own, CSV, or a path a line. May be given several times. [default: none]",
            **LOCAL,
        ),
    ] = None,
    contents: Annotated[
        bool,
        typer.Option(
            "--contents/--no-contents",
            help="Compare files of one size: three pieces of 64 KB of each, and all of those that agree there.",
        ),
    ] = True,
    option: Annotated[
        list[str] | None, typer.Option(help="An option of the dataset, if it is one.", metavar="NAME=VALUE")
    ] = None,
    table: Annotated[
        Path | None, typer.Option("--csv", help="Write all findings to this CSV file. [default: none]", **ANY)
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Tell what leaks, what is there twice and what is missing.

    Sources and people in two splits, equal files, names without files and files without names, broken links, empty
    files and folders, counts other than published. Of several datasets, also which share sources.

    Exit code 1 if something leaks, else 0, whatever else is found.
    """
    from forgeprep.commands.terminal import counting, print_json
    from forgeprep.datasets.audit import audit
    from forgeprep.datasets.audit_across import audit_across
    from forgeprep.datasets.findings import in_order
    from forgeprep.errors import UsageError

    if lists and len(names) > 1:
        raise UsageError("--list is compared with one dataset; name that one alone")
    copies = _copies(names, root or [], option or [], given_words(context), quiet=as_json)
    with counting() as tell:
        found = [one for copy in copies for one in audit(copy, lists or [], tell, contents=contents)]
        found = in_order([*found, *(audit_across(copies, tell, contents=contents) if copies[1:] else [])])
    if table is not None:
        _write(found, table)
    if as_json:
        print_json(_facts(copies, found))
    else:
        _print(copies, found, table)
    sys.exit(1 if any(one.leak for one in found) else 0)


def _copies(
    names: Sequence[str], roots: Sequence[str], options: Sequence[str], words: Sequence[str], *, quiet: bool
) -> list[Copy]:
    from forgeprep.commands import where
    from forgeprep.commands.terminal import counting
    from forgeprep.datasets import get_dataset
    from forgeprep.datasets.audit import open_copy
    from forgeprep.errors import UsageError
    from forgeprep.pipeline.configure import read_options
    from forgeprep.pipeline.precedence import take
    from forgeprep.pipeline.resolve import sources

    here = Path.cwd()
    datasets = {dataset.name: dataset for dataset in map(get_dataset, names)}
    if len(datasets) < len(names):
        raise UsageError("a dataset is named twice")
    if options and len(datasets) > 1:
        raise UsageError("--option is for one dataset; name that one alone")
    given = _roots(list(datasets), roots)
    places = {}
    for name in datasets:
        taken = take(sources(name, {"root": given.get(name)}, here))
        places[name] = where.root_of(taken, name, here, words).value
    copies = []
    for name, dataset in datasets.items():
        reals = {other: places[other] for other in dataset.reals_from if other in places}
        near = where.real_roots_of(name, (), here, places[name])
        reals = {**{other: one.value for other, one in near.items()}, **reals}
        with counting() as tell:
            copies.append(open_copy(dataset, places[name], read_options(name, list(options)), reals, tell))
    return copies


def _roots(names: Sequence[str], texts: Sequence[str]) -> dict[str, Path]:
    """The folders that are given, by dataset; a single one may have a bare folder."""
    from forgeprep.datasets import dataset_name
    from forgeprep.errors import UsageError, unknown_name
    from forgeprep.io.storage import to_path

    found: dict[str, Path] = {}
    for text in texts:
        told, equals, folder = text.partition("=")
        name = dataset_name(told.strip())
        # A folder's own name may hold "=".
        if len(names) == 1 and (not equals or name != names[0]):
            name, folder = names[0], text
        elif not equals:
            raise UsageError(f"--root {text}: which dataset lies there? give --root NAME=DIR for each")
        elif name not in names:
            raise unknown_name("dataset of --root", told, names)
        if name in found:
            raise UsageError(f"--root {text}: {name} has a folder already, {found[name]}")
        found[name] = to_path(folder.strip())
    return found


def _facts(copies: Sequence[Copy], found: Sequence[Finding]) -> dict[str, Any]:
    from forgeprep.datasets.findings import FAULTS

    counts = {kind: sum(one.kind == kind for one in found) for kind in FAULTS}
    return {
        "datasets": [
            {"name": c.dataset.name, "root": str(c.root), "clips": len(c.clips), "warnings": c.warnings} for c in copies
        ],
        "leaks": sum(one.leak for one in found),
        "counts": {kind: count for kind, count in counts.items() if count},
        "findings": _rows(found),
    }


def _rows(found: Sequence[Finding]) -> list[dict[str, Any]]:
    return [{"kind": o.kind, "leak": o.leak, "dataset": o.dataset, "name": o.name, "detail": o.detail} for o in found]


def _write(found: Sequence[Finding], file: Path) -> None:
    from forgeprep.io.atomic import atomic_write_bytes

    text = io.StringIO()
    rows = csv.DictWriter(text, ["kind", "leak", "dataset", "name", "detail"], lineterminator="\n")
    rows.writeheader()
    rows.writerows(_rows(found))
    atomic_write_bytes(file, text.getvalue().encode())


def _print(copies: Sequence[Copy], found: Sequence[Finding], table: Path | None) -> None:
    from forgeprep.commands.terminal import add_cells, console, light_table, print_table
    from forgeprep.datasets.findings import FAULTS

    for copy in copies:
        console.print(f"{copy.dataset.name}: {copy.root}, {counted(len(copy.clips), 'clip')}", markup=False)
    by_kind: Mapping[str, list[Finding]] = defaultdict(list)
    for one in found:
        by_kind[one.kind].append(one)
    if found:
        look = light_table("what was found", ["kind", "what it is"], ["how many"], ["leak"])
        for kind, ones in by_kind.items():
            add_cells(look, kind, FAULTS[kind].meaning, f"{len(ones):,}", "leak" if FAULTS[kind].leak else "")
        print_table(look)
    for kind, ones in by_kind.items():
        console.print(f"{kind}:", markup=False)
        for one in ones[:_EXAMPLES]:
            console.print(f"    {one.name}" + (f": {one.detail}" if one.detail else ""), markup=False)
        if len(ones) > _EXAMPLES:
            console.print(f"    and {len(ones) - _EXAMPLES:,} more", markup=False)
    leaks = sum(one.leak for one in found)
    told = f"{counted(leaks, 'leak')} and {counted(len(found) - leaks, 'other finding')}" if found else "nothing found"
    console.print(told + (f"; all of them are in {table}" if table is not None else ""), markup=False)
