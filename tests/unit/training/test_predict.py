"""What becomes of the faces of a video."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from forgeprep.errors import MediaError
from forgeprep.training.inference.annotate import written_video
from forgeprep.training.inference.predict import tracks_of


def test_a_video_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    def break_off() -> None:
        with written_video(tmp_path / "a" / "x.mp4", 25.0) as add:
            add(np.zeros((33, 1, 3), np.uint8))
            raise MediaError("x.mp4", "breaks off")

    with pytest.raises(MediaError):
        break_off()
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


def test_the_most_suspicious_track_decides() -> None:
    faces = [{"track": t, "score": s} for t, s in [(0, 0.2), (1, 0.9), (0, 0.4), (1, 0.5), (0, 0.3)]]
    quiet, loud = tracks_of(faces, 0.6)
    assert quiet == {"track": 0, "score": pytest.approx(0.3), "fake": False, "frames": 3}
    assert loud == {"track": 1, "score": pytest.approx(0.7), "fake": True, "frames": 2}
