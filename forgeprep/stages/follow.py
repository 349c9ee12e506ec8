"""A fake in step with its original: it is read run by run, laid on the original, and judged frame by frame.

That it lies on its original is checked and not assumed. A fake starts out as frame for frame and pixel on pixel; where
the pictures outside the faces say otherwise, both clips are compared as a whole (:func:`forgeprep.ops.pairing.align`)
and the run is read again with what was found. Frames that do not fit even then are dropped.

Where the original itself is a guess, that is judged first, on the first run in which both clips show something: if
fewer than half of the compared frames fit, the guess is refused, and nothing of the fake has come out yet. A guess that
in the end gives not one sample is refused too.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from forgeprep.errors import MediaError
from forgeprep.ops import pairing
from forgeprep.ops.change import face_patch
from forgeprep.ops.evidence import Pair
from forgeprep.ops.frames import Frame, UInt8
from forgeprep.ops.geometry import IntBox, square_crop_box
from forgeprep.ops.masks import Crop
from forgeprep.ops.tracks import Face
from forgeprep.ops.video import read_frames, read_rate
from forgeprep.schemas.clips import Clip
from forgeprep.schemas.drops import Drop
from forgeprep.stages.base import Group, GroupLog, Sample
from forgeprep.stages.cursor import Cursor
from forgeprep.stages.cut import CropParams, compared, cut, cut_gray, describe, drop, window
from forgeprep.stages.judge import Judge, Patches
from forgeprep.stages.lead import Moment, Run

LAGS = (-2, -1, 1, 2)
BETTER = 0.8
"""A neighbouring frame that fits by this much better than the expected one says that frames were lost or doubled."""


FITS = "fits"
"""The verdict on a guess that holds; others are drop reasons."""
LEAST_OUTSIDE, LEAST_ALIKE = 0.05, 0.9
"""With a smaller share of the picture outside the faces, a guess holds if the whole pictures correlate so much."""
_AS_IS = pairing.Alignment(pairing.Placement(), {}, 0, 1.0)


@dataclass(slots=True)
class _Seen:
    """What was seen of a fake at a moment of its original.

    Attributes:
        apart: distance of the pictures outside the faces, as :func:`forgeprep.ops.pairing.apart` gives it.
        lagged: whether a neighbouring frame fits clearly better.
        patches: one for each face.
        compared: what a mask is made of, for each face, where the moment has windows.
        samples: one for each face, if the moment is wanted.
    """

    moment: Moment
    frame: int | None = None
    time_s: float = 0.0
    apart: float | None = None
    correlation: float | None = None
    lagged: bool = False
    patches: list[UInt8] = field(default_factory=list)
    compared: list[tuple[Pair, Crop]] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)


class Follower:
    """A fake, open over the runs, so that nothing is decoded twice unless it has to be aligned."""

    def __init__(
        self,
        clip: Clip,
        original: Clip,
        root: Path,
        params: CropParams,
        companions: frozenset[str],
        log: GroupLog,
        fakes: int,
    ) -> None:
        self.clip, self.log, self.params = clip, log, params
        if clip.original_id != original.clip_id:
            self.clip = replace(clip, original_id=original.clip_id, source_id=original.source_id)
        self.verdict = None if clip.guessed else FITS
        self.drops: list[Drop] = []
        self.emitted = False
        self.entry = log.clips[clip.clip_id]
        self.paths = root / original.path, root / clip.path
        self.companion_paths = {n: root / p for n, p in sorted(clip.companions.items()) if n in companions}
        self.alignment: pairing.Alignment | None = None
        self.unfit: str | None = None
        self.other_size = False
        self.judge = Judge(params, clip.label_at if clip.spans is not None else None, fakes)
        self.last_thumb: tuple[UInt8, pairing.Mask] | None = None
        self.changes: deque[float] = deque(maxlen=32)
        self.similarity = [0.0, 0]
        self._open()

    def samples(self, run: Run, group: Group) -> list[list[Sample]]:
        """The fake's samples at the run's frames, cut by the original's boxes; may hold some back, to come later."""
        if self.is_refused():
            return []
        self.drops += [drop(group, self.clip, index, None, reason, "in the original") for index, reason in run.missing]
        if not run.moments:
            return []
        state = self.last_thumb, list(self.changes)
        seen = self._read(run)
        if self.alignment is None and self._is_off(run, seen):
            self._align(run)
            self.last_thumb, self.changes = state[0], deque(state[1], maxlen=32)
            seen = self._read(run)
        self.verdict = self.verdict or self._judge_guess(seen)
        if self.is_refused():
            return []
        samples = self._settle(run, seen, group)
        self.emitted |= any(samples)
        return samples

    def is_refused(self) -> bool:
        """Whether the original was a guess that does not hold; then no sample and no drop has come of it."""
        return self.verdict not in (None, FITS)

    def told(self) -> str:
        """The verdict on a guess, for people: of a fake that cannot be read, why it cannot."""
        return self.frames.reason if self.verdict == FITS and not self.similarity[1] else self.verdict or "unaligned"

    def _judge_guess(self, seen: list[_Seen]) -> str | None:
        """The verdict on a guess by what was seen; None where nothing could be compared."""
        if self.unfit is not None:
            return "size_mismatch"
        fits = [self._fits(one) for one in seen if one.apart is not None]
        if not fits:
            return None
        return FITS if 2 * sum(fits) >= len(fits) else "size_mismatch" if self.other_size else "unaligned"

    def finish(self, group: Group) -> list[list[Sample]]:
        """Fill in what the clip's row says of the pairing; the samples that waited, but for those that did in vain."""
        if self.is_refused():
            return []
        entry = self.entry
        verdict = self.judge.finish()
        if self.clip.guessed and not self.emitted and not any(verdict.samples) and self.frames.error is None:
            reasons = [drop.reason for drop in self.drops] + ["no_visual_change"] * len(verdict.given_up)
            self.verdict = max(sorted(set(reasons)), key=reasons.count, default="unaligned")
            return []
        self.verdict = FITS
        entry.visual_change, entry.segments = verdict.visual_change, verdict.segments
        if self.similarity[1]:
            entry.pair_similarity = self.similarity[0] / self.similarity[1]
            found = self.alignment or _AS_IS
            entry.offset, entry.rate = found.offset, found.rate
            entry.scale, entry.shift = found.placement.scale, found.placement.shift
        reason = "no_visual_change" if verdict.visual_change is False else "no_difference"
        self.log.drops += self.drops + [
            drop(group, self.clip, index, track, reason) for index, track in verdict.given_up
        ]
        return verdict.samples

    def close(self) -> None:
        """Let the decoders go."""
        for cursor in (self.frames, *self.companions.values()):
            cursor.close()

    def _open(self) -> None:
        self.frames = Cursor(self.paths[1])
        self.companions = {name: Cursor(path) for name, path in self.companion_paths.items()}

    def _align(self, run: Run) -> None:
        """Compare both clips as a whole; from here on that counts."""
        self.close()
        self._open()
        try:
            fps = run.fps, read_rate(self.paths[1])
            found = pairing.align(lambda: read_frames(self.paths[0]), lambda: read_frames(self.paths[1]), fps)
        except MediaError:
            found = None
        if found is None:
            self.unfit = "neither scaled nor letterboxed in a way that can be undone"
        self.alignment = found or _AS_IS

    def _read(self, run: Run) -> list[_Seen]:
        # The last one too, so that nothing shifts unseen between the last check and the end of the run.
        last = next((moment for moment in reversed(run.moments) if moment.thumb is not None), None)
        return [self._look(moment, run, last=moment is last) for moment in run.moments]

    def _look(self, moment: Moment, run: Run, *, last: bool) -> _Seen:
        seen = _Seen(moment)
        index = moment.index if self.alignment is None else self.alignment.partner.get(moment.index)
        if index is None:
            return seen
        due = last or pairing.is_checked(moment.index)
        check = due and moment.thumb is not None and self.alignment is None
        # Read ahead, so that the frames on both sides can be compared too.
        if check:
            self.frames.at(index + LAGS[-1])
        frame = self.frames.at(index)
        if frame is None:
            return seen
        seen.frame, seen.time_s = index, frame.time_s
        placement = pairing.Placement() if self.alignment is None else self.alignment.placement
        if frame.size_wh != run.size_wh and self.alignment is None:
            return seen
        if moment.thumb is not None:
            self._compare(seen, frame, run, placement, lags=check)
        faces = [
            replace(face, box=placement.box(face.box), tube=face.tube and placement.box(face.tube))
            for face in moment.faces
        ]
        seen.patches = [face_patch(frame, face.box) for face in faces]
        if moment.windows:
            windows = [
                (window(frame, face.cut_box, self.params), other)
                for face, other in zip(faces, moment.windows, strict=True)
            ]
            seen.compared = [
                compared(pair, face.cut_box, frame.size_wh, self.params)
                for pair, face in zip(windows, faces, strict=True)
            ]
        if moment.wanted:
            seen.samples = self._cut(seen, frame, faces, placement)
        return seen

    def _compare(self, seen: _Seen, frame: Frame, run: Run, placement: pairing.Placement, *, lags: bool) -> None:
        assert seen.moment.thumb is not None
        picture, keep = seen.moment.thumb
        size_wh = picture.shape[1], picture.shape[0]
        area = pairing.area_of(placement, run.size_wh, frame.size_wh)
        own = pairing.thumb(frame, area, size_wh)
        seen.apart, seen.correlation = pairing.apart(picture, own, keep), pairing.correlation(picture, own, keep)
        if self.clip.guessed and keep.mean() < LEAST_OUTSIDE:
            seen.correlation = pairing.correlation(picture, own, np.ones_like(keep))
            seen.apart = 0.0 if seen.correlation >= LEAST_ALIKE else math.inf
        if pairing.is_checked(seen.moment.index):
            if self.last_thumb is not None and self.last_thumb[0].shape == picture.shape:
                self.changes.append(pairing.apart(picture, self.last_thumb[0], keep & self.last_thumb[1]))
            self.last_thumb = seen.moment.thumb
        for lag in LAGS if lags else ():
            other = self.frames.at(frame.index + lag)
            if other is not None:
                distance = pairing.apart(picture, pairing.thumb(other, area, size_wh), keep)
                seen.lagged |= distance < BETTER * seen.apart - 0.1

    def _is_off(self, run: Run, seen: list[_Seen]) -> bool:
        """Whether the clip has to be aligned: another size, a neighbouring frame that fits better, or no fit at all."""
        first = next((one for one in seen if one.frame is not None), None)
        if first is None:
            return False
        frame = self.frames.last
        self.other_size = frame is not None and frame.size_wh != run.size_wh
        return self.other_size or any(one.lagged or not self._fits(one) for one in seen)

    def _cut(self, seen: _Seen, frame: Frame, faces: list[Face], placement: pairing.Placement) -> list[Sample]:
        moment = seen.moment
        beside = {name: cursor.at(frame.index) for name, cursor in self.companions.items()}
        samples = []
        for face, lead, original, pair in zip(faces, moment.faces, moment.crops, seen.compared, strict=True):
            crop = cut(frame, face.cut_box, self.params)
            place = frame.index, frame.time_s, frame.size_wh
            sample = Sample(describe(self.clip, place, moment.index, face, crop, self.params))
            sample.original, sample.guessed, sample.compared = original, self.clip.guessed, pair
            if not placement.is_identity:
                box, own = (square_crop_box(f.cut_box, self.params.enlarge) for f in (lead, face))
                sample.original = _laid_on(original, crop, box, own, placement)
            for name, companion in beside.items():
                part = None if companion is None else cut_gray(companion, face.cut_box, frame.size_wh, self.params)
                if part is not None:
                    sample.companions[name] = part
            samples.append(sample)
        return samples

    def _settle(self, run: Run, seen: list[_Seen], group: Group) -> list[list[Sample]]:
        """Drop what does not fit, count, and let the judge label the rest."""
        self.entry.error = self.frames.error or self.entry.error
        ready: list[_Seen] = []
        planned = set(group.frames)
        # Frames that were not compared go with the last one that was, and those before it with the first.
        fits = next((self._fits(one) for one in seen if one.apart is not None), True)
        for one in seen:
            fits = fits if one.apart is None else self._fits(one)
            reason, detail = self._refuse(one, fits)
            if reason is None:
                ready.append(one)
                if one.correlation is not None:
                    self.similarity[0] += one.correlation
                    self.similarity[1] += 1
            self._count(one, planned)
            if one.moment.wanted and reason is not None:
                tracks: list[int | None] = [face.track_id for face in one.moment.faces]
                self.drops += [
                    drop(group, self.clip, one.moment.index, track, reason, detail) for track in tracks or [None]
                ]
        if self.frames.last is not None:
            self.entry.width, self.entry.height = self.frames.last.size_wh
        self.entry.tracks = run.tracks
        moments = [(one.frame or 0, one.time_s, _patches(one)) for one in ready]
        samples = [sample for one in ready for sample in one.samples]
        probes = [one for one in ready if one.moment.probe]
        self.judge.probe(
            (f.track_id, pair) for one in probes for f, pair in zip(one.moment.faces, one.compared, strict=True)
        )
        return self.judge.label(moments, samples, 1 / run.fps if run.fps > 0 else 0.04)

    def _count(self, one: _Seen, planned: set[int]) -> None:
        if one.frame is None:
            return
        if one.moment.index in planned:
            self.entry.decoded += 1
            self.entry.detected += bool(one.moment.faces)
        elif one.moment.wanted:
            self.entry.topped_up += 1

    def _fits(self, one: _Seen) -> bool:
        """Whether the pictures outside the faces show the same moment of the same take; True where it is unknown."""
        if one.apart is None or one.correlation is None:
            return True
        limit = max(pairing.FLOOR, pairing.SAME_TAKE * float(np.median(self.changes or [0.0])))
        return one.apart <= limit and one.correlation >= pairing.LEAST_SIMILARITY

    def _refuse(self, one: _Seen, fits: bool) -> tuple[str | None, str | None]:
        if self.unfit is not None:
            return "size_mismatch", self.unfit
        if one.frame is None:
            if self.alignment is not None and one.moment.index not in self.alignment.partner:
                return "unaligned", None
            reason, detail = self.frames.missing()
            return reason if self.frames.error else self.clip.lost(one.moment.index, reason), detail
        if fits:
            return None, None
        return "size_mismatch" if self.other_size else "unaligned", "the picture outside the faces is another"


def _patches(one: _Seen) -> Patches:
    pairs = zip(one.moment.faces, one.patches, one.moment.patches, strict=True)
    return {face.track_id: (fake, original) for face, fake, original in pairs}


def _laid_on(original: UInt8, crop: UInt8, lead: IntBox, own: IntBox, placement: pairing.Placement) -> UInt8:
    """The original's crop in the pixels of the fake's, to a fraction of a pixel; both may have been resized."""
    grow = original.shape[0] / (lead[2] - lead[0]), (own[2] - own[0]) / crop.shape[0]
    step = grow[0] * grow[1] / placement.scale
    # Of the fake's crop to the frame, to the original's frame, to the original's crop; pixels lie at their centres.
    start = [
        ((own[i] + 0.5 * grow[1] - placement.shift[i]) / placement.scale - lead[i]) * grow[0] - 0.5 for i in (0, 1)
    ]
    if step > 1.2:
        original = np.asarray(cv2.GaussianBlur(original, (0, 0), 0.45 * step), np.uint8)
    matrix = np.array([[step, 0, start[0]], [0, step, start[1]]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    laid = cv2.warpAffine(original, matrix, crop.shape[1::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(laid, np.uint8)
