"""Step 5 of a frame: which faces of a fake are forged at which frames, as far as the differences to the original tell.

A face that differs clearly is judged frame by frame: it may be forged in some spans only. One that differs faintly, as
after strong compression, is taken as the dataset labels it; that is told by the evidence that masks are made of, on the
same frames of a clip whatever samples are wanted. One that does not differ at all was not forged: a bystander, where
another face of the clip is. As long as no face differs clearly, samples wait for one to do so: what looks faint may be
the first frames of a clear span.

This is the only judgement of what is forged: labels and detected spans follow it, and every sample that it leaves a
fake gets a mask.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import takewhile

from forgeprep.media.frames import UInt8
from forgeprep.ops.change import LEAST_GAP, change_signal, forged_frames, forgery_threshold, in_one_tone, is_clear
from forgeprep.ops.evidence import Pair
from forgeprep.ops.masks import Crop, difference_masks
from forgeprep.params.crop import CropParams
from forgeprep.stages.base import Sample
from forgeprep.stages.crop.crops import call_real
from forgeprep.stages.crop.detector import margin_of

HOLD_BYTES = 256 << 20
"""What the samples of a source group may hold that wait; beyond that the oldest runs wait no longer."""

MOST_PROBES = 512
"""Of all faces of a clip; each holds a quarter of a megabyte."""
FEWEST = 4
"""Among so many fakes, or as many as there are, the room to wait is shared."""

Patches = dict[int, tuple[UInt8, UInt8, bool]]
"""Track -> the face's patches in the fake and in the original, and whether more than the face was drawn anew."""


@dataclass(slots=True)
class Verdict:
    """What is known of a fake at its end.

    Attributes:
        visual_change: whether anything visible was forged; None if no face could be compared.
        spans: those detected as forged, [start_s, end_s); None as above, where the differences are too faint to tell
            when, and where frames have no time.
        given_up: (frame of the original, track) of samples that waited for a forged frame in vain.
        samples: those that waited and count all the same, in runs.
    """

    visual_change: bool | None
    spans: list[tuple[float, float]] | None
    given_up: list[tuple[int, int]]
    samples: list[list[Sample]]


@dataclass(slots=True)
class _Track:
    """A face: presentation time and signal of each frame, and its probes, by which ``faint`` is told.

    ``judged`` of the probes have been looked at.
    """

    times: list[float] = field(default_factory=list)
    signals: list[float] = field(default_factory=list)
    before: bool | None = None
    probes: list[tuple[Pair, Crop]] = field(default_factory=list)
    faint: bool = False
    judged: int = 0

    def look_for_faint(self, enlarge: float) -> None:
        """Look for a forgery with all that masks are made of; crops are ``enlarge`` times as wide as the face."""
        if len(self.probes) > self.judged and not self.faint:
            self.judged = len(self.probes)
            pairs, crops = zip(*self.probes, strict=True)
            self.faint = any(m.mask.any() for m in difference_masks(pairs, crops, enlarge=enlarge))

    @property
    def is_clear(self) -> bool:
        return is_clear(self.signals)

    @property
    def threshold(self) -> float:
        return forgery_threshold(self.signals)


class ForgedFaces:
    """The verdicts on one fake, of ``fakes`` of an original; runs come in order of time.

    ``told`` gives the dataset's own label of a frame, where it labels frames.
    """

    def __init__(self, params: CropParams, told: Callable[[int], int | None] | None = None, fakes: int = 1) -> None:
        self.params = params
        self.told = told
        self.room = HOLD_BYTES // max(FEWEST, fakes)
        self.tracks: dict[int, _Track] = {}
        self.held: list[list[tuple[Sample, float]]] = []
        self.given_up: list[tuple[int, int]] = []
        self.frame_s = 0.04

    def label(
        self, moments: list[tuple[int, float, Patches]], samples: list[Sample], frame_s: float
    ) -> list[list[Sample]]:
        """Judge a run's frames and label its samples, and those held back before if that is now possible, run by run.

        Args:
            moments: index, presentation time in seconds and patches of each frame.
            samples: those of the run.
            frame_s: how long a frame is shown.
        """
        self.frame_s = frame_s
        signals = self._signals(moments)
        forged = {track: self._forged(track, values) for track, values in signals.items()}
        if not self._any_clear():
            ready = self._real_so_far(samples)
            waiting = samples[len(ready) :]
            if waiting:
                self.held.append([(s, signals[s.track_id][s.frame_index]) for s in waiting])
            return [ready, *self._make_room()]
        released = self._release(len(self.held))
        for sample in samples:
            self._settle(sample, forged=forged[sample.track_id][sample.frame_index])
        return [*released, samples]

    def _real_so_far(self, samples: list[Sample]) -> list[Sample]:
        """The samples before the first that the dataset calls forged, labelled: of a lone face they need not wait."""
        if self.told is None or self.held or len(self.tracks) > 1:
            return []
        ready = list(takewhile(lambda sample: self.told(sample.frame_index) != 1, samples))  # type: ignore[misc]
        for sample in ready:
            if self.told(sample.frame_index) is None:
                sample.drop("unlabelled")
            else:
                call_real(sample)
        return ready

    def finish(self) -> Verdict:
        """What is known at the end of the clip."""
        samples = self._release(len(self.held))
        if not self.tracks:
            return Verdict(None, None, self.given_up, samples)
        if self._visible() and not self._any_clear():
            return Verdict(True, None, self.given_up, samples)
        times = {
            time
            for track in self.tracks.values()
            if track.is_clear
            for time, forged in zip(track.times, forged_frames(track.signals, track.threshold, None), strict=True)
            if forged
        }
        if any(map(math.isnan, times)):
            return Verdict(self._visible(), None, self.given_up, samples)
        return Verdict(self._visible(), _spans(sorted(times), self.frame_s), self.given_up, samples)

    def _visible(self) -> bool:
        if self._any_clear():
            return True
        for track in self.tracks.values():
            track.look_for_faint(margin_of(self.params))
        return any(track.faint for track in self.tracks.values())

    def _any_clear(self) -> bool:
        return any(track.is_clear for track in self.tracks.values())

    def _signals(self, moments: list[tuple[int, float, Patches]]) -> dict[int, dict[int, float]]:
        """Track -> frame index -> signal; noted for the end of the clip too."""
        signals: dict[int, dict[int, float]] = {}
        for number in dict.fromkeys(number for *_, pairs in moments for number in pairs):
            there = [(index, time_s, pairs[number]) for index, time_s, pairs in moments if number in pairs]
            track, own = self.tracks.setdefault(number, _Track()), signals.setdefault(number, {})
            alike = in_one_tone([pair for *_, pair in there])
            for (index, time_s, (*_, beyond)), (fake, original) in zip(there, alike, strict=True):
                own[index] = change_signal(fake, original, beyond=beyond)
                track.times.append(time_s)
                track.signals.append(own[index])
        return signals

    def probe(self, probes: Iterable[tuple[int, tuple[Pair, Crop]]]) -> None:
        """Take note of faces at a clip's probes, by track; as long as it takes them."""
        for number, pair in () if self._any_clear() else probes:
            track = self.tracks.setdefault(number, _Track())
            if sum(len(one.probes) for one in self.tracks.values()) < MOST_PROBES:
                track.probes.append(pair)

    def _forged(self, number: int, signals: dict[int, float]) -> dict[int, bool]:
        """Frame index -> whether the face is clearly forged at it."""
        track = self.tracks[number]
        if not track.is_clear:
            return dict.fromkeys(signals, False)
        verdict = forged_frames(list(signals.values()), track.threshold, track.before)
        track.before = bool(verdict[-1])
        return dict(zip(signals, map(bool, verdict), strict=True))

    def _was_forged(self, number: int, signal: float) -> bool:
        """The same for a sample that was held back, which stands alone."""
        track = self.tracks[number]
        if not track.is_clear:
            return track.faint and not self._any_clear()
        return signal > track.threshold

    def _settle(self, sample: Sample, *, forged: bool) -> None:
        track = self.tracks[sample.track_id]
        # Where no face differs clearly, one that differs faintly is the forged one.
        stranger = not track.is_clear and (self._any_clear() or not track.faint)
        if self.told is not None:
            said = self.told(sample.frame_index)
            if said is None:
                sample.drop("unlabelled")
                return
            forged = said == 1 and (forged or not stranger)
        if forged:
            return
        if stranger and self.params.bystanders == "skip":
            sample.drop("bystander")
            return
        call_real(sample)

    def _release(self, runs: int) -> list[list[Sample]]:
        """Judge the oldest runs that wait by what is known now: where nothing forged is, they are given up."""
        out, self.held = self.held[:runs], self.held[runs:]
        if not out:
            return []
        if not self._visible():
            self.given_up += [(s.original_frame or 0, s.track_id) for run in out for s, _ in run]
            return []
        for sample, signal in (held for run in out for held in run):
            self._settle(sample, forged=self._was_forged(sample.track_id, signal))
        return [[sample for sample, _ in run] for run in out]

    def _make_room(self) -> list[list[Sample]]:
        sizes = [sum(_held_bytes(sample) for sample, _ in run) for run in self.held]
        over = sum(sizes) - self.room
        return self._release(next((n for n in range(len(sizes) + 1) if sum(sizes[:n]) >= over), 0))


def _held_bytes(sample: Sample) -> int:
    windows = 0 if sample.compared is None else 2 * sample.compared[0].fake.nbytes
    return 2 * sample.image.nbytes + windows


def _spans(times: list[float], frame_s: float) -> list[tuple[float, float]]:
    """Forged frames, by their times in order, as spans."""
    spans: list[tuple[float, float]] = []
    for time in times:
        # Shorter gaps are frames without a verdict; half a frame less, since clips need not be of constant rate.
        if spans and time - spans[-1][1] < (LEAST_GAP - 0.5) * frame_s:
            spans[-1] = spans[-1][0], time + frame_s
        else:
            spans.append((time, time + frame_s))
    return spans
