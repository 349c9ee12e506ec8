"""What a dataset adapter is: facts about a dataset and one function that lists its clips."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from forgeprep.datasets.taxonomy import Kind
from forgeprep.errors import UsageError, unknown_name
from forgeprep.schemas.clips import SPLITS, Clip, Split

What = Literal["originals", "fakes"]


class DatasetParams(BaseModel):
    """A dataset's own options (``--option NAME=VALUE``): a subclass with documented fields, or this for none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @property
    def keeps_split(self) -> bool:
        """Whether the user wants the split as it is, even where it leaks."""
        return False


@dataclass(frozen=True, slots=True)
class ScanOptions:
    """What of a dataset is asked for; None leaves the choice to the dataset.

    Attributes:
        compressions: names without regard to case; None = the dataset's default.
        methods: names without regard to case; None = the dataset's default, an empty tuple = originals only.
        splits: the splits to list.
        params: the dataset's own options; None = its defaults.
        real_roots: of other datasets that this one's reals lie in, name -> folder.
        boxes_from: on which compression of a clip its faces are to be found, see :mod:`forgeprep.datasets.boxes`: the
            adapter puts that file among the clip's companions. Datasets of one quality need not look at it.
        progress: called with the number of files seen so far.
        settled: source_id -> split, of sources that are in a run already; where splits are made here, they keep theirs.
        leaks: whether a split of the user's that leaks is refused, or listed as it is, for an audit.
    """

    compressions: tuple[str, ...] | None = None
    methods: tuple[str, ...] | None = None
    splits: tuple[Split, ...] = SPLITS
    params: DatasetParams | None = None
    progress: Callable[[int], None] = lambda _: None
    settled: Mapping[str, Split] = field(default_factory=dict)
    real_roots: Mapping[str, Path] = field(default_factory=dict)
    leaks: Literal["refuse", "keep"] = "refuse"
    boxes_from: str = "own"

    def __post_init__(self) -> None:
        if self.compressions == ():
            raise UsageError("no compression is asked for: name at least one, or leave the choice to the dataset")
        if not self.splits:
            raise UsageError(f"no split is asked for: name at least one of {', '.join(SPLITS)}")
        for split in self.splits:
            if split not in SPLITS:
                raise unknown_name("split", split, SPLITS)


@dataclass(frozen=True, slots=True)
class PublishedCount:
    """How many clips a dataset's authors say there are, at each compression.

    ``method`` is None for originals, ``split`` where the count is of all splits.
    """

    what: What
    method: str | None
    split: Split | None
    clips: int


@dataclass(frozen=True, slots=True)
class MissingCount:
    """Fewer clips found than published; ``method`` is None for originals, ``split`` for all splits together."""

    what: What
    compression: str | None
    method: str | None
    split: Split | None
    found: int
    published: int

    def __str__(self) -> str:
        place = "/".join(part for part in (self.compression, self.method, self.split) if part is not None)
        return f"{self.what} {place}".rstrip() + f": {self.found} of {self.published}"


@dataclass(frozen=True, slots=True)
class Scan:
    """What lies in a dataset's folder.

    Attributes:
        clips: sorted by clip_id, whatever the order on disk; no clip_id stands twice. A list, or of millions of
            clips a :class:`~forgeprep.schemas.clip_table.ClipTable`.
        warnings: one line each, fit to be printed; long lists of names are cut.
        missing: only where fewer clips were found than published.
        without_original: clip_ids of the fakes in ``clips`` whose original is not on disk; not cut.
        absent: files that a list of the dataset names and that are not there; not cut.
        strangers: files and folders that were left out, because nothing says what they are; not cut.
    """

    clips: Sequence[Clip]
    warnings: list[str] = field(default_factory=list)
    missing: list[MissingCount] = field(default_factory=list)
    without_original: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Listed:
    """A line of a list that somebody has published: a file, a picture of a clip, or a clip's bare name.

    Attributes:
        name: as listed, POSIX.
        split: the split that the list gives it; None where it gives none.
        label: 0 real, 1 fake; None where the list does not say.
    """

    name: str
    split: Split | None = None
    label: int | None = None


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset: facts for people, names for options, and the function that lists its clips.

    Attributes:
        name: lower-case, the first part of every clip_id.
        title: the name in print.
        url: where to ask for it.
        citation: one line.
        compressions: every quality, the best one first; empty where there is only one, without a name.
        default_compressions: those that are used where none is asked for.
        methods: every forgery method.
        kinds: method -> what it does and what kind of program does it. The built-in datasets' stand in one table
            (:mod:`forgeprep.datasets.taxonomy`); a dataset of another package brings its own here.
        layout: the files that are looked for, one pattern a line, relative to the root.
        published: the authors' counts.
        params: its own options.
        published_of: the authors' counts of what these options choose; None where they choose nothing.
        official_split: whether the authors made the split; then it is kept even where it leaks.
        scan: lists the clips under a root; raises :class:`forgeprep.errors.UsageError` where it finds none.
        compression_aliases: further names of compressions, in lower case -> compression.
        reals_from: other datasets that its fakes were made of, and whose reals are its own; see ``--real-root``.
        read_list: reads a list of the authors that is in a form of their own, for ``datasets audit --list``; None where
            the file is of another form, of which :mod:`forgeprep.datasets.published` knows the usual ones.
        looks_like: whether a folder is likely to be a root, told from a few names in it, in milliseconds. Without it
            the root is never found by itself.
        defaults: parameters of stages by name, where it takes other ones than usual unless the user says otherwise.
    """

    name: str
    title: str
    url: str
    citation: str
    compressions: tuple[str, ...]
    default_compressions: tuple[str, ...]
    methods: tuple[str, ...]
    layout: tuple[str, ...]
    published: tuple[PublishedCount, ...]
    scan: Callable[[Path, ScanOptions], Scan]
    params: type[DatasetParams] = DatasetParams
    looks_like: Callable[[Path], bool] | None = None
    read_list: Callable[[Path], list[Listed] | None] | None = None
    official_split: bool = True
    reals_from: tuple[str, ...] = ()
    compression_aliases: Mapping[str, str] = field(default_factory=dict)
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    published_of: Callable[[Any], tuple[PublishedCount, ...]] | None = None

    def chosen(self, params: DatasetParams) -> Dataset:
        """The same with the published counts of what these options choose."""
        return self if self.published_of is None else replace(self, published=self.published_of(params))


def describe(dataset: Dataset) -> dict[str, str]:
    """The facts that ``forgeprep datasets`` prints, label to text, in reading order."""
    total: Counter[tuple[What, str | None]] = Counter()
    split_total: Counter[Split | None] = Counter()
    for count in dataset.published:
        total[count.what, count.method] += count.clips
        split_total[count.split if count.what == "originals" else None] += count.clips
    facts = {
        "name": dataset.name,
        "title": dataset.title,
        "compressions": ", ".join(
            f"{name} (default)" if name in dataset.default_compressions else name for name in dataset.compressions
        ),
        "methods": ", ".join(dataset.methods),
        "clips": ", ".join(f"{number} {method or what}" for (what, method), number in total.items()),
        "original clips by split": ", ".join(
            f"{number} {split}" for split, number in split_total.items() if number and split
        ),
        "reals from": ", ".join(dataset.reals_from),
        "layout": "; ".join(dataset.layout),
        "defaults": ", ".join(f"--{name.replace('_', '-')} {value}" for name, value in dataset.defaults.items()),
        "citation": dataset.citation,
        "url": dataset.url,
    }
    return {label: text for label, text in facts.items() if text}


def match_names(
    kind: str, asked: Iterable[str], known: Sequence[str], *, aliases: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """``asked`` in the spelling and order of ``known``, each once.

    ``aliases`` maps further lower-case spellings to known names. An unknown name raises
    :func:`forgeprep.errors.unknown_name`.

    >>> match_names("compression", ["C40", "c0"], ["raw", "c23", "c40"], aliases={"c0": "raw"})
    ('raw', 'c40')
    """
    spellings = {name.lower(): name for name in known} | dict(aliases or {})
    chosen = set()
    for name in asked:
        if name.lower() not in spellings:
            raise unknown_name(kind, name, [*known, *(aliases or {})])
        chosen.add(spellings[name.lower()])
    return tuple(name for name in known if name in chosen)


Found = Mapping[tuple[str | None, str | None, Split | None], int]
"""(compression, method, split) -> clips; split None is all of them."""


def count_clips(clips: Iterable[Clip]) -> Found:
    """How many clips there are of each kind."""
    found: Counter[tuple[str | None, str | None, Split | None]] = Counter()
    for clip in clips:
        found[clip.compression, clip.method, clip.split] += 1
        found[clip.compression, clip.method, None] += 1
    return found


def count_missing(
    published: Iterable[PublishedCount],
    clips: Iterable[Clip] | Found,
    *,
    compressions: Sequence[str | None],
    methods: Sequence[str],
    splits: Sequence[Split],
) -> list[MissingCount]:
    """The published counts that ``clips`` fall short of, among what was looked for."""
    found = clips if isinstance(clips, Mapping) else count_clips(clips)
    missing = []
    for compression in compressions:
        for count in published:
            asked = set(splits) == set(SPLITS) if count.split is None else count.split in splits
            looked_for = asked and (count.method is None or count.method in methods)
            have = found.get((compression, count.method, count.split), 0)
            if looked_for and have < count.clips:
                missing.append(
                    MissingCount(count.what, compression, count.method, count.split, found=have, published=count.clips)
                )
    return missing
