"""A fake from the first stretch of its original to the last: what is laid on it becomes samples, or drops.

Where the original itself is a guess, that is judged first, on the first stretch in which both clips show something: if
fewer than half of the compared frames fit, the guess is refused, and nothing of the fake has come out yet. A guess that
in the end gives not one sample is refused too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from forgeprep.params.crop import CropParams
from forgeprep.schemas.clips import Clip
from forgeprep.schemas.drops import Drop
from forgeprep.stages.base import Group, GroupLog, Sample
from forgeprep.stages.crop.choice import Chosen
from forgeprep.stages.crop.crops import drop
from forgeprep.stages.crop.fake_reader import AS_IS, FakeReader, Laid
from forgeprep.stages.crop.forged import ForgedFaces
from forgeprep.stages.crop.lengths import Lengths
from forgeprep.stages.crop.original import Stretch, chosen_of, no_landmarks

FITS = "fits"
"""The verdict on a guess that holds; others are drop reasons."""


class Fake:
    """A fake beside its original, or beside what may be it."""

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
        self.clip, self.log = clip, log
        if clip.original_id != original.clip_id:
            self.clip = replace(clip, original_id=original.clip_id, source_id=original.source_id)
        beside = {name: root / path for name, path in sorted(clip.companions.items()) if name in companions}
        self.reader = FakeReader(
            self.clip, (root / original.path, root / clip.path), beside, params, Lengths.of(clip, original)
        )
        self.forged = ForgedFaces(params, clip.label_at if clip.spans is not None else None, fakes)
        self.entry = log.clips[clip.clip_id]
        self.verdict = None if clip.guessed else FITS
        self.drops: list[Drop] = []
        self.emitted = False
        self.correlations: list[float] = []

    def samples(self, stretch: Stretch, group: Group) -> list[list[Sample]]:
        """The fake's samples at the stretch's frames; may hold some back, to come later."""
        if self.is_refused() or not stretch.moments:
            return []
        laid = self.reader.lay(stretch)
        self.verdict = self.verdict or self._verdict_on_guess(laid)
        if self.is_refused():
            return []
        samples = self._settle(stretch, laid, group)
        self.emitted |= any(samples)
        return samples

    def is_refused(self) -> bool:
        """Whether the original was a guess that does not hold; then no sample and no drop has come of it."""
        return self.verdict not in (None, FITS)

    def told(self) -> str:
        """The verdict on a guess, for people: of a fake that cannot be read, why it cannot."""
        frames = self.reader.frames
        return frames.reason if self.verdict == FITS and not self.correlations else self.verdict or "unaligned"

    def finish(self, group: Group, chosen: Chosen, tracks: int) -> list[list[Sample]]:
        """Fill in what the clip's row says of the pairing; the samples that waited, but for those that did in vain."""
        self.reader.close()
        if self.is_refused():
            return []
        missing = chosen_of(self.clip.clip_id, group, chosen).missing
        self.drops += [drop(group, self.clip, index, None, why, "in the original") for index, why in missing]
        entry, verdict = self.entry, self.forged.finish()
        if self.clip.guessed and not self.emitted and not any(verdict.samples) and self.reader.frames.error is None:
            reasons = [drop.reason for drop in self.drops] + ["no_visual_change"] * len(verdict.given_up)
            self.verdict = max(sorted(set(reasons)), key=reasons.count, default="unaligned")
            return []
        self.verdict = FITS
        entry.tracks = tracks
        entry.visual_change, entry.detected_spans = verdict.visual_change, verdict.spans
        if self.correlations:
            entry.pair_similarity = sum(self.correlations) / len(self.correlations)
            found = self.reader.alignment or AS_IS
            entry.offset, entry.rate = found.offset, found.rate
            entry.scale, entry.shift = found.placement.scale, found.placement.shift
        reason = "no_visual_change" if verdict.visual_change is False else "no_difference"
        self.log.drops += self.drops + [
            drop(group, self.clip, index, track, reason) for index, track in verdict.given_up
        ]
        return verdict.samples

    def warnings(self) -> list[str]:
        """What did not go as the dataset says."""
        return self.reader.warnings

    def _verdict_on_guess(self, laid: Sequence[Laid]) -> str | None:
        """The verdict on a guess by what was seen; None where nothing could be compared."""
        if self.reader.unfit is not None:
            return self.reader.unfit[0]
        fits = [self.reader.fits(one) for one in laid if one.likeness is not None]
        if not fits:
            return None
        return FITS if 2 * sum(fits) >= len(fits) else "size_mismatch" if self.reader.other_size else "unaligned"

    def _settle(self, stretch: Stretch, laid: Sequence[Laid], group: Group) -> list[list[Sample]]:
        """Drop what does not fit, count, and let the rest be labelled."""
        reader = self.reader
        self.entry.error = reader.frames.error or self.entry.error
        ready: list[Laid] = []
        planned = set(group.frames_of(self.clip.clip_id))
        # Frames that were not compared go with the last one that was, and those before it with the first.
        fits = next((reader.fits(one) for one in laid if one.likeness is not None), True)
        for one in laid:
            fits = fits if one.likeness is None else reader.fits(one)
            reason, detail = reader.refuse(one, fits=fits)
            wanted = stretch.wants(self.clip.clip_id, one.moment)
            if reason is None:
                ready.append(one)
                self.drops += no_landmarks(group, self.clip, one.moment) if wanted else []
            elif wanted:
                self.drops += [
                    drop(group, self.clip, one.moment.index, face.track_id, reason, detail) for face in one.moment.faces
                ]
            self._count(one, planned, wanted=wanted)
        self.correlations += [one.likeness.similarity for one in ready if one.likeness is not None]
        if reader.frames.size_wh is not None:
            self.entry.width, self.entry.height = reader.frames.size_wh
        self.forged.probe(
            (face.track_id, pair)
            for one in ready
            if one.moment.probe
            for face, pair in zip(one.moment.faces, one.compared, strict=True)
        )
        moments = [(one.frame or 0, one.time_s, one.patch_pairs) for one in ready]
        samples = [sample for one in ready for sample in one.samples]
        frame_s = 1 / stretch.fps if stretch.fps > 0 else 0.04
        if self.clip.one_face:
            # The label is of this very face: nothing is to be judged but what is told of the clip.
            self.forged.label(moments, [], frame_s)
            return [samples]
        return self.forged.label(moments, samples, frame_s)

    def _count(self, one: Laid, planned: set[int], *, wanted: bool) -> None:
        if one.frame is None:
            return
        if one.moment.index in planned:
            self.entry.decoded += 1
            self.entry.detected += bool(one.moment.faces)
        elif wanted:
            self.entry.topped_up += 1
