"""From what an adapter knows of a file to its clip, for all adapters that name files alike."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from forgeprep.datasets.listing import VideoFile, shown
from forgeprep.datasets.splits import split_by_ratio
from forgeprep.datasets.taxonomy import Kind, taxonomy
from forgeprep.schemas.clips import Clip, Split
from forgeprep.text import counted


def real_clip(dataset: str, name: str, file: VideoFile, split: Split, people: Iterable[str] = (), **more: Any) -> Clip:
    """A real; ``name`` is its clip_id without the dataset, and its source group is its own."""
    name = f"{dataset}/{name}"
    facts = {**file.facts, **more}
    return Clip(name, dataset, split=split, source_id=name, original_id=None, label=0, forgery="real",
                identities=list(people), **facts)  # fmt: skip


def fake_clip(
    dataset: str,
    name: str,
    file: VideoFile,
    split: Split,
    method: str,
    original: str | Clip | None = None,
    people: Iterable[str] = (),
    kind: Kind | None = None,
    **more: Any,
) -> Clip:
    """A fake.

    Args:
        dataset: its name.
        name: the clip_id without the dataset.
        file: what lies on disk.
        split: its split.
        method: of the dataset's methods, or one that the table does not know.
        original: the name of its original, or that clip itself, which may be another dataset's; None if none is known.
        people: who is in it.
        kind: what ``method`` is, where the table does not know it.
        more: further attributes of the clip.
    """
    known = taxonomy().get(dataset, {}).get(method, kind) or Kind("identity_replaced", None)
    name = f"{dataset}/{name}"
    original_id = f"{dataset}/{original}" if isinstance(original, str) else original and original.clip_id
    source = original.source_id if isinstance(original, Clip) else original_id or name
    facts = {"source_id": source, "original_id": original_id, **file.facts, **more}
    return Clip(name, dataset, split=split, label=1, forgery=known.forgery,
                method=method, family=known.family, identities=list(people), **facts)  # fmt: skip


def spelled(folder: str, methods: Sequence[str]) -> str:
    """The method that a folder is called after, without regard to case, dashes and underscores; else its own name.

    >>> spelled("ip_lap", ["IP-LAP"]), spelled("new", ["IP-LAP"])
    ('IP-LAP', 'new')
    """
    return {_squeezed(method): method for method in methods}.get(_squeezed(folder), folder)


def _squeezed(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def deal_people(clips: Sequence[Clip], ratios: Sequence[float], seed: int) -> tuple[list[Clip], list[str]]:
    """The clips in splits by person, and a warning of the fakes that mix people of two splits, which are left out.

    The people of a real are dealt out; a fake goes where all of its people are.
    """
    people = {person for clip in clips for person in clip.identities}
    splits = split_by_ratio(people, ratios, seed)
    kept, mixed = [], []
    for clip in clips:
        found = {splits[person] for person in clip.identities}
        if len(found) == 1:
            kept.append(replace(clip, split=found.pop()))
        else:
            mixed.append(clip.clip_id)
    return kept, told_mixed(mixed)


def val_people(
    clips: Sequence[Clip], share: float, seed: int, frozen: Collection[str] = ("test",)
) -> tuple[list[Clip], list[str]]:
    """Take people out of train, as val; fakes of them with others are left out, with a warning.

    Who stands in one of the ``frozen`` splits too is taken only if there is nobody else.
    """
    if not share:
        return list(clips), []
    tested = {person for clip in clips if clip.split in frozen for person in clip.identities}
    trained = {person for clip in clips if clip.split == "train" for person in clip.identities}
    dealt = split_by_ratio((trained - tested) or trained, (1 - share, share, 0), seed)
    kept, mixed = [], []
    for clip in clips:
        inside = [dealt.get(person) == "val" for person in clip.identities]
        if clip.split != "train" or not any(inside):
            kept.append(clip)
        elif all(inside):
            kept.append(replace(clip, split="val"))
        else:
            mixed.append(clip.clip_id)
    return kept, told_mixed(mixed)


def told_mixed(mixed: Sequence[str]) -> list[str]:
    """What is to be said of fakes that would show people of two splits."""
    if not mixed:
        return []
    left_out = counted(len(mixed), "fake left out, it", "fakes left out, they")
    return [f"{left_out} would leak people of another split: {shown(mixed)}"]


SoundRule = Literal["real", "skip", "fake"]
SOUND_FAKES = (
    "what counts where the sound alone is forged: the picture (real), neither (skip: clips of that kind are left out), "
    "or the sound (fake: label 1, forgery audio, an empty mask)"
)
"""What adapters say of their option ``sound-fakes``."""


def with_sound(clip: Clip, heard: bool, rule: SoundRule, periods: Sequence[Sequence[float]] | None = None) -> Clip:
    """A clip with what is known of its sound.

    Args:
        clip: the clip.
        heard: whether its sound is forged.
        rule: whether that makes a fake of a frame that looks real.
        periods: the seconds in which it is; None: throughout.
    """
    told = [list(period) for period in periods] if heard and periods else None
    return replace(clip, audio_label=int(heard), audio_periods=told, audio_counts=heard and rule == "fake")


def sound_fake(
    dataset: str,
    name: str,
    file: VideoFile,
    split: Split,
    method: str,
    rule: SoundRule,
    people: Iterable[str] = (),
    periods: Sequence[Sequence[float]] | None = None,
) -> Clip | None:
    """A clip whose sound alone is forged, by ``rule``: it looks real. None where it is left out."""
    if rule == "skip":
        return None
    clip = with_sound(real_clip(dataset, name, file, split, people), True, rule, periods)
    if rule == "fake":
        clip = replace(clip, label=1, forgery="audio", method=method)
    return replace(clip, audio_only="yes")


def flags(entry: Mapping[str, Any], *names: str) -> list[bool]:
    """Truth values of a list's entry, which may be written as words or numbers."""
    return [str(entry.get(name, "")).strip().lower() in ("true", "1", "yes") for name in names]
