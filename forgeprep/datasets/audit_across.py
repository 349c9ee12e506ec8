"""An audit of several datasets: which of them show the same sources, and whether their splits agree on these."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import permutations

from forgeprep.datasets.audit import Copy
from forgeprep.datasets.audit_files import same_contents
from forgeprep.datasets.findings import Finding
from forgeprep.schemas.clips import Clip


def audit_across(
    copies: Sequence[Copy], tell: Callable[[str, int], None] = lambda what, count: None, *, contents: bool = True
) -> list[Finding]:
    """What datasets have in common; ``contents=False`` reads no media file."""
    found = [one for home, other in permutations(copies, 2) for one in _sources(home, other)]
    if contents:
        found += _contents(copies, tell)
    return found


def _sources(home: Copy, other: Copy) -> Iterator[Finding]:
    """The reals of ``home`` that ``other`` has fakes of, by the names that its adapter gives them."""
    name, of = home.dataset.name, other.dataset.name
    if name not in other.dataset.reals_from:
        return
    # At every compression, a real is the same source.
    reals: dict[str, Clip] = {}
    for clip in home.clips:
        if clip.label == 0:
            reals.setdefault(clip.clip_id.rpartition("/")[2], clip)
    users: dict[str, list[Clip]] = defaultdict(list)
    for clip in other.clips:
        for stem in _stems(clip, name):
            if stem in reals:
                users[stem].append(clip)
    for stem, clips in sorted(users.items()):
        real = reals[stem]
        where = f"{len(clips):,} of {of}, e.g. {clips[0].clip_id}"
        yield Finding("shared_source", f"{name}+{of}", real.clip_id, where)
        conflict = next((clip for clip in clips if clip.split != real.split), None)
        if conflict is not None:
            where = f"{real.split}, and {conflict.split} of {of}: {conflict.clip_id}"
            yield Finding("source_in_splits", f"{name}+{of}", real.clip_id, where)


def _stems(clip: Clip, dataset: str) -> list[str]:
    """The sources of a clip that are another dataset's: its originals, and people who are called after a video."""
    originals = [name.rpartition("/")[2] for name in clip.options if name.startswith(f"{dataset}/")]
    return list(dict.fromkeys([*originals, *clip.identities])) if originals else []


def _contents(copies: Sequence[Copy], tell: Callable[[str, int], None]) -> Iterator[Finding]:
    clips = [(copy.root, clip) for copy in copies for clip in copy.clips]
    for same in same_contents(clips, tell):
        datasets = sorted({clip.dataset for clip, _ in same})
        if len(datasets) < 2:
            continue
        splits = {clip.split for clip, _ in same}
        first, path = same[0]
        others = [f"{clip.dataset}: {place} ({clip.split})" for clip, place in same if clip.dataset != first.dataset]
        name, detail = f"{first.dataset}: {path} ({first.split})", "also " + ", ".join(others)
        yield Finding("content_in_splits" if len(splits) > 1 else "shared_content", "+".join(datasets), name, detail)
