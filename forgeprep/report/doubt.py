"""Which methods have masks that are likely wrong, by the value columns and the masks of some samples."""

from __future__ import annotations

import hashlib
import heapq
import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from forgeprep.errors import VerifyError
from forgeprep.ops.geometry import Matrix, inverse, matrix_of_row, through
from forgeprep.report.choose import Group, group_of
from forgeprep.shards.encode import decode_image
from forgeprep.shards.random_access import Place, iter_values, read_at
from forgeprep.shards.records import iter_records
from forgeprep.shards.sequences import MARK, is_sequence, split_frames

COLUMNS = (
    "sample_id", "clip_id", "track_id", "frame_index", "timestamp_s", "label", "method", "compression", "face_box",
    "crop_box", "crop_matrix", "mask_source", "mask_confidence", "mask_agreement", MARK, "padded",
)  # fmt: skip
"""The columns that :meth:`Doubts.add` uses."""

BAD = 0.5
"""A mask with an IoU below this is bad: it shares less than half with the truth. Confidence predicts that IoU."""
LOW_SHARE = 0.2
"""A larger share of low confidences is a sign. Of good masks fewer than 3 in 100 are bad, so one in five is no
accident, even with few masks and a rough confidence."""
UNSTEADY = 0.7
"""Masks jump where the median IoU of neighbours, both moved with the face, is below this. Difference masks have .82 and
more on the demo (the lowest are those of a moving mouth at c40), and .94 and more on real heads at c40. A fixed
threshold of 25 gives .67 and less on the demo, but up to .87 on real heads where the whole face was swapped."""
NEAR_S = 1.0
"""Frames further apart, in seconds, are not neighbours. 32 frames spread over half a minute are a second apart."""
MOST_REGIONS = 3
"""Two eyes and a mouth; a mask with more pieces is scattered."""
FAR = 0.5
"""A mask lies off the face if its middle is further from that of the face box, in sides of the box."""
STRAY_SHARE = 0.2
"""A larger share of stray masks is a sign: single masks may have specks."""
APART_SHARE = 0.5
"""A larger share of bad IoUs is a sign. It is a majority, because datasets draw their own masks differently and literal
masks include noise."""
EVEN = 128
"""The level of ``difference`` at which a pixel is as likely forged as not."""
AGREED = 0.7
"""A method whose masks share a lower mean IoU with the dataset's own is shown in the report."""
LEAST_MASKS = 8
"""A method with fewer masks is not examined."""

LOOKED_AT = 240
"""How many masks are decoded over all groups, each with its neighbour if it has one."""
SHARDS = 40
"""How many shards ``inspect`` reads, spread over the run; the report reads all."""

_GRID = 64
_REACH = 1.0
"""Masks are compared on a grid of _GRID x _GRID pixels, which reaches _REACH sides of the face box from its middle."""
_CANDIDATES = 64
_LEAST_PIECE = 0.001

Bool = npt.NDArray[np.bool_]


class Spot(NamedTuple):
    """Where to find a mask: its row, its frame in a sequence, its time, its boxes, and whether it is literal."""

    place: Place
    number: int | None
    time_s: float
    face_box: tuple[float, ...]
    crop_box: tuple[int, ...]
    crop_matrix: tuple[float, ...] | None
    literal: bool

    def matrix(self, mask: npt.NDArray[np.uint8]) -> Matrix:
        """From the frame to its mask."""
        size = mask.shape[1], mask.shape[0]
        return matrix_of_row({"crop_matrix": self.crop_matrix, "crop_box": self.crop_box, "image_size": size})


@dataclass(slots=True)
class Tally:
    """Figures of a group.

    Attributes:
        masks: all masks of fakes.
        rated, low: those that have a confidence, and those of them with a low one.
        compared, disagreeing: those compared with the dataset's own, and those of them with a bad IoU.
        agreed: the sum of their IoU.
        spots: an even draw of masks, as (sort key, name, mask, its neighbour or None).
    """

    masks: int = 0
    rated: int = 0
    low: int = 0
    compared: int = 0
    disagreeing: int = 0
    agreed: float = 0.0
    spots: list[tuple[int, str, Spot, Spot | None]] = field(default_factory=list)


class Doubts:
    """Collects figures sample by sample; memory grows with the number of methods only."""

    def __init__(self) -> None:
        self.groups: dict[Group, Tally] = defaultdict(Tally)
        self._last: dict[tuple[str, int], Spot] = {}
        self._path: Path | None = None

    def add(self, place: Place, row: dict[str, Any]) -> None:
        """Count a row with the columns of :data:`COLUMNS` that the run has; rows without masks are ignored."""
        if row.get("mask_source") is None:
            return
        if place.path != self._path:
            self._path, self._last = place.path, {}
        if is_sequence(row):
            frames = split_frames(row)
            for number, frame in enumerate(frames[: len(frames) - row["padded"]]):
                self._add_frame(place, number, frame)
        else:
            self._add_frame(place, None, row)

    def _add_frame(self, place: Place, number: int | None, row: dict[str, Any]) -> None:
        if row["mask_source"] not in ("difference", "literal", "provided") or not row["label"]:
            return
        tally = self.groups[group_of(row)]
        tally.masks += 1
        if row.get("mask_agreement") is not None:
            tally.compared += 1
            tally.disagreeing += row["mask_agreement"] < BAD
            tally.agreed += row["mask_agreement"]
        # The shape of the dataset's own masks is not examined.
        if row["mask_source"] == "provided":
            return
        if row.get("mask_confidence") is not None:
            tally.rated += 1
            tally.low += row["mask_confidence"] < BAD
        boxes, literal = (tuple(row["face_box"]), tuple(row["crop_box"])), row["mask_source"] == "literal"
        matrix = None if row.get("crop_matrix") is None else tuple(row["crop_matrix"])
        # A folder of pictures has no times: NaN is near to nothing.
        time_s = math.nan if row["timestamp_s"] is None else row["timestamp_s"]
        spot = Spot(place, number, time_s, *boxes, matrix, literal)
        track = row["clip_id"], row["track_id"]
        before, self._last[track] = self._last.get(track), spot
        near = before if before is not None and 0 < spot.time_s - before.time_s <= NEAR_S else None
        # The smallest hashes are an even draw that needs neither total nor order.
        name = f"{row['clip_id']}/{row['track_id']}/{row['frame_index']}"
        entry = -int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest()), name, spot, near
        if len(tally.spots) < _CANDIDATES:
            heapq.heappush(tally.spots, entry)
        elif entry[0] > tally.spots[0][0]:
            heapq.heapreplace(tally.spots, entry)

    def found(self) -> dict[Group, str]:
        """A line for each group whose masks are likely wrong; decodes the masks of some samples."""
        counted = {group: tally for group, tally in sorted(self.groups.items()) if tally.masks >= LEAST_MASKS}
        share = max(4, LOOKED_AT // max(1, len(counted)))
        found = {}
        for group, tally in counted.items():
            name = group.name
            signs = _signs(tally, sorted(tally.spots, reverse=True)[:share])
            apart = tally.compared >= LEAST_MASKS and tally.disagreeing > APART_SHARE * tally.compared
            told = f"{_percent(tally.disagreeing, tally.compared)} share an IoU under {_point(BAD)}" if apart else ""
            if signs:
                signs += [f"{told} with the dataset's own"] if apart else []
                found[group] = f"Masks of {name} are likely wrong: {'; '.join(signs)}; look at the contact sheet"
            elif apart:
                # There is no other sign, and the dataset's own masks may be sparse, or boxes.
                found[group] = (
                    f"Masks of {name} and the dataset's own disagree: {told}, so one of the two is wrong or means "
                    "another region; look at the contact sheet"
                )
        return found

    def agreements(self) -> dict[Group, float]:
        """The mean IoU with the dataset's own masks, of the groups that are examined and have such."""
        return {
            group: tally.agreed / tally.compared
            for group, tally in sorted(self.groups.items())
            if tally.compared >= LEAST_MASKS
        }


def doubts_of(out: Path) -> list[str]:
    """The lines of :class:`Doubts` from at most ``SHARDS`` shards; unreadable shards are left to ``verify``."""
    doubts = Doubts()
    paths = list(_shards(out))
    for turn in range(min(SHARDS, len(paths))):
        try:
            for place, row in iter_values(paths[turn * len(paths) // min(SHARDS, len(paths))], COLUMNS):
                doubts.add(place, row)
        except (VerifyError, KeyError):
            continue
    return list(doubts.found().values())


def _shards(out: Path) -> Iterator[Path]:
    for _, record in iter_records(out):
        files = [out / file["path"] for file in record["files"]] if record is not None else []
        path = next((file for file in files if file.is_file()), None)
        if path is not None:
            yield path


def _signs(tally: Tally, spots: list[tuple[int, str, Spot, Spot | None]]) -> list[str]:
    """The signs that a group's masks are wrong, apart from those of the dataset's own."""
    signs = []
    if tally.rated >= LEAST_MASKS and tally.low > LOW_SHARE * tally.rated:
        signs.append(f"{_percent(tally.low, tally.rated)} have a confidence under {_point(BAD)}")
    steady, strayed, unlike = look_at_masks(spots)
    if len(steady) >= LEAST_MASKS and (median := float(np.median(steady))) < UNSTEADY:
        signs.append(f"they jump from frame to frame (neighbours share an IoU of {_point(median)})")
    if len(strayed) >= LEAST_MASKS and sum(strayed) > STRAY_SHARE * len(strayed):
        signs.append(f"{_percent(sum(strayed), len(strayed))} are scattered or lie off the face")
    if len(unlike) >= LEAST_MASKS and sum(unlike) > APART_SHARE * len(unlike):
        signs.append(
            f"{_percent(sum(unlike), len(unlike))} share an IoU under {_point(BAD)} with what stands out of noise"
        )
    return signs


class Looks(NamedTuple):
    """What the decoded masks show.

    Attributes:
        steady: the IoU of each mask with its neighbour, of those that have one.
        strayed: whether a mask is stray, see :func:`is_stray`.
        unlike: of literal masks, whether they share less than ``BAD`` with what the difference calls forged.
    """

    steady: list[float]
    strayed: list[bool]
    unlike: list[bool]


def look_at_masks(spots: list[tuple[int, str, Spot, Spot | None]]) -> Looks:
    """Decode masks, and the difference of literal ones; those that cannot be read are skipped."""
    found = Looks([], [], [])
    for *_, spot, near in sorted(spots, key=lambda entry: entry[2].place):
        try:
            mask = _picture(spot, "mask")
            other = None if near is None else _picture(near, "mask")
            difference = _picture(spot, "difference") if spot.literal else None
        except (VerifyError, cv2.error):
            continue
        if mask is None:
            continue
        found.strayed.append(is_stray(mask, spot.face_box, spot.matrix(mask)))
        if difference is not None and difference.shape == mask.shape:
            found.unlike.append((_iou(mask > 0, difference >= EVEN) or 0.0) < BAD)
        if near is not None and other is not None:
            own, neighbour = spot.matrix(mask), near.matrix(other)
            shared = _iou(on_face(mask, spot.face_box, own), on_face(other, near.face_box, neighbour))
            found.steady.extend([] if shared is None else [shared])
    return found


def _iou(one: Bool, two: Bool) -> float | None:
    either = np.count_nonzero(one | two)
    return float(np.count_nonzero(one & two) / either) if either else None


def _picture(spot: Spot, name: str) -> npt.NDArray[np.uint8] | None:
    # Where both pictures are needed they are read together, so that a row group is read once.
    value = read_at(spot.place, ("mask", "difference") if spot.literal else ("mask",)).get(name)
    value = value[spot.number] if spot.number is not None and value is not None else value
    return None if value is None else decode_image(value["bytes"])


def is_stray(mask: npt.NDArray[np.uint8], face_box: tuple[float, ...], matrix: Matrix) -> bool:
    """Whether a mask, uint8 (H, W), is in many pieces, or its middle lies off the face; ``matrix`` leads there."""
    count, _, stats, _ = cv2.connectedComponentsWithStats((mask > 0).astype(np.uint8))
    total = int(stats[1:, cv2.CC_STAT_AREA].sum()) if count > 1 else 0
    if not total:
        return False
    if np.count_nonzero(stats[1:, cv2.CC_STAT_AREA] >= _LEAST_PIECE * total) > MOST_REGIONS:
        return True
    rows, columns = np.nonzero(mask)
    middle = through(inverse(matrix), [(columns.mean(), rows.mean())])[0] + 0.5
    side = max(face_box[2] - face_box[0], face_box[3] - face_box[1])
    away = middle[0] - (face_box[0] + face_box[2]) / 2, middle[1] - (face_box[1] + face_box[3]) / 2
    return float(np.hypot(*away)) > FAR * side


def on_face(mask: npt.NDArray[np.uint8], face_box: tuple[float, ...], matrix: Matrix) -> Bool:
    """A mask on a grid that moves with the face, bool (64, 64): twice as wide as the face box, with the same middle."""
    side = max(face_box[2] - face_box[0], face_box[3] - face_box[1])
    step = 2 * _REACH * side / _GRID
    x, y = ((face_box[axis] + face_box[axis + 2]) / 2 - _REACH * side + step / 2 - 0.5 for axis in (0, 1))
    back = matrix @ np.array([[step, 0, x], [0, step, y], [0, 0, 1]])
    laid = cv2.warpAffine(mask, back, (_GRID, _GRID), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return np.asarray(laid > 127)


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %"


def _point(value: float) -> str:
    """A share without the zero before the point: .5, .38."""
    text = f"{round(value, 2):g}"
    return text.removeprefix("0") if text.startswith("0.") else text
