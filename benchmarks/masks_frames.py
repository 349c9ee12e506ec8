"""How good the masks are where a dataset holds folders of pictures, taken out of clips at every so many frames.

    python benchmarks/masks_frames.py ../shared/data/footage --clips lp_d13 lp_d20 vr_3 --every 3 8 23

Forgeries, truths and figures are those of ``masks_real.py``. Clips are coded, decoded, and some of their frames written
as PNG, as people extract them once and for all. The less there are, the less time averages coding noise out.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import cv2
from forgeries import WAYS
from masks_real import evaluate, load_shots, make_tree, print_confidence, print_row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("footage", type=Path, help="a folder of talking heads")
    parser.add_argument("--clips", nargs="*", help="stems of the clips that are forged; the others lend faces")
    parser.add_argument("--only", nargs="*", default=["c23", "c40"], help="codings")
    parser.add_argument("--every", type=int, nargs="*", default=[3, 8, 23], help="which frames are taken")
    given = parser.parse_args()
    shots = load_shots(given.footage)
    with tempfile.TemporaryDirectory() as folder:
        clips = Path(folder, "clips")
        clips.mkdir()
        names = given.clips or [shot.name for shot in shots]
        truths = make_tree(clips, shots, names, given.only, 0)
        for every in given.every:
            pictures = Path(folder, str(every))
            extract(clips, pictures, every)
            measure(pictures, given.only, {key: truth[::every] for key, truth in truths.items()}, every)


def extract(clips: Path, pictures: Path, every: int) -> None:
    """Write every so many frames of all clips as PNG, numbered in a row, and the lists that name their folders."""
    for clip in clips.glob("*/*/*.mp4"):
        folder = (pictures / clip.relative_to(clips)).with_suffix("")
        folder.mkdir(parents=True)
        with av.open(str(clip)) as container:
            for number, frame in enumerate(container.decode(video=0)):
                if number % every == 0:
                    cv2.imwrite(str(folder / f"{number // every:04d}.png"), frame.to_ndarray(format="bgr24"))
    for table in clips.glob("*.csv"):
        (pictures / table.name).write_text(table.read_text().replace(".mp4", ""))


def measure(pictures: Path, codings: Sequence[str], truths: dict[tuple[str, str], Any], every: int) -> None:
    """Print the figures of all codings."""
    everything: list[dict[str, Any]] = []
    for name in codings:
        found, lost, none = evaluate(pictures, name, truths)
        forged = [one for one in found if one["way"] in WAYS]
        everything += forged
        print_row(f"{name}, every {every}.", forged, sum(lost[way] for way in WAYS), sum(none[way] for way in WAYS))
        kept = len(found) - len(forged)
        print(f"  nothing: {kept} of {none['nothing'] + kept} samples kept")
    print_confidence(everything)


if __name__ == "__main__":
    main()
