"""The demo in the layout of DFDC: videos with sound, and fakes of the sound alone."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import av
import numpy as np

from forgeprep.demo.source import Source, name_of

_PARTS = {"train": 0, "val": 35, "test": 40}
_RATE = 44100


def write_dfdc(source: Source) -> None:
    """Write ``dfdc_train_part_N`` with their ``metadata.json``; every split is one part."""
    entries: dict[str, dict[str, Any]] = defaultdict(dict)
    name = {person: name_of("real", person) for _, person in source.people}
    for split, person in source.people:
        folder = f"dfdc_train_part_{_PARTS[split]}"
        with_tone(source.real(person), source.root / folder / f"{name[person]}.mp4", _pitch(person))
        entries[folder][f"{name[person]}.mp4"] = {"label": "REAL", "split": "train"}
    for split, x, y in source.swaps:
        folder = f"dfdc_train_part_{_PARTS[split]}"
        fakes = {method: source.fake(method, x, y) for method in ("Deepfakes", "FaceSwap")}
        for method, file in fakes.items():
            fake = name_of("fake", method, x, y)
            with_tone(file, source.root / folder / f"{fake}.mp4", _pitch(x))
            source.put(source.truth(method, x, y), f"truth/{folder}/{fake}.npz")
            entries[folder][f"{fake}.mp4"] = {"label": "FAKE", "split": "train", "original": f"{name[x]}.mp4"}
    for split, a, b in source.pairs:
        # Another voice over the same pictures, which were only encoded once more.
        folder, fake = f"dfdc_train_part_{_PARTS[split]}", name_of("voice", a, b)
        with_tone(source.real(a), source.root / folder / f"{fake}.mp4", _pitch(b), again=True)
        entries[folder][f"{fake}.mp4"] = {"label": "FAKE", "split": "train", "original": f"{name[a]}.mp4"}
    for folder, named in entries.items():
        (source.root / folder / "metadata.json").write_text(json.dumps(named, indent=1) + "\n")


def _pitch(person: str) -> float:
    return 110.0 + int(person) % 220


def with_tone(file: Path, place: Path, pitch: float, *, again: bool = False) -> None:
    """Copy a video and give it a tone; with ``again`` its pictures are decoded and encoded once more."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(file)) as given, av.open(str(place), "w") as made:
        pictures = given.streams.video[0]
        seconds = float((pictures.duration or 0) * (pictures.time_base or 0))
        if again:
            options = {"crf": "23", "preset": "veryfast", "threads": "1", "x264-params": "mbtree=0"}
            video = made.add_stream("libx264", rate=pictures.average_rate, options=options)
            video.width, video.height, video.pix_fmt = pictures.width, pictures.height, "yuv420p"
            sound = made.add_stream("aac", rate=_RATE, layout="mono")
            for frame in given.decode(pictures):
                made.mux(video.encode(frame.reformat(format="yuv420p")))
            made.mux(video.encode())
        else:
            copied = made.add_stream_from_template(pictures)
            sound = made.add_stream("aac", rate=_RATE, layout="mono")
            for packet in given.demux(pictures):
                if packet.dts is not None:
                    packet.stream = copied
                    made.mux(packet)
        times = np.arange(int(seconds * _RATE)) / _RATE
        wave = (0.2 * np.sin(2 * np.pi * pitch * times)).astype(np.float32)
        for at in range(0, len(wave), 1024):
            piece = av.AudioFrame.from_ndarray(wave[None, at : at + 1024], format="fltp", layout="mono")
            piece.sample_rate, piece.pts = _RATE, at
            made.mux(sound.encode(piece))
        made.mux(sound.encode())
