"""Small trees with the lists of datasets, as they should be and not."""

from __future__ import annotations

from pathlib import Path

from forgeprep.datasets.celebdf import LIST
from tests.helpers.trees import put

MD5 = "0123456789abcdef0123456789abcdef"


def celebdf(root: Path, *lines: str) -> None:
    put(root, "Celeb-real/id0_0000.mp4", "Celeb-real/id1_0000.mp4", "YouTube-real/00001.mp4")
    put(root, "Celeb-synthesis/id0_id1_0000.mp4", "Celeb-synthesis/id1_id0_0000.mp4")
    (root / LIST).write_text("\n".join(lines) + "\n")


def dfdc(root: Path, text: str) -> None:
    put(root, "dfdc_train_part_0/aaaaaaaaaa.mp4", "dfdc_train_part_0/bbbbbbbbbb.mp4")
    (root / "dfdc_train_part_0" / "metadata.json").write_text(text)


def forgerynet(root: Path, kind: str, *lines: str) -> None:
    put(root, f"Training/image/train_release/16/{MD5}/frame00000.jpg")
    put(root, f"Training/video/train_video_release/16/{MD5}/video.mp4")
    (root / "Training" / f"{kind}_list.txt").write_text("\n".join(lines) + "\n")


REAL = f"train_release/16/{MD5}/frame00000.jpg"
