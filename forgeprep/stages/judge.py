"""Which faces of a fake are forged at which frames, as far as the differences to the original tell.

A face that differs clearly is judged frame by frame: it may be forged in some spans only. One that differs faintly, as
after strong compression, is taken as the dataset labels it. One that does not differ at all was not forged: a
bystander, where another face of the clip is; else its samples wait for a forged frame to come.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from forgeprep.ops.change import CLEAR, LEAST_GAP, change_signal, forged_frames, is_clear
from forgeprep.ops.masks import Pair, difference_masks
from forgeprep.ops.video import UInt8
from forgeprep.stages.base import Sample
from forgeprep.stages.cut import CropParams

HOLD_BYTES = 64 << 20
"""Samples that wait for a forged frame; beyond that the oldest are given up."""

Patches = dict[int, tuple[UInt8, UInt8]]
"""Track -> the face's patches in the fake and in the original."""


@dataclass(slots=True)
class Verdict:
    """What is known of a fake at its end.

    Attributes:
        visual_change: whether anything visible was forged; None if no face could be compared.
        segments: forged spans, [start_s, end_s), None as above.
        given_up: (frame of the original, track) of samples that waited for a forged frame in vain.
    """

    visual_change: bool | None
    segments: list[tuple[float, float]] | None
    given_up: list[tuple[int, int]]


@dataclass(slots=True)
class _Track:
    """A face: the signals of its clear frames, and whether its last frame was forged; ``faint``: a mask was found."""

    clear: list[float] = field(default_factory=list)
    before: bool | None = None
    faint: bool = False

    @property
    def is_clear(self) -> bool:
        return is_clear(self.clear)


class Judge:
    """The verdicts on one fake; runs come in order of time."""

    def __init__(self, params: CropParams) -> None:
        self.params = params
        self.tracks: dict[int, _Track] = {}
        self.spans: list[list[float]] = []
        self.in_gap = False
        self.held: list[Sample] = []
        self.given_up: list[tuple[int, int]] = []
        self.judged = 0

    def label(self, moments: list[tuple[int, float, Patches]], samples: list[Sample], frame_s: float) -> list[Sample]:
        """Judge a run's frames and label its samples, and those held back before if that is now possible.

        Args:
            moments: index, presentation time in seconds and patches of each frame.
            samples: those of the run.
            frame_s: how long a frame is shown.
        """
        signals = self._signals([patches for *_, patches in moments])
        if not any(track.is_clear for track in self.tracks.values()):
            self._look_for_faint(samples)
        forged = {track: self._forged(track, values) for track, values in signals.items()}
        self._extend_spans([time for _, time, _ in moments], forged, frame_s)
        if not self._visible():
            self.held += samples
            self._give_up()
            return []
        ready, self.held = self.held, []
        for sample in ready:
            track = self.tracks[sample.row["track_id"]]
            self._settle(sample, track, forged=track.faint)
        at = {index: number for number, (index, *_) in enumerate(moments)}
        for sample in samples:
            number = sample.row["track_id"]
            self._settle(sample, self.tracks[number], forged=forged[number][at[sample.row["frame_index"]]])
        return ready + samples

    def finish(self) -> Verdict:
        """What is known at the end of the clip."""
        self.given_up += [(s.row["original_frame"], s.row["track_id"]) for s in self.held]
        if not self.judged:
            return Verdict(None, None, self.given_up)
        return Verdict(self._visible(), [(start, end) for start, end in self.spans], self.given_up)

    def _visible(self) -> bool:
        return any(track.is_clear or track.faint for track in self.tracks.values())

    def _signals(self, patches: list[Patches]) -> dict[int, dict[int, float]]:
        """Track -> frame -> signal."""
        signals: dict[int, dict[int, float]] = {}
        for frame, pairs in enumerate(patches):
            self.judged += bool(pairs)
            for number, (fake, original) in pairs.items():
                signal = change_signal(fake, original)
                signals.setdefault(number, {})[frame] = signal
                track = self.tracks.setdefault(number, _Track())
                if signal >= CLEAR:
                    track.clear.append(signal)
        return signals

    def _look_for_faint(self, samples: list[Sample]) -> None:
        """Look for forgeries with all that the mask stage has, where none is clear."""
        for number, track in self.tracks.items():
            own = [s for s in samples if s.row["track_id"] == number]
            if own and not track.faint:
                pairs = [Pair(s.image, s.original) for s in own if s.original is not None]
                track.faint = any(m.mask.any() for m in difference_masks(pairs, enlarge=self.params.enlarge))

    def _forged(self, number: int, signals: dict[int, float]) -> dict[int, bool]:
        """Frame -> whether the face is forged at it."""
        track = self.tracks[number]
        if not track.is_clear:
            faint = track.faint and not any(other.is_clear for other in self.tracks.values())
            return dict.fromkeys(signals, faint)
        verdict = forged_frames(list(signals.values()), float(np.median(track.clear)), track.before)
        track.before = bool(verdict[-1])
        return dict(zip(signals, map(bool, verdict), strict=True))

    def _extend_spans(self, times: list[float], forged: dict[int, dict[int, bool]], frame_s: float) -> None:
        for frame, time in enumerate(times):
            verdicts = [states[frame] for states in forged.values() if frame in states]
            if not verdicts:
                continue
            if not any(verdicts):
                self.in_gap = True
                continue
            if self.spans and not self.in_gap and time - self.spans[-1][1] < LEAST_GAP * frame_s:
                self.spans[-1][1] = time + frame_s
            else:
                self.spans.append([time, time + frame_s])
            self.in_gap = False

    def _settle(self, sample: Sample, track: _Track, *, forged: bool) -> None:
        if forged:
            return
        stranger = not track.is_clear
        if stranger and self.params.bystanders == "skip":
            sample.drop("bystander")
            return
        sample.row |= {"label": 0, "forgery": "real", "method": None, "generator": None}

    def _give_up(self) -> None:
        size = sum(sample.image.nbytes * 2 for sample in self.held)
        while size > HOLD_BYTES:
            oldest = self.held.pop(0)
            size -= oldest.image.nbytes * 2
            self.given_up.append((oldest.row["original_frame"], oldest.row["track_id"]))
