"""The demo in the layouts of LAV-DF and AV-Deepfake1M: clips that are forged in periods, seen or heard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from forgeprep.demo.people import UInt8
from forgeprep.demo.sound import with_tone
from forgeprep.demo.source import Source
from forgeprep.demo.stills import frames_of, write_video

_FPS = 25


def _forged(source: Source, place: str, x: str, y: str, longer: int) -> tuple[list[list[float]], int]:
    """Write a clip whose middle is forged, and longer by some frames than in the original: periods and frames."""
    real, fake = list(frames_of(source.real(x))), list(frames_of(source.fake("NeuralTextures", x, y)))
    count = min(len(real), len(fake))
    start, stop = count // 4, count // 2 + count // 10
    # A slower word: its last picture is held.
    middle: list[UInt8] = [*fake[start:stop], *[fake[stop - 1]] * longer]
    frames = [*real[:start], *middle, *real[stop:count]]
    write_video(source.root / place, frames)
    return [[start / _FPS, (start + len(middle)) / _FPS]], len(frames)


def write_lavdf(source: Source) -> None:
    """Write LAV-DF: a real, a fake as long as it, a longer one, and one of the sound alone of each person."""
    entries: list[dict[str, Any]] = []
    for i, (split, x, y) in enumerate(source.swaps):
        folder = {"val": "dev"}.get(split, split)
        names = [f"{folder}/{6 * i + kind:06d}.mp4" for kind in range(4)]
        frames = len(list(frames_of(source.real(x))))
        with_tone(source.real(x), source.root / names[0], 110 + int(x) % 220)
        with_tone(source.real(x), source.root / names[3], 110 + int(y) % 220)
        made: list[tuple[str, list[list[float]], int, bool, bool]] = [(names[0], [], frames, False, False)]
        for name, longer in ((names[1], 0), (names[2], 3)):
            periods, count = _forged(source, name, x, y, longer)
            made.append((name, periods, count, True, bool(longer)))
        made.append((names[3], [[0.1, 0.4]], frames, False, True))
        entries += [
            {
                "file": name,
                "n_fakes": len(periods),
                "fake_periods": periods,
                "duration": count / _FPS,
                "original": names[0] if periods else None,
                "modify_video": seen,
                "modify_audio": heard,
                "split": folder,
                "video_frames": count,
            }
            for name, periods, count, seen, heard in made
        ]
    _write_json(source.root / "metadata.min.json", entries)


def _write_json(file: Path, value: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value, indent=1) + "\n")
