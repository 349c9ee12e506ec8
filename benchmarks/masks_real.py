"""How good the masks are on real footage, forged here in eight ways with known truth.

    python benchmarks/masks_real.py ../shared/data/footage --clips lp_d11 lp_d13 lp_d19 lp_d20 lp_s13 vr_3
    python benchmarks/masks_real.py ../shared/data/footage --clips lp_d11 lp_d13 lp_d19 vr_3 --faces 210 450
    python benchmarks/masks_real.py ../shared/data/footage --clips lp_d12 lp_d20 lp_s29 --only c23 --close 1.2

Talking heads are forged (``forgeries.py``), coded like the real datasets, run through ``forgeprep run manifest``, and
compared with the pixels that the forgery rewrote. Codings: c0 (lossless), c23, c40, c23 against an original at c40, all
yuv444p, and c23 in yuv420p. Clips are scaled down so that faces have a size in the range of ``--faces``; none is
enlarged, so name clips whose own faces are large enough. Printed for each way and coding:

* IoU, mean over samples; a forged face that is dropped, for whatever reason, counts as 0, and so does a mask where
  nothing was forged (no face at all, taken for one). That such a crop gives no sample is right: it counts as ``none``;
* the share of masks with IoU under .5, how many samples were lost, and how many rightly gave none;
* stray: pixels of the mask outside the true region widened by 10 % of the crop, as a share of the crop;
* boundary: F-score of the outline within 2 % of the crop's side;
* stable: IoU of the masks of neighbouring frames, less that of their truths;
* the same IoU for the ways of the peers: a fixed threshold on the gray difference, and 1 - SSIM.

Then how the confidence ranks (masks with IoU under .5 in its lowest quarter), how far it is from the IoU on average,
and how many masks that the report calls doubtful are bad. Originals against their own re-encoding, by fast presets of
x264 too, are run as fakes: of these, ``nothing``, no sample should be kept.
"""

from __future__ import annotations

import argparse
import csv
import io
import itertools
import tempfile
import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pyarrow.parquet as pq
from forgeries import WAYS, Shot, Target, forge, landmarks_model, lent_expression, style_of

from forgeprep.media.frames import Frame, UInt8
from forgeprep.media.video import VIDEO_SUFFIXES, read_frames
from forgeprep.pipeline.configure import make_config
from forgeprep.pipeline.run import execute, prepare_run
from forgeprep.report.signs import SIGNS, signs_of
from forgeprep.shards.read import iter_rows, shard_paths

FRAMES, SKIPPED = 24, 10
FACES = 110, 210
"""Sides in pixels of dlib's boxes, as in many clips of FaceForensics++."""


@dataclass(frozen=True, slots=True)
class Coding:
    """x264's quality, FFmpeg's pixel format, x264's preset."""

    crf: int
    pixel_format: str = "yuv444p"
    preset: str = "medium"


CODINGS = {"c0": Coding(0), "c23": Coding(23), "c40": Coding(40), "c23/420": Coding(23, "yuv420p")}
FAST = {f"c23/{preset}": Coding(23, preset=preset) for preset in ("veryfast", "ultrafast")}
"""Codings of originals only."""
PAIRED = {
    "c0": ("c0", "c0"),
    "c23": ("c23", "c23"),
    "c40": ("c40", "c40"),
    "c23/c40": ("c23", "c40"),
    "c23/420": ("c23/420", "c23/420"),
}
"""Coding of the fake and of its original."""
NULLS = (("c23", "c40"), ("c40", "c23"), ("c23", "c23/420"), ("c23/veryfast", "c23"), ("c23/ultrafast", "c23"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("footage", type=Path, help="a folder of talking heads")
    parser.add_argument("--clips", nargs="*", help="stems of the clips that are forged; the others lend faces")
    parser.add_argument("--only", nargs="*", default=list(PAIRED), help="codings")
    parser.add_argument("--faces", nargs=2, type=int, default=FACES, help="least and largest side in pixels")
    parser.add_argument("--close", type=float, help="cut the pictures down to so many times the face's side")
    parser.add_argument("--draw", type=int, default=0, help="another number gives other forgeries")
    parser.add_argument("--keep", type=Path, help="where the clips and runs stay")
    given = parser.parse_args()
    shots = load_shots(given.footage, faces=tuple(given.faces), close=given.close)
    names = given.clips or [shot.name for shot in shots]
    print("faces of", ", ".join(f"{shot.name} {shot.side:.0f} px" for shot in shots if shot.name in names))
    with tempfile.TemporaryDirectory() as folder:
        root = given.keep or Path(folder)
        truths = make_tree(root, shots, names, given.only, given.draw)
        everything: list[dict[str, Any]] = []
        print(
            f"{'':22}{'n':>5}{'IoU':>7}{'<.5 %':>7}{'lost':>6}{'none':>6}{'stray %':>9}{'border':>8}{'stable':>8}"
            f"{'fixed':>7}{'SSIM':>7}"
        )
        for name in given.only:
            found, lost, none = evaluate(root, name, truths)
            everything += [one for one in found if one["way"] in WAYS]
            for way in WAYS:
                print_row(f"{name} {way}", [one for one in found if one["way"] == way], lost[way], none[way])
            forged = [one for one in found if one["way"] in WAYS]
            print_row(f"{name} all", forged, sum(lost[way] for way in WAYS), sum(none[way] for way in WAYS))
            kept = len(found) - len(forged)
            print(f"  nothing: {kept} of {none['nothing'] + kept} samples kept")
        print_confidence(everything)


def load_shots(
    footage: Path,
    names: Sequence[str] | None = None,
    skipped: int = SKIPPED,
    faces: tuple[int, int] = FACES,
    most: float = 1.0,
    close: float | None = None,
) -> list[Shot]:
    """Frames of each clip after the first few, with landmarks, scaled so that faces have sides in a range of pixels; by
    ``most`` at most. With ``close``, they are cut down to so many times the first face's side.
    """
    import dlib

    find, fit = dlib.get_frontal_face_detector(), landmarks_model()
    shots = []
    for clip in sorted(file for file in footage.iterdir() if file.suffix in VIDEO_SUFFIXES):
        if names and clip.stem not in names:
            continue
        with av.open(str(clip)) as container:
            frames = []
            for number, picture in enumerate(container.decode(video=0)):
                if number >= skipped:
                    frames.append(np.asarray(picture.to_ndarray(format="bgr24", interpolation="BICUBIC"), np.uint8))
                if len(frames) == FRAMES:
                    break
        shot = _shot(clip.stem, frames, faces, most, close, find, fit)
        if shot is not None:
            shots.append(shot)
    return shots


def _shot(
    name: str,
    frames: list[UInt8],
    faces: tuple[int, int],
    most: float,
    close: float | None,
    find: Any,
    fit: Any,
) -> Shot | None:
    def face(frame: UInt8) -> Any:
        gray = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
        return max(find(gray, 0) or find(gray, 1), key=lambda box: box.area(), default=None)

    first = face(frames[0])
    if first is None or len(frames) < FRAMES:
        return None
    if close is not None:
        half, middle = round(close * first.width() / 2), first.center()
        rows, columns = (slice(max(0, at - half), at + half) for at in (middle.y - round(0.16 * half), middle.x))
        frames = [np.ascontiguousarray(frame[rows, columns]) for frame in frames]
    scale = min(most, np.random.default_rng(zlib.crc32(name.encode())).uniform(*faces) / first.width())
    size = round(frames[0].shape[1] * scale / 2) * 2, round(frames[0].shape[0] * scale / 2) * 2
    how = cv2.INTER_AREA if scale <= 1 else cv2.INTER_CUBIC
    frames = [np.asarray(cv2.resize(frame, size, interpolation=how), np.uint8) for frame in frames]
    points, last = [], None
    for frame in frames:
        last = face(frame) or last
        if last is None:
            return None
        shape = fit(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), last)
        points.append([[shape.part(i).x, shape.part(i).y] for i in range(68)])
    wide = np.pad(np.array(points, np.float32), ((2, 2), (0, 0), (0, 0)), mode="edge")
    smooth = sum(weight * wide[at : at + len(points)] for at, weight in enumerate((1, 2, 3, 2, 1))) / np.float32(9)
    return Shot(name, 25.0, frames, np.asarray(smooth, np.float32), scale * first.width())


def forged_clip(way: str, shots: Sequence[Shot], number: int, draw: int = 0) -> tuple[list[UInt8], list[Any]]:
    """A clip's frames forged in one way, with another clip's face; and what was rewritten, bool (H, W) each."""
    target = shots[number]
    rng = np.random.default_rng(zlib.crc32(f"{target.name}/{way}".encode()) + draw)
    others = [shot for shot in shots if shot is not target]
    source = others[int(rng.integers(len(others)))]
    style = style_of(way, rng)
    frames, truths = [], []
    for at, (frame, points) in enumerate(zip(target.frames, target.points, strict=True)):
        lent = lent_expression(source.points[at], source.points[0], points)
        made, truth = forge(
            way, Target(frame, points, source.frames[at], source.points[at], lent, at / target.fps), style
        )
        frames.append(made)
        truths.append(truth)
    return frames, truths


def write(path: Path | io.BytesIO, frames: Sequence[UInt8], coding: Coding) -> None:
    """Code BGR frames as H.264."""
    with av.open(path if isinstance(path, io.BytesIO) else str(path), "w", format="mp4") as container:
        options = {"crf": str(coding.crf), "preset": coding.preset, "threads": "1", "x264-params": "mbtree=0"}
        stream = container.add_stream("libx264", rate=25, options=options)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = coding.pixel_format
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="bgr24")))
        container.mux(stream.encode())


def code(frames: Sequence[UInt8], coding: Coding) -> list[Frame]:
    """Frames as they are after coding and decoding."""
    with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
        write(Path(file.name), frames, coding)
        return [
            Frame(
                f.index, f.time_s, tuple(p.copy() for p in f.planes), f.model, f.shift, f.bits, f.matrix, f.full_range
            )
            for f in read_frames(Path(file.name))
        ]


def make_tree(
    root: Path, shots: list[Shot], names: Sequence[str], codings: Sequence[str], draw: int
) -> dict[tuple[str, str], Any]:
    """Write clips and a manifest for each pair of codings; returns (clip, way) -> truth, bool (frames, H, W)."""
    truths: dict[tuple[str, str], Any] = {}
    wanted = {coding for name in codings for coding in PAIRED[name]} | {c for pair in NULLS for c in pair}
    for number, shot in enumerate(shots):
        if shot.name not in names:
            continue
        made = {way: forged_clip(way, shots, number, draw) for way in WAYS}
        for coding in wanted:
            for way, frames in {"original": shot.frames, **{way: made[way][0] for way in WAYS}}.items():
                if way != "original" and coding in FAST:
                    continue
                file = root / coding.replace("/", "-") / way / f"{shot.name}.mp4"
                file.parent.mkdir(parents=True, exist_ok=True)
                write(file, frames, (CODINGS | FAST)[coding])
        truths |= {(shot.name, way): np.stack(made[way][1]) for way in WAYS}
    kept = [shot.name for shot in shots if shot.name in names]
    for name in codings:
        fake, original = (coding.replace("/", "-") for coding in PAIRED[name])
        rows = []
        for clip in kept:
            real = f"{original}/original/{clip}.mp4"
            rows.append((real, 0, "", "", "train"))
            rows += [(f"{fake}/{way}/{clip}.mp4", 1, real, way, "train") for way in WAYS]
            rows += [
                (f"{other.replace('/', '-')}/original/{clip}.mp4", 1, real, "nothing", "train")
                for other, own in NULLS
                if own.replace("/", "-") == original
            ]
        with (root / f"{name.replace('/', '-')}.csv").open("w", newline="") as table:
            csv.writer(table).writerows([("path", "label", "original", "method", "split"), *rows])
    return truths


def evaluate(
    root: Path, name: str, truths: dict[tuple[str, str], Any]
) -> tuple[list[dict[str, Any]], dict[str, int], dict[str, int]]:
    """Run crop and mask over one manifest; returns figures of the samples, and how many of each way are missing: forged
    ones that were lost, and crops that show nothing forged.
    """
    with tempfile.TemporaryDirectory() as folder:
        values = {"stages": "crop,mask", "frames": "all", "options": {"file": f"{name.replace('/', '-')}.csv"}}
        out = Path(folder, "out")
        failed = execute(
            prepare_run(make_config("manifest", values), root, out), workers=0, report=lambda *_: None
        ).failed
        assert not failed, failed
        rows = [row for path in shard_paths(out) for row in iter_rows(path)]
        drops = pq.read_table(out / "meta/drops.pq").to_pylist()
    reals = {(row["source_id"], row["track_id"], row["frame_index"]): row for row in rows if not row["original_id"]}
    lost: dict[str, int] = defaultdict(int)
    none: dict[str, int] = defaultdict(int)
    for drop in drops:
        way = _way(drop["clip_id"])
        real = reals.get((drop["source_id"], drop["track_id"], drop["frame_index"]))
        truth = truths.get((Path(drop["clip_id"]).name, way))
        forged = truth is not None and (real is None or _cut(truth[drop["frame_index"]], real["crop_box"]).any())
        (lost if forged else none)[way] += 1
    found = []
    for row in rows:
        way = _way(row["clip_id"])
        if row["original_id"] and row["label"]:
            truth = truths.get((Path(row["clip_id"]).name, way))
            shown = np.zeros(row["frame_size"][::-1], bool) if truth is None else truth[row["frame_index"]]
            real = reals.get((row["source_id"], row["track_id"], row["original_frame"]))
            image = None if real is None else real["image"]
            found.append(measure(row, shown, image) | {"way": way})
        elif row["original_id"]:
            lost[way] += 1
    return found, lost, none


def _way(clip_id: str) -> str:
    return next((part for part in clip_id.split("/") if part in WAYS), "nothing")


def measure(row: dict[str, Any], frame_truth: Any, original: UInt8 | None) -> dict[str, Any]:
    truth = _cut(frame_truth, row["crop_box"])
    mask = row["mask"] > 0
    reach = 2 * round(0.1 * len(mask)) + 1
    wide = cv2.dilate(truth.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))) > 0
    peers = (np.nan, np.nan) if original is None else tuple(iou(one, truth) for one in _peers(row["image"], original))
    size = (160, 160)
    return {
        "clip": row["clip_id"],
        "frame": row["frame_index"],
        "iou": iou(mask, truth),
        "stray": float(np.mean(mask & ~wide)),
        "border": _boundary(mask, truth),
        "confidence": row["mask_confidence"],
        "signs": signs_of([row])[0][1].beyond,
        "small": cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.5,
        "truth": cv2.resize(truth.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.5,
        "peers": peers,
    }


def _cut(frame_truth: Any, box: tuple[int, int, int, int]) -> Any:
    """A frame's truth in a crop, bool (H, W); nothing outside the frame."""
    x0, y0, x1, y1 = box
    into = np.array([[1, 0, -x0], [0, 1, -y0]], np.float32)
    return cv2.warpAffine(frame_truth.astype(np.uint8), into, (x1 - x0, y1 - y0)) > 0


def iou(a: Any, b: Any) -> float:
    """Intersection over union, 1 for two empty masks."""
    either = int(np.count_nonzero(a | b))
    return int(np.count_nonzero(a & b)) / either if either else 1.0


def _boundary(mask: Any, truth: Any) -> float:
    """F-score of the outlines' pixels that lie within 2 % of the side of each other."""
    lines = [
        cv2.morphologyEx(one.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((2, 2), np.uint8)) > 0
        for one in (mask, truth)
    ]
    reach = 2 * max(1, round(0.02 * len(mask))) + 1
    near = [cv2.dilate(line.astype(np.uint8), np.ones((reach, reach), np.uint8)) > 0 for line in lines]
    hits = [np.mean(near[1 - i][lines[i]]) if lines[i].any() else 0.0 for i in (0, 1)]
    return float(2 * hits[0] * hits[1] / (hits[0] + hits[1])) if sum(hits) else 0.0


def _peers(fake: UInt8, original: UInt8) -> tuple[Any, Any]:
    """A gray difference above a tenth of the range, and 1 - SSIM above .5."""
    from skimage.metrics import structural_similarity

    a, b = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (fake, original))
    _, similarity = structural_similarity(a, b, full=True)
    return cv2.absdiff(a, b) > 25, similarity < 0.5


def print_row(name: str, found: list[dict[str, Any]], lost: int, none: int) -> None:
    if not found:
        print(f"{name:22}{lost:5}  all lost")
        return
    total = len(found) + lost
    found = sorted(found, key=lambda one: (one["clip"], one["frame"]))
    pairs = [(a, b) for a, b in itertools.pairwise(found) if (a["clip"], a["frame"] + 1) == (b["clip"], b["frame"])]
    stable = np.mean([iou(a["small"], b["small"]) - iou(a["truth"], b["truth"]) for a, b in pairs]) if pairs else np.nan
    fixed, ssim = np.nanmean([one["peers"] for one in found], axis=0)
    print(
        f"{name:22}{total:5}{sum(one['iou'] for one in found) / total:7.3f}"
        f"{100 * (sum(one['iou'] < 0.5 for one in found) + lost) / total:7.1f}{lost:6}{none:6}"
        f"{100 * np.mean([one['stray'] for one in found]):9.2f}{np.mean([one['border'] for one in found]):8.2f}"
        f"{stable:8.3f}{fixed:7.2f}{ssim:7.2f}"
    )


def print_confidence(found: list[dict[str, Any]]) -> None:
    bad = [one for one in found if one["iou"] < 0.5]
    lowest = sorted(found, key=lambda one: one["confidence"])[: len(found) // 4]
    caught = sum(one["iou"] < 0.5 for one in lowest)
    print(f"{caught} of {len(bad)} masks with IoU < .5 are in the quarter of lowest confidence")
    print(
        f"confidence is {np.mean([abs(one['confidence'] - one['iou']) for one in found]):.3f} from the IoU on average"
    )
    for sign in SIGNS:
        beyond = [one["iou"] for one in found if sign in one["signs"]]
        wrong = sum(iou < 0.5 for iou in beyond)
        print(
            f"{sign}: of {len(beyond)} masks beyond its level {wrong} have IoU < .5; of {len(found)} in all {len(bad)}"
        )


if __name__ == "__main__":
    main()
