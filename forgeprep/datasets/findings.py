"""What an audit of datasets can find, in words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind of finding: what it means, and whether it is a leak."""

    meaning: str
    leak: bool = False


FAULTS: dict[str, Fault] = {
    "person_in_splits": Fault("a source video or person in two splits", leak=True),
    "listed_in_splits": Fault("a name that the list has in two splits", leak=True),
    "content_in_splits": Fault("the same picture or video in two splits", leak=True),
    "source_in_splits": Fault("a source that is in one split here, in another one in the other dataset", leak=True),
    "listed_twice": Fault("a name that the list has twice"),
    "same_content": Fault("the same picture or video twice, in one split"),
    "shared_source": Fault("a source of both datasets: to train on one and test on the other leaks"),
    "shared_content": Fault("the same picture or video in both datasets"),
    "other_split": Fault("the list says another split than forgeprep"),
    "other_label": Fault("the list says real, and it is a fake here, or the other way round"),
    "no_file": Fault("a name without a file"),
    "no_name": Fault("a file or folder that no list names, or whose name tells nothing"),
    "broken_link": Fault("a link to nothing"),
    "empty_file": Fault("a file of 0 bytes"),
    "empty_folder": Fault("a folder without files"),
    "count": Fault("more or fewer clips than published"),
}
"""Kind of a finding -> what it is; in the order of the table."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that an audit found.

    Attributes:
        kind: of :data:`FAULTS`.
        dataset: whose; two with a ``+`` between them where it is found across datasets.
        name: the clip, file, folder, person or line that it is about.
        detail: where else it is, or how many there are.
    """

    kind: str
    dataset: str
    name: str
    detail: str = ""

    @property
    def leak(self) -> bool:
        """Whether it lets a test see what was trained on."""
        return FAULTS[self.kind].leak


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """By kind, as in the table, then by dataset and name."""
    rank = {kind: number for number, kind in enumerate(FAULTS)}
    return sorted(findings, key=lambda one: (rank[one.kind], one.dataset, one.name, one.detail))
