"""What the page begins with: what is well with a run, and what needs a look, the most urgent first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from forgeprep.report.doubt import AGREED
from forgeprep.report.findings import Findings
from forgeprep.report.pairs import coding_warnings
from forgeprep.report.samples import anchors, link_to
from forgeprep.report.signs import JUMP, LOW, SIGNS, STRAY, Sign
from forgeprep.report.summary import split_order
from forgeprep.report.tables import Link
from forgeprep.text import counted

SHOWN_DOUBTS = 5
"""The most lines about doubtful masks; the section of masks shows all."""

SHOWN_PROBLEMS = 10
"""The most lines about unreadable files."""

SHOWN_LINKS = 6
"""The most links of a line."""

_SPACE = "\N{NO-BREAK SPACE}"

LOST_CLIPS = 6
"""Of so many clips that lost samples, those that lost most, a sample is shown."""


class Notice(NamedTuple):
    """Something that needs a look; ``fails`` where the run cannot be used as it is."""

    text: str
    links: tuple[Link, ...] = ()
    fails: bool = False


@dataclass(slots=True)
class Verdict:
    """What is well, and what needs a look, the most urgent first."""

    well: list[str] = field(default_factory=list)
    look: list[Notice] = field(default_factory=list)


class _Words(NamedTuple):
    """How a sign is told of: of all masks, of some, and where none is beyond the level."""

    beyond: str
    none: str
    section: str


_SIGNS: dict[Sign, _Words] = {
    "confidence": _Words(
        f"Low confidence, under {LOW:g}: such a mask likely shares less than half with what was forged",
        f"No mask has a confidence under {LOW:g}.",
        "#confidence-table",
    ),
    "jump": _Words(
        f"Areas that jump, by more than {100 * JUMP:g} % from the frames beside",
        f"No mask's area jumps by more than {100 * JUMP:g} % from one frame to the next.",
        "#jump-table",
    ),
    "stray": _Words(
        f"High stray: more than {100 * STRAY:g} % of the difference lies far from the mask",
        f"Nowhere does more than {100 * STRAY:g} % of the difference stray from the mask.",
        "#stray-table",
    ),
}


def lost_clips(found: Iterable[dict[str, object]]) -> list[str]:
    """Of the clips that lost samples, the names of those that lost most and still have some to show."""
    names = (str(clip["clip_id"]) for clip in found if clip["written"] and clip["dropped"])
    return [name for name, _ in zip(names, range(LOST_CLIPS), strict=False)]


def verdict_of(found: Findings) -> Verdict:
    """Say what is well and what is not."""
    verdict = Verdict()
    for part in (_made, _classes, _masks, _agreement, _signs, _coverage, _pairs, _codings):
        for one in part(found):
            if isinstance(one, Notice):
                verdict.look.append(one)
            else:
                verdict.well.append(one)
    verdict.look.sort(key=lambda notice: not notice.fails)
    return verdict


Said = Iterator[Notice | str]


def _made(found: Findings) -> Said:
    """Whether all shards are there."""
    summary, planned = found.summary, found.summary.planned_shards
    if planned is not None and summary.shards < planned:
        left = (found.run.get("requested") or 0) - found.clips.requested
        yield Notice(
            f"This run is unfinished: {summary.shards:,} of {counted(planned, 'shard is', 'shards are')} made, "
            f"{counted(max(0, left), 'frame was', 'frames were')} not tried yet. The page shows what is "
            f"there. To do: {summary.remedy}.",
            fails=True,
        )
    if not found.measures.rows:
        yield Notice("This run has no samples (0 rows).", (Link("why", "#coverage"),), fails=True)
    if summary.damaged:
        names = ", ".join(summary.damaged[:SHOWN_PROBLEMS])
        more = ", …" if len(summary.damaged) > SHOWN_PROBLEMS else ""
        yield Notice(f"Damaged records: {names}{more}; {summary.remedy}.", fails=True)
    problems = found.measures.problems + found.pictures.problems
    for problem in problems[:SHOWN_PROBLEMS]:
        yield Notice(f"Not readable: {problem}", fails=True)
    if (more_problems := len(problems) - SHOWN_PROBLEMS) > 0:
        yield Notice(f"{more_problems:,} more files or pictures are not readable.", fails=True)
    if planned is not None and summary.shards >= planned and found.measures.rows and not (summary.damaged or problems):
        yield f"All shards are made and can be read: {planned:,}."


def _classes(found: Findings) -> Said:
    """Whether every split has reals and fakes."""
    labels: dict[str, set[int]] = defaultdict(set)
    for kind in found.measures.rows:
        labels[kind.split].add(kind.label)
    planned = {kind.split for kind in found.summary.counts}
    names = sorted(planned | set(labels), key=split_order)
    link = (Link("samples by split", "#samples"), Link("clips by split", "#splits-table"))
    whole = []
    for split in names:
        lacks = [word for label, word in ((0, "reals"), (1, "fakes")) if label not in labels[split]]
        if len(lacks) == 2:
            yield Notice(f"The split {split} has no samples at all, though clips were planned.", link[1:])
        elif lacks:
            yield Notice(
                f"The split {split} has no {lacks[0]}: it cannot serve where both are needed.",
                link,
            )
        else:
            whole.append(split)
    if whole and len(whole) == len(names):
        yield f"{_joined(whole)} {'have' if len(whole) > 1 else 'has'} reals and fakes."


def _masks(found: Findings) -> Said:
    """The methods whose masks are likely wrong."""
    doubts = found.measures.doubts
    for group, line in list(doubts.items())[:SHOWN_DOUBTS]:
        yield Notice(line, (Link("pictures", link_to(found.pictures, group, "confidence")), Link("figures", "#masks")))
    if (more := len(doubts) - SHOWN_DOUBTS) > 0:
        yield Notice(f"The masks of {more:,} more methods are doubtful: see Masks.", (Link("Masks", "#masks"),))
    if not doubts and found.measures.tallies:
        yield "No method's masks are scattered, unsteady or off the face as a whole."


def _agreement(found: Findings) -> Said:
    """The methods whose masks are others than the dataset's own, those that differ most first."""
    measures = found.measures
    apart = sorted((mean, group) for group, mean in measures.agreements.items() if mean < AGREED)
    if measures.agreements and not apart:
        yield f"Masks share an IoU of {AGREED:g} and more with the dataset's own, on average by method."
    if not apart:
        return
    links = [Link(f"{group.name} {mean:.2f}", link_to(found.pictures, group)) for mean, group in apart[:SHOWN_LINKS]]
    yield Notice(
        f"Masks differ from the dataset's own: mean IoU under {AGREED:g}. One of the two is wrong or means another "
        f"region. {counted(len(apart), 'method')} of {len(measures.agreements):,}:",
        (*links, Link("figures", "#agreement-table")),
    )


def _signs(found: Findings) -> Said:
    """The masks that are beyond the level of a sign, those signs first that most masks have."""
    measures, said = found.measures, []
    for sign, words in _SIGNS.items():
        known = sum(spread.count for spread in getattr(measures, sign).values())
        groups = {group: getattr(tally, sign) / tally.masks for group, tally in measures.tallies.items()}
        count = sum(getattr(tally, sign) for tally in measures.tallies.values())
        ranked = sorted((group for group, share in groups.items() if share), key=lambda g: (-groups[g], g))
        if not count:
            if known:
                yield words.none
            continue
        links = [
            Link(f"{group.name} {_percent(groups[group])}", link_to(found.pictures, group, sign))
            for group in ranked[:SHOWN_LINKS]
        ]
        if (more := len(ranked) - SHOWN_LINKS) > 0:
            links.append(Link(f"{more:,} more", words.section))
        text = f"{words.beyond}. {counted(count, 'mask')} of {known:,} ({_percent(count / known)}):"
        said.append((-groups[ranked[0]], SIGNS.index(sign), Notice(text, tuple(links))))
    yield from (notice for *_, notice in sorted(said, key=lambda one: one[:2]))


def _coverage(found: Findings) -> Said:
    """What became of all planned samples."""
    total, short = found.summary.total, found.summary.short
    if not total.planned:
        return
    lost = [clip for clip in short if clip["dropped"] or not clip["written"]]
    if not lost:
        many = f"All {total.planned:,} planned samples were" if total.planned > 1 else "The planned sample was"
        yield f"{many} written."
        return
    reason, count = max(found.summary.drops.items(), key=lambda item: (item[1], item[0]), default=("", 0))
    most = f", most of them for '{reason}' ({count:,})" if reason else ""
    empty = f" {counted(total.empty, 'clip')} gave no sample at all." if total.empty else ""
    share = _percent(total.dropped / total.planned)
    names = anchors(found.pictures)
    shown = [s.pick for sheet in found.pictures.sheets.values() for s in sheet if s.pick.lost]
    by_clip = {pick.clip_id: names[pick.sample_id] for pick in shown}
    links = [
        Link(f"{clip['clip_id']} −{clip['dropped']:,}", f"#{by_clip[clip['clip_id']]}")
        for clip in lost
        if clip["clip_id"] in by_clip
    ]
    table = Link("which clips", "#lost-table" if total.dropped and any(c["written"] for c in lost) else "#coverage")
    yield Notice(
        f"{counted(len(lost), 'clip')} of {total.clips:,} lost samples: {total.dropped:,} of {total.planned:,} "
        f"planned ones ({share}) were dropped{most}.{empty}",
        (*links, table),
    )


def _pairs(found: Findings) -> Said:
    """How fakes lie on their originals."""
    clips = found.clips
    if clips.odd_count:
        yield Notice(
            f"{counted(clips.odd_count, 'fake')} of {clips.pairs:,} lie on their original in an unusual way: moved, "
            "scaled, at another rate, or unlike it outside the face.",
            (Link("which pairs", "#odd-table"),),
        )
    elif clips.pairs:
        many = (
            f"All {clips.pairs:,} fakes that have an original lie"
            if clips.pairs > 1
            else "The fake that has an original lies"
        )
        yield f"{many} on it frame on frame and pixel on pixel."


def _codings(found: Findings) -> Said:
    yield from (Notice(line) for line in coding_warnings(found.clips))


def _percent(share: float) -> str:
    """A share that is not 0 is never called 0 %.

    >>> [_percent(share) for share in (0.0004, 0.004, 0.123, 0.9996)]
    ['under 0.1\\xa0%', '0.4\\xa0%', '12\\xa0%', '99.9\\xa0%']
    """
    if 0 < share < 0.001:
        return f"under 0.1{_SPACE}%"
    if share < 0.1:
        return f"{100 * share:.1f}{_SPACE}%"
    return f"{100 * share:.0f}{_SPACE}%" if share <= 0.99 or share == 1 else f"{min(99.9, 100 * share):.1f}{_SPACE}%"


def _joined(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
