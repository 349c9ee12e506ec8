"""What a stage is: its parameters, what it needs and adds, and one function.

There are four kinds. The *select* stage decides, at planning time, which frames are wanted. The *source* stage turns a
source group's videos into samples. A *sample* stage adds columns to samples and reads nothing but their crops; where it
takes them one by one it is *additive*: it can be added later without the videos. A *derive* stage makes further samples
of those that there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from forgeprep.media.frames import UInt8
from forgeprep.media.planes import Facts
from forgeprep.media.regions import Box, IntBox
from forgeprep.media.video import Learned
from forgeprep.ops.evidence import Pair
from forgeprep.ops.geometry import Matrix, matrix_of_row
from forgeprep.ops.masks import Crop
from forgeprep.params import NoParams as NoParams
from forgeprep.params import StageParams as StageParams
from forgeprep.schemas.clips import Clip, Split
from forgeprep.schemas.drops import Drop, Reason
from forgeprep.schemas.resources import Resources as Resources
from forgeprep.schemas.samples import Column

IntPair = tuple[int, int]


@dataclass(slots=True)
class Sample:
    """A sample in the making: an attribute for each column that every sample has, and what the stages add.

    Attributes:
        sample_id: and all up to ``audio_label``: as the columns of the same names.
        image: the crop, uint8 (H, W, 3), RGB.
        columns: column -> value, of later stages; image columns hold uint8 arrays until the row is written.
        original: the original's crop at the same track and frame, uint8 RGB of the same shape; None for a real or
            where there is no original.
        compared: the windows of fake and original that a mask is made from; None where there is no original.
        companions: crops of the clip's companion files, e.g. ``{"mask": uint8 (H, W)}``.
        lost_companions: those of which nothing can be cut here: the file cannot be read, lacks the frame, or has
            another shape than the clip.
        guessed: whether the original was inferred from names: then it may not cost the sample.
        reason: the drop reason, once a stage finds that the sample cannot be made.
        detail: more about the drop, in words.
    """

    sample_id: str
    dataset: str
    split: Split
    source_id: str
    clip_id: str
    original_id: str | None
    frame_index: int
    original_frame: int | None
    timestamp_s: float | None
    track_id: int
    label: int
    forgery: str
    method: str | None
    family: str | None
    compression: str | None
    frame_size: IntPair
    face_box: Box
    crop_box: IntBox
    enlarge: float
    padding: IntBox
    detector: str
    detection: str
    detection_score: float | None
    image: UInt8
    landmarks: list[float] | None = None
    landmark_scheme: str | None = None
    crop_matrix: list[float] | None = None
    perturbation: str | None = None
    visual_label: int | None = None
    audio_label: int | None = None
    columns: dict[str, Any] = field(default_factory=dict)
    original: UInt8 | None = None
    compared: tuple[Pair, Crop] | None = None
    companions: dict[str, UInt8] = field(default_factory=dict)
    lost_companions: set[str] = field(default_factory=set)
    guessed: bool = False
    reason: str | None = None
    detail: str | None = None

    def drop(self, reason: str, detail: str | None = None) -> None:
        """Mark the sample as one that cannot be made; the first reason stays."""
        if self.reason is None:
            self.reason, self.detail = reason, detail

    @property
    def looks_forged(self) -> bool:
        """Whether it is a fake that can be seen: its sound alone leaves no mark in the picture."""
        return self.label == 1 and self.visual_label != 0

    def row(self) -> dict[str, Any]:
        """Column -> value, for all columns; image columns hold arrays."""
        own = {name: getattr(self, name) for name in _OF_EVERY_SAMPLE}
        size = [self.image.shape[1], self.image.shape[0]]
        return own | {"image_size": size} | self.columns


def sample_of(row: Mapping[str, Any]) -> Sample:
    """A sample from its row, as :meth:`Sample.row` gives it."""
    later = {name: value for name, value in row.items() if name not in _OF_EVERY_SAMPLE and name != "image_size"}
    # Runs of earlier versions lack some.
    return Sample(**{name: row[name] for name in _OF_EVERY_SAMPLE if name in row}, columns=later)


def matrix_of_sample(sample: Sample) -> Matrix:
    """From the frame to the crop, float64 (2, 3)."""
    size = sample.image.shape[1], sample.image.shape[0]
    return matrix_of_row({"crop_matrix": sample.crop_matrix, "crop_box": sample.crop_box, "image_size": size})


_OF_EVERY_SAMPLE = tuple(one.name for one in fields(Sample))[: [one.name for one in fields(Sample)].index("columns")]


@dataclass(frozen=True, slots=True)
class Wanted:
    """The frames that are wanted of a source group: of all clips together, and of those that give fewer their own."""

    frames: tuple[int, ...]
    own: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Group:
    """A source group as planned: an original (where there is one) and its fakes, and the frames wanted of each.

    With ``top_up``, frames with a face stand in for wanted ones without. With ``sequence_length``, each so many frames
    make one sample, and a face is cut out of all of them by one box. ``references`` are reals of other groups that the
    fakes are compared with and that give no samples here: the original where it stands in another split than these
    fakes, and what else may be the original of a fake whose pair is a guess. ``choose(frame_count, group)`` chooses
    the frames again for a clip that turns out to have another original, or none.

    ``own`` has the frames of those clips that give others than ``frames``, which are those of all together. Where only
    their number was asked for, a clip is in ``spread``: they are taken again from the frames that show a face.
    """

    source_id: str
    split: Split
    clips: tuple[Clip, ...]
    frames: tuple[int, ...]
    top_up: bool = False
    sequence_length: int | None = None
    references: tuple[Clip, ...] = ()
    choose: Callable[[int, Group], Wanted] | None = None
    own: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    spread: frozenset[str] = frozenset()

    def frames_of(self, clip_id: str) -> tuple[int, ...]:
        """The frames wanted of a clip."""
        return self.own.get(clip_id, self.frames)

    @property
    def requested(self) -> int:
        """Frames wanted, over all clips."""
        return sum(len(self.frames_of(clip.clip_id)) for clip in self.clips)

    @property
    def members(self) -> tuple[Clip, ...]:
        """Its clips and its references: all that is read for it."""
        return (*self.clips, *self.references)

    def part(self, clip: Clip, fakes: Sequence[Clip] = ()) -> Group:
        """These fakes as a group of their own, or ``clip`` alone, with the frames that ``clip`` has."""
        part = replace(self, clips=tuple(fakes) or (clip,))
        if self.choose is None:
            return part
        asked = replace(part, clips=(clip, *fakes)) if clip in self.clips and fakes else part
        wanted = self.choose(max(1, clip.end), asked)
        # Too few for one sample: those that were planned are dropped.
        if len(wanted.frames) < (self.sequence_length or 1):
            return part
        return replace(part, frames=wanted.frames, own=wanted.own)

    @property
    def labelled(self) -> tuple[frozenset[int], ...]:
        """The frames that the dataset labels, of each clip that tells of some; none where it labels whole clips.

        Of a folder of pictures only those are labelled that it holds, and of its fakes those that it holds too.
        """
        if any(clip.frames is not None for clip in self.members):
            return self._there
        # Periods leave nothing unknown.
        if not any(clip.spans for clip in self.clips if clip.periods is None):
            return ()
        return tuple(
            frozenset(i for start, count, _ in c.spans or [[0, c.frame_count, 1]] for i in range(start, start + count))
            for c in self.clips
            if c.spans or c.label
        )

    @property
    def _there(self) -> tuple[frozenset[int], ...]:
        """The same where some clips are folders of pictures."""
        original = self.original
        on = original.numbers if original is not None and original.frames else None
        labelled = []
        for clip in self.clips:
            if clip.frames or clip.spans or clip.label:
                spans = clip.spans or []
                told = frozenset(i for start, count, _ in spans for i in range(start, start + count))
                labelled.append((clip.numbers & told if told else clip.numbers) & (clip.numbers if on is None else on))
        # Of what cannot be read nothing is known; it has no say in which frames are taken.
        return tuple(frames for frames in labelled if frames)

    @property
    def sequences(self) -> list[tuple[int, ...]]:
        """The frames of each sample of several frames, see ``sequence_length``; the last one may be short."""
        step = self.sequence_length or max(1, len(self.frames))
        return [self.frames[at : at + step] for at in range(0, len(self.frames), step)]

    @property
    def original(self) -> Clip | None:
        """The group's real clip, or None where it is not on disk."""
        first = {clip.original_id for clip in self.clips}
        elsewhere = next((clip for clip in self.references if clip.clip_id in first), None)
        return next((clip for clip in self.clips if clip.label == 0), elsewhere)


def common(labelled: Sequence[frozenset[int]]) -> frozenset[int]:
    """The frames that are labelled in all clips, or else in one."""
    return frozenset.intersection(*labelled) or frozenset().union(*labelled) if labelled else frozenset()


@dataclass(slots=True)
class ClipLog:
    """What became of a clip; ends up in ``meta/clips.pq``.

    ``clip`` is as planned, but for the original that it turned out to have; ``frames`` are those chosen of it.
    ``guesses`` are (clip_id, verdict). ``made_of`` is the clip whose samples a stage made this one's of.
    """

    clip: Clip
    frames: tuple[int, ...] = ()
    pairing: str | None = None
    guesses: list[tuple[str, str]] = field(default_factory=list)
    width: int | None = None
    height: int | None = None
    made_of: str | None = None
    fps: float | None = None
    facts: Facts | None = None
    sha256: str | None = None
    requested: int = 0
    boxes_from: str | None = None
    boxes_refused: str | None = None
    decoded: int = 0
    detected: int = 0
    written: int = 0
    dropped: int = 0
    topped_up: int = 0
    tracks: int = 0
    offset: int | None = None
    rate: float | None = None
    scale: float | None = None
    shift: tuple[float, float] | None = None
    pair_similarity: float | None = None
    visual_change: bool | None = None
    detected_spans: list[tuple[float, float]] | None = None
    error: str | None = None
    warnings: list[str] = field(default_factory=list)

    def learn(self, learned: Learned) -> None:
        """Note what was learned of the file while it was read."""
        self.fps, self.facts, self.sha256 = learned.fps, learned.facts, learned.sha256


@dataclass(slots=True)
class GroupLog:
    """The account of a source group while it is worked on: one entry a clip, and all drops."""

    clips: dict[str, ClipLog] = field(default_factory=dict)
    drops: list[Drop] = field(default_factory=list)


SelectFunction = Callable[[int, Group, Any], Wanted]
"""``(frame_count, group, params)``: the frames wanted of a group, ascending, of so many that its original has."""
SourceFunction = Callable[[Group, Path, Any, frozenset[str], GroupLog], Iterator[list[Sample]]]
"""``(group, root, params, companions, log)``: yields runs of consecutive samples of one clip, few enough to hold.

A list that was yielded is taken over, and emptied.
"""
SampleFunction = Callable[[list[Sample], Any], None]
"""``(samples of one clip, params)``: fills in columns or drops samples, in place."""
DeriveFunction = Callable[[list[Sample], Any], list[Sample]]
"""``(samples of one clip, params)``: further samples, each of a clip that does not exist as a file and that names the
clip it was made of as its original; a dropped one stands for a sample that could not be made."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage; exactly one of ``select``, ``source``, ``apply`` and ``derive`` is set.

    Attributes:
        name: what users write after ``--stages``.
        summary: one line for ``forgeprep stages``.
        needs: stages that have to come before.
        adds: the columns it adds, in file order.
        params: its parameters' model.
        companions: which companion videos it reads, given its parameters.
        resources: what a worker needs for it, given its parameters.
        versions: what its output depends on besides what every run does, given its parameters: packages -> version,
            weights -> SHA-256. A shard is made again where they change.
        additive: it reads columns of one sample, and changes none; so it can be added to a finished run from its shards
            alone.
        check: raises a ForgeprepError before the run starts if the stage cannot work here (missing weights).
        check_run: the same, given stage -> parameters of all stages of the run.
        drops: the reasons for which it drops samples, besides :data:`forgeprep.schemas.drops.REASONS`.
        reads: of an additive stage, the picture columns that it reads; they are decoded for it.
    """

    name: str
    summary: str
    needs: tuple[str, ...]
    adds: tuple[Column, ...]
    params: type[StageParams]
    select: SelectFunction | None = None
    source: SourceFunction | None = None
    apply: SampleFunction | None = None
    derive: DeriveFunction | None = None
    companions: Callable[[Any], frozenset[str]] = lambda _params: frozenset()
    resources: Callable[[Any], Resources] = lambda _params: Resources()
    versions: Callable[[Any], Mapping[str, str]] = lambda _params: {}
    additive: bool = False
    check: Callable[[Any], None] = lambda _params: None
    check_run: Callable[[Mapping[str, Mapping[str, Any]]], None] = lambda _params: None
    drops: Mapping[str, Reason] = field(default_factory=dict)
    reads: tuple[str, ...] = ("image", "mask")
