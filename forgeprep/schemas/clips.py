"""A clip: one video file or one folder of numbered pictures, what it is and what it was forged from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import pyarrow as pa

from forgeprep.schemas.splits import SPLITS as SPLITS
from forgeprep.schemas.splits import Split as Split

BOXES = "boxes"
"""The kind of companion that lends its faces."""

Forgery = Literal["real", "identity_replaced", "identity_remained", "attribute_edit", "entire_synthesis", "audio"]
AudioOnly = Literal["no", "maybe", "yes"]


@dataclass(frozen=True, slots=True)
class Clip:
    """One clip as a dataset adapter lists it.

    Paths are POSIX and relative to the dataset's root; only that of a real that lies in another dataset is absolute.

    Attributes:
        clip_id: ``dataset/compression/method/stem``, e.g. ``ffpp/c23/Deepfakes/071_054``.
        source_id: the source group (an original and its fakes at one compression), e.g. ``ffpp/c23/071``.
        original_id: clip_id of the original; None for a real. It is set even where the original is not on disk.
        guessed: whether ``original_id`` is inferred from names, and not stated by the dataset. A guess that does not
            fit costs no sample: the ``candidates`` are tried, then the fake goes without an original.
        candidates: of a guess, clip_ids of other reals that the names would also allow, the likeliest first; None if
            there are none, which takes no memory where clips are counted in millions.
        label: 0 real, 1 fake.
        method: the dataset's name of the forgery method; None for a real.
        family: what kind of program that is, e.g. ``gan``; None for a real, or where it is not known.
        compression: ``raw``, ``c23``, ``c40``; None where the dataset has one quality.
        companions: further files that go with the clip frame by frame: ``{"mask": path}``, the dataset's own masks, or
            ``{"magnitude": path}`` where these are not black and white but say how much was altered; or
            ``{"whole": path}`` with the clip's own path, where all of each frame is forged. ``{"boxes": path}`` is the
            same clip at another compression, on which its faces are found, see ``--boxes-from``.
        spans: what the dataset says of the frames, as (first frame, number of frames, 0 real or 1 fake); frames outside
            all spans are unknown and not used. None: all frames are as ``label`` says.
        periods: the same in seconds from its first frame on, ``[start, end)`` of each period that is seen to be forged;
            all other frames are real. They become ``spans`` when the times of the frames are known, as the clip is cut.
        audio_label: 0 its sound is real, 1 forged somewhere; None where nothing tells, or there is no sound.
        audio_periods: the seconds in which its sound is forged; None: throughout, where it is.
        audio_spans: these as (first frame, number of frames), once the times are known.
        audio_only: whether it is forged in its sound alone, so that what is seen is real: ``maybe`` where the dataset
            labels fakes without a word on that.
        audio_counts: whether a frame that looks real is a fake if its sound is forged.
        one_face: whether its pictures are crops of the one face that its label is of: it is no bystander where the
            pictures hardly differ from the original's.
        listed_frames: how many frames a list says that it has; 0 where it does not.
        identities: the people in it, as far as the dataset names them: no one of them may stand in two splits.
        size_bytes: size of the file, or of all pictures of a folder.
        frames: of a folder of pictures the numbers in their names, as runs (first number, how many, step); None for a
            file.
        frame_count: frames that the container's header promises: 1 for a picture, the number of pictures for a folder,
            else filled in by the planner; 0 where it cannot be read.
        error: why the header could not be read, else None.
    """

    clip_id: str
    dataset: str
    path: str
    split: Split
    source_id: str
    original_id: str | None
    label: int
    forgery: Forgery
    method: str | None = None
    family: str | None = None
    compression: str | None = None
    guessed: bool = False
    candidates: list[str] | None = None
    companions: dict[str, str] = field(default_factory=dict)
    identities: list[str] = field(default_factory=list)
    spans: list[list[int]] | None = None
    periods: list[list[float]] | None = None
    audio_label: int | None = None
    audio_periods: list[list[float]] | None = None
    audio_spans: list[list[int]] | None = None
    audio_only: AudioOnly = "no"
    audio_counts: bool = False
    one_face: bool = False
    listed_frames: int = 0
    size_bytes: int = 0
    frames: list[list[int]] | None = None
    frame_count: int = 0
    error: str | None = None

    @property
    def options(self) -> list[str]:
        """The clip_ids of all originals that come into question, the likeliest first."""
        return [] if self.original_id is None else [self.original_id, *(self.candidates or ())]

    @property
    def numbers(self) -> frozenset[int]:
        """The indices of its frames, as far as it is known which there are."""
        return numbers_of([[0, self.frame_count, 1]] if self.frames is None else self.frames)

    @property
    def end(self) -> int:
        """One more than the index of its last frame, as far as that is known."""
        return self.frame_count if not self.frames else 1 + max(self.numbers)

    @property
    def faces_path(self) -> str:
        """The path of the file that its faces are to be found on."""
        return self.companions.get(BOXES, self.path)

    def lost(self, index: int, reason: str) -> str:
        """Why a frame is not there, for a drop; of a folder the names tell, else it is ``reason``."""
        if self.frames is None:
            return reason
        return "decode_error" if index in self.numbers else "missing_frame"

    def label_at(self, index: int) -> int | None:
        """What the dataset says of a frame: 0 real, 1 fake, None unknown."""
        if self.spans is None:
            return self.label
        return next((label for start, count, label in self.spans if start <= index < start + count), None)

    @property
    def visual_label(self) -> int | None:
        """Whether it is forged where it is seen: 0 no, 1 yes, None where nothing tells."""
        if self.audio_only == "yes":
            return 0
        return None if self.audio_only == "maybe" and self.label else self.label

    def audio_at(self, index: int) -> int | None:
        """What is known of the sound while a frame is shown: 0 real, 1 forged, None unknown."""
        if not self.audio_label or self.audio_periods is None:
            return self.audio_label
        if self.audio_spans is None:
            return None
        return int(any(start <= index < start + count for start, count in self.audio_spans))

    def to_dict(self) -> dict[str, Any]:
        """A plain dictionary, JSON-ready."""
        return asdict(self)


def runs_of(numbers: Iterable[int]) -> list[list[int]]:
    """Ascending numbers as runs (first, how many, step), for :attr:`Clip.frames`.

    >>> runs_of([0, 10, 20, 21, 22])
    [[0, 3, 10], [21, 2, 1]]
    """
    runs: list[list[int]] = []
    for number in numbers:
        first, count, step = runs[-1] if runs else (0, 0, 0)
        if count == 1 or (count > 1 and number == first + count * step):
            runs[-1] = [first, count + 1, number - first if count == 1 else step]
        else:
            runs.append([number, 1, 1])
    return runs


def numbers_of(runs: Iterable[Iterable[int]]) -> frozenset[int]:
    """The numbers in runs, see :func:`runs_of`."""
    return frozenset(number for first, count, step in runs for number in range(first, first + count * step, step))


PAIRINGS: dict[str, str] = {
    "stated": "the dataset says which is the original",
    "guessed": "inferred from names, and the pictures agree",
    "refused": "inferred from names, but candidates show another picture or no change: a fake without an original",
    "missing": "the original is not on disk, or cannot be read",
    "none": "nothing says which is the original",
}
"""How a fake came to its original, or to none -> what it means."""

CLIP_SCHEMA = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("source_id", pa.string(), nullable=False),
        pa.field("original_id", pa.string()),
        pa.field("pairing", pa.string()),
        pa.field("guesses", pa.list_(pa.struct({"original_id": pa.string(), "verdict": pa.string()}))),
        pa.field("path", pa.string(), nullable=False),
        pa.field("label", pa.int8(), nullable=False),
        pa.field("visual_label", pa.int8()),
        pa.field("audio_label", pa.int8()),
        pa.field("forgery", pa.string(), nullable=False),
        pa.field("method", pa.string()),
        pa.field("family", pa.string()),
        pa.field("compression", pa.string()),
        pa.field("identities", pa.list_(pa.string())),
        pa.field("spans", pa.list_(pa.list_(pa.int32(), 3))),
        pa.field("size_bytes", pa.int64(), nullable=False),
        pa.field("sha256", pa.string()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("fps", pa.float64()),
        pa.field("codec", pa.string()),
        pa.field("profile", pa.string()),
        pa.field("pixel_format", pa.string()),
        pa.field("color_range", pa.string()),
        pa.field("range_tagged", pa.bool_()),
        pa.field("color_matrix", pa.string()),
        pa.field("matrix_tagged", pa.bool_()),
        pa.field("chroma_siting", pa.string()),
        pa.field("pixel_aspect", pa.float64()),
        pa.field("cropped", pa.bool_()),
        pa.field("rotation", pa.int32()),
        pa.field("mirrored", pa.bool_()),
        pa.field("interlaced", pa.bool_()),
        pa.field("hdr", pa.string()),
        pa.field("header_frames", pa.int32(), nullable=False),
        pa.field("listed_frames", pa.int32()),
        pa.field("requested", pa.int32(), nullable=False),
        pa.field("boxes_from", pa.string()),
        pa.field("boxes_refused", pa.string()),
        pa.field("decoded", pa.int32(), nullable=False),
        pa.field("detected", pa.int32(), nullable=False),
        pa.field("written", pa.int32(), nullable=False),
        pa.field("dropped", pa.int32(), nullable=False),
        pa.field("topped_up", pa.int32(), nullable=False),
        pa.field("tracks", pa.int32(), nullable=False),
        pa.field("offset", pa.int32()),
        pa.field("rate", pa.float64()),
        pa.field("scale", pa.float64()),
        # Two numbers or null, but no list of fixed size: pyarrow before 26 does not read or write nulls of that.
        pa.field("shift", pa.list_(pa.float64())),
        pa.field("pair_similarity", pa.float64()),
        pa.field("visual_change", pa.bool_()),
        pa.field("detected_spans", pa.list_(pa.list_(pa.float64(), 2))),
        pa.field("error", pa.string()),
        pa.field("warnings", pa.list_(pa.string())),
    ]
)
"""``meta/clips.pq``: the clip, its file, and what became of it.

``requested`` frames were planned, ``decoded`` of them came out of the decoder, ``detected`` of them showed at least one
face, ``written`` and ``dropped`` count samples (faces); ``topped_up`` frames stand in for wanted ones that showed no
face. ``sha256`` is of the file; null where it could not be read. Where ``path`` is a folder of numbered pictures,
``header_frames`` is how many there are, ``size_bytes`` and ``sha256`` are of them all (the latter of the lines that
``sha256sum`` prints for them by number), and ``fps`` and ``detected_spans`` are null: nothing tells the rate.

``visual_label`` and ``audio_label`` say of the clip as a whole whether it is forged where it is seen, and heard: 0 no,
1 yes, null where nothing tells. ``listed_frames`` is how many frames the dataset's list says that there are, null
where it says nothing. ``warnings`` are lines on what did not go as the dataset says: a list with a wrong number of
frames, or a fake that does not lie on its original; empty for most clips.

How the file is coded, null where it is unreadable: ``codec``, ``profile`` and ``pixel_format`` as FFmpeg names them;
``color_range`` (limited, full) and ``color_matrix`` (bt601, bt709, …; null for RGB and gray) as they were taken, and
whether the file is tagged with them; ``chroma_siting`` (left, centre, …; null where chroma is not halved).
Frames are ``cropped`` where the container shows a part of the coded picture only. ``pixel_aspect`` is the width of a
pixel over its height: frames were brought to square pixels if it is a hundredth off or more. They were turned by
``rotation`` degrees clockwise, and mirrored left to right before that where ``mirrored``. ``width``, ``height`` and all
boxes count pixels after this. ``interlaced`` frames are made of two fields and were left as they are.
``hdr`` is pq or hlg where brightness is coded for HDR displays; such pixels were not tone-mapped and look flat.

How a fake lies on its original; null for a real and for a fake without an original: frame ``i`` of the original is
frame ``i * rate + offset`` of the fake, about; a pixel ``(x, y)`` of the original is ``(x, y) * scale + shift`` of
the fake. ``pair_similarity`` is the correlation of the two outside the faces, -1 to 1; of the whole pictures where
nothing lies outside. ``visual_change`` is false where nothing visible was forged (an audio-only fake).
``detected_spans`` are the forged spans, ``[start_s, end_s)``, as seen in the differences; empty where nothing was
forged, null where the differences are too faint to tell when.

``boxes_from`` is the file that its faces were found on: its own ``path``, that of the same clip at another compression
(``--boxes-from``), or for a fake the one of its original; null where none could be read. ``boxes_refused`` says why
another compression's faces were not taken, though that file lies there: ``unreadable``, or ``other size``, ``other
length`` (both with the figures) or ``other pictures``; null where nothing was refused.

``pairing`` says where ``original_id`` is from, see :data:`PAIRINGS`; null for a real. ``guesses`` are the originals
that names suggested and that the pictures were compared with, in this order, each with its verdict: ``fits`` or why it
does not, a drop reason. After a refused guess ``original_id`` is null; a candidate that fits brings its ``source_id``
along.
"""

LATER_CLIP_COLUMNS = ("visual_label", "audio_label", "listed_frames", "boxes_from", "boxes_refused", "warnings")
"""Columns of :data:`CLIP_SCHEMA` that records of earlier runs lack; null there."""
