from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from forgeprep.media.colour import part_gray
from forgeprep.media.frames import Frame, UInt8
from forgeprep.media.regions import crop_gray, crop_rgb, frame_rgb, padding_of
from forgeprep.ops.geometry import iou, square_crop_box


def random_frame(width: int, height: int, seed: int = 0, matrix: str = "bt601") -> Frame:
    rng = np.random.default_rng(seed)
    half = (height + 1) // 2, (width + 1) // 2
    planes = [rng.integers(0, 256, shape, dtype=np.uint8) for shape in ((height, width), half, half)]
    return Frame(0, 0.0, tuple(planes), matrix=matrix)


def cut_with_padding(image: UInt8, box: tuple[int, int, int, int]) -> UInt8:
    """The plain way: paste pixel by pixel what lies inside."""
    out = np.zeros((box[3] - box[1], box[2] - box[0], *image.shape[2:]), np.uint8)
    for y in range(max(0, box[1]), min(image.shape[0], box[3])):
        for x in range(max(0, box[0]), min(image.shape[1], box[2])):
            out[y - box[1], x - box[0]] = image[y, x]
    return out


boxes = st.tuples(st.integers(-20, 40), st.integers(-20, 40), st.integers(1, 40), st.integers(1, 40)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)


@given(box=boxes, width=st.integers(2, 33), height=st.integers(2, 33), matrix=st.sampled_from(["bt601", "bt709"]))
@settings(max_examples=150, deadline=None)
def test_a_crop_is_the_cut_of_the_whole_converted_frame(
    box: tuple[int, int, int, int], width: int, height: int, matrix: str
) -> None:
    """No pixel depends on where the box lies, so a fake and its original agree wherever they do in the video."""
    frame = random_frame(width, height, matrix=matrix)
    assert np.array_equal(crop_rgb(frame, box), cut_with_padding(frame_rgb(frame), box))
    assert np.array_equal(crop_gray(frame, box), cut_with_padding(part_gray(frame, (0, 0, width, height)), box))


@given(
    x=st.floats(-200, 2000), y=st.floats(-200, 2000), side=st.floats(1, 900), enlarge=st.sampled_from([1.0, 1.3, 2.0])
)
def test_the_crop_box_is_square_centred_and_enlarged(x: float, y: float, side: float, enlarge: float) -> None:
    x0, y0, x1, y1 = square_crop_box((x, y, x + side, y + side), enlarge)
    assert x1 - x0 == y1 - y0 == max(1, round(side * enlarge)) or abs((x1 - x0) - side * enlarge) <= 0.5 + 1e-6
    assert x1 - x0 == y1 - y0
    assert abs((x0 + x1) / 2 - (x + side / 2)) <= 1
    assert abs((y0 + y1) / 2 - (y + side / 2)) <= 1


@given(box=boxes, width=st.integers(1, 50), height=st.integers(1, 50))
def test_padding_accounts_for_every_pixel_outside(box: tuple[int, int, int, int], width: int, height: int) -> None:
    left, top, right, bottom = padding_of(box, (width, height))
    inside_x = max(0, min(width, box[2]) - max(0, box[0]))
    inside_y = max(0, min(height, box[3]) - max(0, box[1]))
    if inside_x and inside_y:
        assert left + inside_x + right == box[2] - box[0]
        assert top + inside_y + bottom == box[3] - box[1]


def test_full_range_and_limited_range_map_black_and_white() -> None:
    neutral = np.full((2, 2), 128, np.uint8)
    for full, black, white in ((False, 16, 235), (True, 0, 255)):
        for level, expected in ((black, 0), (white, 255)):
            frame = Frame(0, 0.0, (np.full((4, 4), level, np.uint8), neutral, neutral), full_range=full)
            assert np.all(frame_rgb(frame) == expected)
            assert np.all(part_gray(frame, (0, 0, 4, 4)) == expected)


def test_iou_by_hand() -> None:
    assert iou((0, 0, 10, 10), (5, 0, 15, 10)) == 50 / 150
    assert iou((0, 0, 10, 10), (10, 0, 20, 10)) == 0
