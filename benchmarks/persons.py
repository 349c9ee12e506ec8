"""How surely tracks are told to be one person's (``forgeprep/faces/persons.py``).

    python benchmarks/persons.py TALKING_HEADS …

Of each clip, the longest track in its first and its last third is as two shots of one camera: one person. Tracks of
different clips, and those of one clip that are seen at the same moment, are different persons. Every tenth frame of
the first 400 is looked at.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import cv2

from forgeprep.faces.appearance import Look, look_at
from forgeprep.faces.detectors import make_detector
from forgeprep.faces.lookahead import frames_with_faces
from forgeprep.faces.persons import LOOKS, SAME_PERSON, likeness, thinned
from forgeprep.faces.tracks import Survey
from forgeprep.media.video import read_frames

EVERY, FRAMES = 10, 400
Seen = dict[int, dict[int, Look]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path)
    cv2.setNumThreads(1)
    clips = {clip.stem: tracks_of(clip) for clip in parser.parse_args().clips}
    longest = {name: list(max(tracks.values(), key=len).values()) for name, tracks in clips.items()}
    heads = {name: looks for name, looks in longest.items() if len(clips[name]) == 1}
    same = {name: odds_of(looks[: len(looks) // 3], looks[-(len(looks) // 3) :]) for name, looks in heads.items()}
    other = {f"{a} {b}": odds_of(longest[a], longest[b]) for a, b in itertools.combinations(heads, 2)}
    for name, tracks in clips.items():
        pairs = [(a, b) for a, b in itertools.combinations(tracks, 2) if tracks[a].keys() & tracks[b].keys()]
        other |= {f"{name} {a} {b}": odds_of(list(tracks[a].values()), list(tracks[b].values())) for a, b in pairs}
    for title, found in (("one person", same), ("different persons", other)):
        taken = sum(value >= SAME_PERSON for value in found.values())
        print(f"{title}: {taken} of {len(found)} pairs are told to be one person's")
        for name, value in sorted(found.items(), key=lambda item: -item[1])[:15]:
            print(f"    {value:6.1f}  {name}")


def odds_of(a: list[Look], b: list[Look]) -> float:
    return likeness(thinned(a, LOOKS), thinned(b, LOOKS))


def tracks_of(clip: Path) -> Seen:
    """Track -> frame -> look."""
    found: Seen = {}
    for frame, faces in frames_with_faces(lambda: read_frames(clip), make_detector("libfacedetection"), Survey()):
        if frame.index >= FRAMES:
            break
        for face in faces if frame.index % EVERY == 0 else ():
            found.setdefault(face.track_id, {})[frame.index] = look_at(frame, face.box)
    return found


if __name__ == "__main__":
    main()
