"""Faces that are settled while a clip is read are those of a survey of the whole clip, and each file is read once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forgeprep.faces import lookahead
from forgeprep.faces.detectors import Detection, FaceDetector
from forgeprep.faces.lookahead import frames_with_faces
from forgeprep.faces.search import find_faces
from forgeprep.faces.tracks import JUDGED, KEY_EVERY, Face, Survey
from forgeprep.media import video
from forgeprep.media.frames import Frame
from forgeprep.media.video import read_frames
from forgeprep.stages.crop.choice import PROBES, ProbeFrames
from tests.conftest import UInt8, encode_video

SURE, LIKELY, LEAST = 70.0, 45.0, 30.0


@st.composite
def shots(draw: st.DrawFn) -> tuple[list[Frame], FaceDetector]:
    """A clip of a few shots with lost frames, and a detector that sees a few faces in it, often not or faintly."""
    people = draw(st.lists(st.tuples(st.integers(0, 90), st.integers(5, 90), st.floats(0, 3)), min_size=1, max_size=4))
    doubt = draw(st.integers(0, 2**31))
    cuts = draw(st.sets(st.integers(1, 119), max_size=2))
    lost = draw(st.sets(st.integers(0, 119), max_size=12))
    bridge = draw(st.sampled_from([0, 1, 6]))
    frames = []
    for index in range(draw(st.integers(1, 120))):
        if index not in lost:
            bright = sum(cut <= index for cut in cuts) % 2
            plane = np.full((90, 160), 200 if bright else 20, np.uint8)
            plane[:: 2 + bright] //= 2
            frames.append(Frame(index, index / 25, (plane,), "gray", (0, 0), full_range=True))

    def find(frame: Frame, lines: int) -> list[Detection]:
        found = []
        for number, (start, length, speed) in enumerate(people):
            rng = np.random.default_rng([doubt, number, frame.index])
            if start <= frame.index < start + length and rng.random() < 0.8:
                x = 15 + 35 * number + speed * (frame.index - start) + rng.normal(0, 0.5)
                found.append(
                    Detection((x, 30.0, x + 20, 50.0), float(rng.choice([40, 55, 60, 80], p=[0.1, 0.3, 0.4, 0.2])))
                )
        return found

    detector = FaceDetector(
        find, coarse=90, fine=90, small=0, sure=SURE, likely=LIKELY, least=LEAST, bridge=bridge, smallest=0.1
    )
    return frames, detector


@given(clip=shots(), room=st.sampled_from([0, 20 * 160 * 90, lookahead.HELD_BYTES]))
@settings(deadline=None, max_examples=20)
def test_faces_are_the_same_whether_settled_on_the_way_or_at_the_end(
    clip: tuple[list[Frame], FaceDetector], room: int
) -> None:
    frames, detector = clip
    whole = find_faces(iter(frames), detector)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lookahead, "HELD_BYTES", room)
        found = Survey()
        seen = [(frame.index, faces) for frame, faces in frames_with_faces(lambda: iter(frames), detector, found)]
    assert [index for index, _ in seen] == [frame.index for frame in frames]
    if len(frames) > 1 or whole.tracks:
        assert [faces for _, faces in seen] == [whole.faces_at(frame.index) for frame in frames]
        assert (found.tracks, found.cuts) == (whole.tracks, whole.cuts)


def test_a_track_that_begins_in_doubt_begins_where_it_is_sure() -> None:
    """Eight faint detections are no face; what is sure behind them is one, and begins there."""
    faint = JUDGED * KEY_EVERY

    def find(frame: Frame, lines: int) -> list[Detection]:
        return [Detection((40.0, 30.0, 60.0, 50.0), 60.0 if frame.index < faint else 90.0)]

    detector = FaceDetector(find, coarse=90, fine=90, small=0, sure=SURE, likely=LIKELY, least=LEAST, bridge=1)
    plane = np.full((90, 160), 90, np.uint8)
    frames = [Frame(i, i / 25, (plane,), "gray", (0, 0), full_range=True) for i in range(faint + 31)]
    seen: dict[int, list[Face]] = {
        frame.index: faces for frame, faces in frames_with_faces(lambda: iter(frames), detector, Survey())
    }
    # Where a new track is, faces are looked for at every second frame.
    first = next(index for index, faces in seen.items() if faces)
    assert 2 * JUDGED <= first <= faint
    assert all(seen[index] for index in range(faint, faint + 31))
    assert not find_faces(iter(frames[: faint - 8]), detector).tracks


@given(end=st.integers(0, 400), with_face=st.sets(st.integers(0, 399)))
def test_probes_are_spread_and_caught_up_with(end: int, with_face: set[int]) -> None:
    probes = ProbeFrames(end)
    there = sorted(index for index in with_face if index < end)
    taken = [index for index in there if probes.take(index)]
    assert len(taken) <= PROBES
    if len(there) == end:
        assert len(taken) == min(PROBES, end)
        assert taken[:1] == ([0] if end > 1 else there)
    if len([index for index in there if index >= end - 1]) and len(taken) < PROBES:
        # What is left of the places stands behind the last face.
        assert probes.taken == len(taken)


def test_what_is_learned_of_a_file_comes_with_its_frames(face_photo: UInt8, tmp_path: Path) -> None:
    encode_video(tmp_path / "a.mp4", [face_photo[:120, :160]] * 5)
    learned = video.Learned()
    assert len(list(read_frames(tmp_path / "a.mp4", learned))) == 5
    assert learned.fps == video.read_rate(tmp_path / "a.mp4")
    assert learned.facts == video.read_facts(tmp_path / "a.mp4")
    assert learned.sha256 == video.sha256_of(tmp_path / "a.mp4")


def test_a_picture_too_large_to_be_held_is_searched_again_like_a_small_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second search averages noise out: here the detector sees the face at few lines only."""
    plane = np.full((300, 300), 90, np.uint8)
    picture = Frame(0, 0.0, (plane,), "gray", (0, 0), full_range=True)

    def find(frame: Frame, lines: int) -> list[Detection]:
        return [Detection((100.0, 100.0, 200.0, 200.0), 90.0)] if lines <= 30 else []

    detector = FaceDetector(find, coarse=90, fine=90, small=0, sure=SURE, likely=LIKELY, least=LEAST, bridge=1)
    for room in (lookahead.HELD_BYTES, 1000):
        monkeypatch.setattr(lookahead, "HELD_BYTES", room)
        (seen,) = frames_with_faces(lambda: iter([picture]), detector, Survey())
        assert len(seen[1]) == 1
