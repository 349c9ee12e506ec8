"""Faces in real footage, and pictures that are faces."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from forgeprep.faces.detectors import make_detector
from forgeprep.faces.search import find_faces
from forgeprep.media.regions import frame_rgb
from forgeprep.media.video import read_frames
from forgeprep.shards.read import iter_rows, shard_paths
from tests.conftest import SHARED, UInt8, encode_video, run_cli


def test_the_whole_picture_is_the_crop_where_it_is_the_face(tmp_path: Path, face_photo: UInt8) -> None:
    """For datasets that come as face crops: no face is looked for, and nothing is cut off or resized."""
    plain = np.full((90, 90, 3), 120, np.uint8)
    pictures = {"square": face_photo[40:168, 160:288], "plain": plain, "wide": face_photo[40:140, 150:310]}
    for name, picture in pictures.items():
        folder = tmp_path / "root" / "real"
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{name}.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    out = tmp_path / "out"
    command = ("run", "folder", "--root", str(tmp_path / "root"), "--out", str(out), "--stages", "crop")
    assert run_cli(*command, "--detector", "whole", "--workers", "0") == 0
    rows = {Path(row["clip_id"]).name: row for path in shard_paths(out) for row in iter_rows(path)}
    assert set(rows) == set(pictures)
    for name in ("square", "plain"):
        assert np.array_equal(rows[name]["image"], pictures[name])
    wide = rows["wide"]["image"]
    assert wide.shape == (160, 160, 3)
    assert np.array_equal(wide[30:130], pictures["wide"])
    assert not wide[:30].any()
    assert pq.read_table(out / "meta/drops.pq").num_rows == 0


@pytest.mark.real_data
@pytest.mark.skipif(not (SHARED / "footage").is_dir(), reason="no real footage here")
def test_faces_in_a_crowd_are_followed() -> None:
    """Shots of a crowd: many faces, each one track in its shot, none over a cut."""
    found = find_faces(read_frames(SHARED / "footage" / "dirtydancing.mp4"), make_detector("libfacedetection"))
    assert found.cuts == [82, 131, 194, 226]
    assert len(found.faces_at(152)) >= 10
    # The man alone in the first shot nods fast enough to leave his box behind.
    assert [[face.track_id for face in found.faces_at(i)] for i in range(82)] == [[0]] * 82
    for cut in found.cuts:
        before, after = ({face.track_id for face in found.faces_at(i)} for i in (cut - 1, cut))
        assert not before & after


@pytest.mark.real_data
def test_a_fist_is_no_face(real_footage: Path) -> None:
    """The detector is sure of it once in five times. The shot has 20 frames; more follow, so that its end is a cut."""
    found = find_faces(islice(read_frames(real_footage), 60), make_detector("libfacedetection"))
    assert [[face.track_id for face in found.faces_at(i)] for i in range(20)] == [[0, 1]] * 20


@pytest.mark.real_data
@pytest.mark.skipif(not (SHARED / "footage").is_dir(), reason="no real footage here")
def test_a_talking_head_is_one_track_in_every_frame() -> None:
    for name in ("lp_d12", "lp_d20", "lp_s13", "vr_5"):
        found = find_faces(read_frames(SHARED / "footage" / f"{name}.mp4"), make_detector("libfacedetection"))
        assert [[face.track_id for face in found.faces_at(i)] for i in found.frames] == [[0]] * len(found.frames), name


@pytest.mark.real_data
@pytest.mark.skipif(not (SHARED / "footage").is_dir(), reason="no real footage here")
def test_a_large_face_that_was_coded_again_is_no_fake(tmp_path: Path) -> None:
    """Strong compression smears a face of 260 pixels and leaves what stands still behind it: no forgery of a face."""
    frames = [frame_rgb(frame) for frame in islice(read_frames(SHARED / "footage" / "vr_3.mp4"), 24)]
    for name, crf in (("real/1", 23), ("fake/1", 40)):
        encode_video(tmp_path / f"in/{name}.mp4", frames, crf=crf, preset="medium", pix_fmt="yuv444p")
    out = tmp_path / "out"
    command = ("run", "folder", "--root", str(tmp_path / "in"), "--out", str(out), "--stages", "crop,mask")
    assert run_cli(*command, "--frames", "every:2", "--workers", "0") == 0
    (fake,) = (clip for clip in pq.read_table(out / "meta/clips.pq").to_pylist() if clip["label"])
    assert [guess["verdict"] for guess in fake["guesses"]] == ["no_visual_change"]


@pytest.mark.real_data
@pytest.mark.skipif(not (SHARED / "footage").is_dir(), reason="no real footage here")
def test_a_shift_is_found_whatever_frames_are_wanted(tmp_path: Path) -> None:
    """Where the camera stands still, six frames in forty look like those of the same number."""
    lines = ["path,label,original,method,split"]
    for name in ("lp_d13", "lp_d18"):
        frames = [
            np.asarray(cv2.resize(frame_rgb(frame), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)
            for frame in islice(read_frames(SHARED / "footage" / f"{name}.mp4"), 10, 80)
        ]
        lines.append(f"real/{name}.mp4,0,,,train")
        encode_video(tmp_path / f"in/real/{name}.mp4", frames[:45], crf=23, preset="medium", pix_fmt="yuv444p")
        for shift in (12, 25):
            fake = tmp_path / f"in/{shift}/{name}.mp4"
            encode_video(fake, frames[shift : shift + 45], crf=23, preset="medium", pix_fmt="yuv444p")
            lines.append(f"{shift}/{name}.mp4,1,real/{name}.mp4,{shift},train")
    (tmp_path / "in/manifest.csv").write_text("\n".join(lines) + "\n")
    out = tmp_path / "out"
    command = ("run", "manifest", "--root", str(tmp_path / "in"), "--out", str(out), "--stages", "crop")
    assert run_cli(*command, "--frames", "6", "--workers", "0") == 0
    fakes = [clip for clip in pq.read_table(out / "meta/clips.pq").to_pylist() if clip["label"]]
    assert [clip["offset"] for clip in fakes] == [-int(clip["method"]) for clip in fakes]
