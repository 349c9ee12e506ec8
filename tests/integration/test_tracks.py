"""Tracks in runs and in real footage."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from forgeprep.faces.detectors import make_detector
from forgeprep.faces.search import find_faces
from forgeprep.faces.tracks import Survey
from forgeprep.media.regions import frame_rgb
from forgeprep.media.video import read_frames
from forgeprep.pipeline.configure import make_config
from forgeprep.pipeline.run import execute, prepare_run
from forgeprep.shards.read import iter_rows, shard_paths
from tests.conftest import UInt8, encode_video


def test_of_two_people_the_forged_one_is_told_by_its_difference(couple: Path, tmp_path: Path) -> None:
    """The larger face is left alone; the smaller one is forged, and it alone becomes a fake sample."""
    originals = "original_sequences/youtube/c23/videos"
    fakes = "manipulated_sequences/Deepfakes/c23/videos"

    def beside(left: Path, right: Path, to: str) -> None:
        pairs = islice(zip(read_frames(left), read_frames(right), strict=False), 30)
        both = (np.hstack([frame_rgb(a)[:, 40:440], frame_rgb(b)[30:330, 90:390][_TALL]]) for a, b in pairs)
        encode_video(tmp_path / "two" / to, both, crf=20)

    _TALL = np.linspace(0, 299, 360).astype(int)
    beside(couple / originals / "071.mp4", couple / originals / "054.mp4", f"{originals}/054.mp4")
    beside(couple / originals / "071.mp4", couple / fakes / "054_071.mp4", f"{fakes}/054_071.mp4")
    config = make_config("ffpp", {"stages": "crop,mask", "frames": "6"})
    prepared = prepare_run(config, tmp_path / "two", tmp_path / "out")
    execute(prepared, workers=0, report=lambda *_: None)
    rows = [row for path in shard_paths(tmp_path / "out") for row in iter_rows(path)]
    real = [row for row in rows if row["label"] == 0]
    fake = [row for row in rows if row["label"] == 1]
    assert {row["track_id"] for row in real} == {0, 1}
    assert len(fake) == 6
    assert all(row["crop_box"][0] > 380 for row in fake)
    import pyarrow.parquet as pq

    drops = pq.read_table(tmp_path / "out/meta/drops.pq").to_pylist()
    assert [d["reason"] for d in drops] == ["bystander"] * 6


@pytest.mark.real_data
def test_tracks_on_real_footage_do_not_jump(real_footage: Path) -> None:
    """Three cuts, a face partly covered by a hand and a microphone, a small face that is lost."""
    found = find_faces(read_frames(real_footage), make_detector("dlib-hog"))
    assert found.cuts == [20, 82, 211]
    assert accelerations(found).max() < 0.04, "in widths of the face"
    lives = [[i for i in found.frames if any(f.track_id == t for f in found.faces_at(i))] for t in range(found.tracks)]
    assert sum(map(len, lives)) > 180
    for life in lives:
        assert life == list(range(life[0], life[-1] + 1)), "a track id came back"
        assert not any(life[0] < cut <= life[-1] for cut in found.cuts), "a track goes on over a cut"
    # The singer's shot, from its first frame to its last.
    assert (82, 210) in {(life[0], life[-1]) for life in lives}


def accelerations(found: Survey) -> UInt8:
    """Second differences of box centres over three frames of a track, as shares of the box's width."""
    values = []
    for index in found.frames[1:-1]:
        before, now, after = ({f.track_id: f.box for f in found.faces_at(index + step)} for step in (-1, 0, 1))
        for track in before.keys() & now.keys() & after.keys():
            a, b, c = (
                np.array([box[0] + box[2], box[1] + box[3]]) / 2 for box in (before[track], now[track], after[track])
            )
            values.append(np.linalg.norm(a - 2 * b + c) / (now[track][2] - now[track][0]))
    return np.array(values)
