"""What becomes of the faces of a video."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from forgeprep.errors import MediaError
from forgeprep.training.inference.annotate import FAKE, REAL, annotate, written_video
from forgeprep.training.inference.predict import tracks_of


def test_a_video_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    def break_off() -> None:
        with written_video(tmp_path / "a" / "x.mp4", 25.0) as add:
            add(np.zeros((33, 1, 3), np.uint8))
            raise MediaError("x.mp4", "breaks off")

    with pytest.raises(MediaError):
        break_off()
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


def test_what_is_tinted_follows_the_threshold() -> None:
    gray = np.full((60, 60, 3), 128, np.uint8)
    heat = np.full((40, 40), 102, np.uint8)  # 0.4 everywhere
    heat[:20] = 230
    low, high = (annotate(gray, [((10, 10, 50, 50), 0.5, heat)], 0.45, cut)[15:45, 15:45] for cut in (0.3, 0.5))
    assert (low[-1] != 128).any(axis=-1).all()
    assert (high[-1] == 128).all()
    assert np.abs(low[0].astype(int) - 128).sum() > np.abs(low[-1].astype(int) - 128).sum() > 0
    # The verdict's colour says fake or real; neither is a colour of right and wrong.
    boxes = [annotate(gray, [((10, 10, 50, 50), score, None)], 0.45)[50, 30].tolist() for score in (0.5, 0.4)]
    assert boxes == [list(FAKE), list(REAL)]


def test_the_most_suspicious_track_decides() -> None:
    faces = [{"track": t, "score": s} for t, s in [(0, 0.2), (1, 0.9), (0, 0.4), (1, 0.5), (0, 0.3)]]
    quiet, loud = tracks_of(faces, 0.6)
    assert quiet == {"track": 0, "score": pytest.approx(0.3), "fake": False, "frames": 3}
    assert loud == {"track": 1, "score": pytest.approx(0.7), "fake": True, "frames": 2}
