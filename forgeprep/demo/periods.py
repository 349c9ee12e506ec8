"""The demo in the layouts of LAV-DF and AV-Deepfake1M: clips that are forged in periods, seen or heard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from forgeprep.demo.people import UInt8
from forgeprep.demo.sound import with_tone
from forgeprep.demo.source import Source
from forgeprep.demo.stills import frames_of, write_video
from forgeprep.demo.truth import load_truth

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
    true = load_truth(source.truth("NeuralTextures", x, y))[:count]
    held = np.repeat(true[stop - 1 : stop], longer, axis=0)
    none = np.zeros_like(true)
    truth = np.concatenate([none[:start], true[start:stop], held, none[stop:]])
    file = source.root / "truth" / Path(place).with_suffix(".npz")
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(file, shape=np.array(truth.shape), mask=np.packbits(truth, axis=-1))
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


def write_avdeepfake1m(source: Source) -> None:
    """Write AV-Deepfake1M: of each person a real, a fake as long as it, a longer one, and one of the sound alone."""
    entries: dict[str, list[dict[str, Any]]] = {"train": [], "val": []}
    for i, (split, x, y) in enumerate(source.swaps):
        part = "train" if split == "train" else "val"
        home = f"id{i:05d}/demo/00001"
        frames = len(list(frames_of(source.real(x))))
        files = {"real": "real", "audio_modified": "real_video_fake_audio"}
        for kind, name in files.items():
            place = f"{home}/{name}.mp4"
            with_tone(source.real(x), source.root / part / place, 110 + int(x if kind == "real" else y) % 220)
            entries[part].append(_entry(place, f"{home}/real.mp4", kind, frames, [], [[0.1, 0.4]]))
        for name, kind, longer in (
            ("fake_video_real_audio", "visual_modified", 0),
            ("fake_video_fake_audio", "both-modified", 3),
        ):
            place = f"{home}/{name}.mp4"
            periods, count = _forged(source, f"{part}/{place}", x, y, longer)
            # As in some of the authors' entries, the number of frames is wrong.
            entries[part].append(_entry(place, f"{home}/real.mp4", kind, count - bool(longer), periods, []))
    for part, listed in entries.items():
        _write_json(source.root / f"{part}_metadata.json", listed)


def _entry(
    file: str, original: str, kind: str, frames: int, seen: list[list[float]], heard: list[list[float]]
) -> dict[str, Any]:
    return {
        "file": file,
        "original": None if kind == "real" else original,
        "modify_type": kind,
        "visual_fake_segments": seen,
        "audio_fake_segments": heard if kind != "real" else [],
        "fake_segments": [] if kind == "real" else [*seen, *heard],
        "video_frames": frames,
    }


def _write_json(file: Path, value: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value, indent=1) + "\n")
