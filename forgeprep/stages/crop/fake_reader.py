"""Step 4 of a frame: a fake's frame is laid on the original's, and cut like it.

That they lie on each other is checked and not assumed. A fake starts out as frame for frame and pixel on pixel; where
the pictures, or what moves in them, say otherwise, both clips are compared as a whole
(:func:`forgeprep.ops.pairing.align`) and the stretch is read again with what was found.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from forgeprep.errors import MediaError
from forgeprep.faces.tracks import Face
from forgeprep.media.forward_reader import ForwardReader
from forgeprep.media.frames import Frame, UInt8
from forgeprep.media.regions import IntBox
from forgeprep.media.video import Learned, read_frames, read_rate
from forgeprep.ops import pairing
from forgeprep.ops.change import face_patch
from forgeprep.ops.evidence import Pair
from forgeprep.ops.geometry import square_crop_box
from forgeprep.ops.masks import Crop
from forgeprep.ops.pairing import Alignment, Placement
from forgeprep.params.crop import CropParams
from forgeprep.schemas.clips import Clip
from forgeprep.stages.base import Sample
from forgeprep.stages.crop.crops import add_companions, compared, cut_face, sample_at, window
from forgeprep.stages.crop.lengths import Lengths
from forgeprep.stages.crop.original import Moment, Stretch
from forgeprep.stages.crop.outside import BEFORE, Likeness, Outside
from forgeprep.text import counted

OTHER_RATE = 0.01
"""A difference of frame rates that is none of rounding."""
AS_IS = Alignment(Placement(), {}, 0, 1.0)
"""Frame for frame, pixel on pixel."""
STILL = "hardly anything moves: which of its frames shows which of the original's is uncertain, and so are its masks"

LATE = "{} of its beginning were laid frame for frame before later ones showed another order: their masks are uncertain"


@dataclass(frozen=True, slots=True)
class Laid:
    """What a fake shows at a moment of its original.

    Attributes:
        frame: index of the fake's frame; None where there is none, then all that follows is empty.
        time_s: its presentation time in seconds.
        likeness: how the pictures outside the faces compare; None where they were not compared.
        patches: uint8 (48, 48) luma, one for each face.
        compared: what a mask is made of, one for each face, where the moment has windows.
        samples: one for each face that can be cut, if the moment is wanted.
        beyond: whether more of the picture than the faces was drawn anew.
    """

    moment: Moment
    frame: int | None = None
    time_s: float = 0.0
    likeness: Likeness | None = None
    patches: tuple[UInt8, ...] = ()
    compared: tuple[tuple[Pair, Crop], ...] = ()
    samples: tuple[Sample, ...] = ()
    beyond: bool = False

    @property
    def patch_pairs(self) -> dict[int, tuple[UInt8, UInt8, bool]]:
        """Track -> the face's patches in the fake and in the original, and whether more than the face is another."""
        pairs = zip(self.moment.faces, self.patches, self.moment.patches, strict=True) if self.patches else ()
        return {face.track_id: (fake, original, self.beyond) for face, fake, original in pairs}


class FakeReader:
    """A fake, read in step with its original and laid on it, so that nothing is decoded twice unless it is off.

    Attributes:
        alignment: how it lies on the original; None as long as that is as is.
        unfit: why it cannot be laid on the original at all: a drop reason and its detail.
        other_size: whether its frames have another size.
        learned: what was learned of the file.
        warnings: what did not go as the dataset says.
        doubt: whether it has still to be asked if lengths and rates speak against frame for frame.
        beyond: whether more than the faces was drawn anew.
    """

    def __init__(
        self, clip: Clip, paths: tuple[Path, Path], companions: dict[str, Path], params: CropParams, lengths: Lengths
    ) -> None:
        self.clip, self.paths, self.companion_paths = clip, paths, companions
        self.params, self.guessed, self.lengths = params, clip.guessed, lengths
        self.learned = Learned()
        self.alignment: Alignment | None = None
        self.unfit: tuple[str, str] | None = None
        self.other_size = False
        self.warnings: list[str] = []
        self.doubt = True
        self.beyond = False
        self.outside = Outside(clip.guessed)
        self._open()

    def lay(self, stretch: Stretch) -> list[Laid]:
        """The fake at the stretch's moments; both clips are compared as a whole the first time that it is off."""
        if self.alignment is None and self.lengths.periods:
            self._align(stretch)
        before = self.outside.last, list(self.outside.changes)
        laid = self._read(stretch)
        if self.alignment is not None:
            self.outside.judge(doubt=False, found=self.alignment)
        elif _is_off(self, laid, stretch):
            self._align(stretch)
            self.outside = Outside(self.guessed, before[0], deque(before[1], maxlen=32))
            laid = self._read(stretch)
            self.outside.judge(doubt=False, found=self.alignment)
        more = [self.outside.is_more(one.likeness) for one in laid if one.likeness is not None]
        # Told of a stretch, not of single frames; and what was drawn anew there is so later.
        self.beyond = self.beyond or 2 * sum(more) > len(more)
        return [_beyond(one) for one in laid] if self.beyond else laid

    def fits(self, one: Laid) -> bool:
        """Whether the pictures outside the faces show the same moment of the same take; True where it is unknown."""
        return self.outside.fits(one.likeness)

    def refuse(self, one: Laid, *, fits: bool) -> tuple[str | None, str | None]:
        """Why there is no sample of a moment, as a drop reason and its detail; None, None where nothing stands against.

        ``fits`` says whether the pictures outside the faces do, there or at the last moment where they were compared.
        """
        if self.unfit is not None:
            return self.unfit
        if one.frame is None:
            if self.alignment is not None and one.moment.index not in self.alignment.partner:
                return "unaligned", None
            reason, detail = self.frames.missing()
            return reason if self.frames.error else self.clip.lost(one.moment.index, reason), detail
        if fits:
            return None, None
        if self.outside.is_moved(one.likeness):
            return "size_mismatch", "the picture is the same, but shifted or scaled a little"
        return "size_mismatch" if self.other_size else "unaligned", "the picture outside the faces is another"

    def close(self) -> None:
        """Let the decoders go."""
        for reader in (self.frames, *self.companions.values()):
            reader.close()

    def _open(self) -> None:
        self.frames = ForwardReader(self.paths[1], self.learned)
        self.companions = {name: ForwardReader(path) for name, path in self.companion_paths.items()}
        self.outside.thumbs.clear()

    def _align(self, stretch: Stretch) -> None:
        """Compare both clips as a whole; from here on that counts."""
        self.close()
        self._open()
        found = _aligned(self.paths, stretch.fps, self.lengths)
        if found is None:
            self.unfit = "size_mismatch", "neither scaled nor letterboxed in a way that can be undone"
        elif self.lengths.periods:
            self.unfit, self.warnings = self.lengths.judge(found)
        elif not found.sure:
            self.warnings = [STILL]
        self.alignment = found or AS_IS
        self.warnings = [*self.warnings, *_too_late(self.alignment, stretch)]

    def _read(self, stretch: Stretch) -> list[Laid]:
        self.outside.begin()
        # The last one is checked too, so that nothing shifts unseen between the last check and the end of the stretch.
        last = next((moment.index for moment in reversed(stretch.moments) if moment.thumb is not None), -1)
        return [self._look(moment, stretch, last) for moment in stretch.moments]

    def _look(self, moment: Moment, stretch: Stretch, last: int) -> Laid:
        index = moment.index if self.alignment is None else self.alignment.partner.get(moment.index)
        frame = None if index is None else self.frames.at(index)
        if index is None or frame is None:
            return Laid(moment)
        if frame.size_wh != stretch.size_wh and self.alignment is None:
            self.other_size = True
            return Laid(moment, index, frame.time_s)
        wanted = stretch.wants(self.clip.clip_id, moment)
        placement = Placement() if self.alignment is None else self.alignment.placement
        likeness = self._compare(moment, frame, stretch, placement, last)
        faces = moment.faces if placement.is_identity else [_placed(face, placement) for face in moment.faces]
        windows = zip(faces, moment.windows, strict=True) if moment.windows else ()
        pairs = tuple(
            compared((window(frame, face.cut_box, self.params), other), face, frame.size_wh, self.params)
            for face, other in windows
        )
        return Laid(
            moment,
            index,
            frame.time_s,
            likeness,
            patches=tuple(face_patch(frame, face.box) for face in faces),
            compared=pairs,
            samples=tuple(_cut(self, moment, frame, faces, pairs, placement)) if wanted else (),
        )

    def _compare(
        self, moment: Moment, frame: Frame, stretch: Stretch, placement: Placement, last: int
    ) -> Likeness | None:
        """Compare a frame outside the faces; None where that is not due. ``last`` is where it is due at last."""
        if moment.thumb is not None:
            lags = self.alignment is None and (moment.index == last or pairing.is_checked(moment.index))
            place = placement, stretch.size_wh
            return self.outside.compare(moment.index, moment.thumb, frame, place, self.frames if lags else None)
        due = (frame.index - lag for lag in BEFORE)
        if self.alignment is None and any(index == last or pairing.is_checked(index) for index in due):
            self.outside.note(frame, stretch.size_wh)
        return None


def _cut(
    fake: FakeReader,
    moment: Moment,
    frame: Frame,
    faces: Sequence[Face],
    pairs: Sequence[tuple[Pair, Crop]],
    placement: Placement,
) -> Iterator[Sample]:
    beside = {name: reader.at(frame.index) for name, reader in fake.companions.items()}
    place = frame.index, frame.time_s, frame.size_wh
    for face, of_original, original, pair in zip(faces, moment.faces, moment.crops, pairs, strict=True):
        if original is None:
            continue
        crop = cut_face(frame, face, fake.params)
        sample = sample_at(fake.clip, place, moment.index, face, crop, fake.params)
        sample.original, sample.guessed, sample.compared = original, fake.guessed, pair
        if not placement.is_identity and face.aligned is None:
            box, own = (square_crop_box(f.cut_box, fake.params.enlarge) for f in (of_original, face))
            sample.original = _laid_on(original, crop, box, own, placement)
        add_companions(sample, beside, face, frame.size_wh, fake.params)
        yield sample


def _beyond(one: Laid) -> Laid:
    """The same, told that more than the faces was drawn anew."""
    for sample in one.samples:
        if sample.compared is not None:
            pair, crop = sample.compared
            sample.compared = replace(pair, beyond=True), crop
    return replace(one, beyond=True, compared=tuple((replace(pair, beyond=True), crop) for pair, crop in one.compared))


def _is_off(fake: FakeReader, laid: Sequence[Laid], stretch: Stretch) -> bool:
    """Whether a clip has to be aligned: another size, another frame that fits better, or no fit at all."""
    doubt, fake.doubt = fake.doubt and _may_be_off(fake, stretch), False
    shifted = fake.outside.judge(doubt=doubt, found=None)
    if fake.other_size or shifted:
        return True
    return any((one.likeness and one.likeness.lagged) or not fake.fits(one) for one in laid)


def _may_be_off(fake: FakeReader, stretch: Stretch) -> bool:
    """Whether lengths or frame rates speak against frame for frame; pictures in folders have numbers."""
    rates = stretch.fps, fake.learned.fps or 0.0
    return min(rates) > 0 and (fake.lengths.differ or abs(rates[1] / rates[0] - 1) > OTHER_RATE)


def _too_late(found: Alignment, stretch: Stretch) -> list[str]:
    """What is to be told of the frames before a stretch, which were laid frame for frame."""
    first = stretch.moments[0].index
    late = sum(index < first and own != index for index, own in found.partner.items())
    return [LATE.format(counted(late, "frame"))] if late else []


def _aligned(paths: tuple[Path, Path], fps: float, lengths: Lengths) -> Alignment | None:
    """How the second clip lies on the first, whose rate is ``fps``; None where it does not, or cannot be read."""
    original, fake = paths
    of_length = lengths.periods, lengths.frames
    try:
        rates = fps, read_rate(fake)
        return pairing.align(lambda: read_frames(original), lambda: read_frames(fake), rates, *of_length)
    except MediaError:
        return None


def _placed(face: Face, placement: Placement) -> Face:
    """A face of the original where it lies in the fake."""
    return replace(
        face,
        box=placement.box(face.box),
        tube=face.tube and placement.box(face.tube),
        landmarks=None if face.landmarks is None else placement.points(face.landmarks),
        aligned=face.aligned and face.aligned.placed(placement.scale, placement.shift),
    )


def _laid_on(original: UInt8, crop: UInt8, box: IntBox, own: IntBox, placement: pairing.Placement) -> UInt8:
    """The original's crop in the pixels of the fake's, to a fraction of a pixel; both may have been resized."""
    grow = original.shape[0] / (box[2] - box[0]), (own[2] - own[0]) / crop.shape[0]
    step = grow[0] * grow[1] / placement.scale
    # Of the fake's crop to the frame, to the original's frame, to the original's crop; pixels lie at their centres.
    start = [((own[i] + 0.5 * grow[1] - placement.shift[i]) / placement.scale - box[i]) * grow[0] - 0.5 for i in (0, 1)]
    if step > 1.2:
        original = np.asarray(cv2.GaussianBlur(original, (0, 0), 0.45 * step), np.uint8)
    matrix = np.array([[step, 0, start[0]], [0, step, start[1]]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    laid = cv2.warpAffine(original, matrix, crop.shape[1::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(laid, np.uint8)
