"""A stage of forgeprep: the edges of each crop, and how often each direction comes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from forgeprep.schemas.columns import IMAGE_TYPE, Column
from forgeprep.schemas.drops import Reason
from forgeprep.stages.base import Sample, Stage, StageParams

UInt8 = npt.NDArray[np.uint8]
DIRECTIONS = 16


class EdgesParams(StageParams):
    """Parameters of the stage ``edges``: each is a flag of ``forgeprep run``."""

    edges_low: int = Field(default=80, ge=0, le=255, description="level of the gradient at which an edge may go on")
    edges_least: float = Field(default=0.001, ge=0, le=1, description="least share of edge pixels; else it is dropped")


def apply(samples: list[Sample], params: EdgesParams) -> None:
    """Add the columns, or drop the sample."""
    for sample in samples:
        gray = cv2.cvtColor(sample.image, cv2.COLOR_RGB2GRAY)
        edges = np.asarray(cv2.Canny(gray, params.edges_low, 2 * params.edges_low), np.uint8)
        share = np.count_nonzero(edges) / edges.size
        if share < params.edges_least:
            sample.drop("no_edges", f"{share:.4f} of the pixels")
        sample.columns |= {"edges": edges, "edges_directions": _directions(gray, edges)}


def _directions(gray: npt.NDArray[Any], edges: UInt8) -> npt.NDArray[np.float32]:
    x, y = (cv2.Sobel(gray, cv2.CV_32F, *order) for order in ((1, 0), (0, 1)))
    angles = np.arctan2(y, x)[edges > 0]
    counts = np.histogram(angles, DIRECTIONS, (-np.pi, np.pi))[0]
    return np.asarray(counts / max(1, counts.sum()), np.float32)


def check_directions(value: bytes, _row: Mapping[str, Any]) -> str | None:
    """What ``forgeprep verify`` says of stored bytes."""
    if len(value) != 4 * DIRECTIONS:
        return f"{len(value)} bytes, not {4 * DIRECTIONS}"
    total = float(np.frombuffer(value, np.float32).sum())
    return None if total == 0 or abs(total - 1) < 1e-3 else f"its shares add up to {total:.3f}"


def draw_directions(value: bytes, _row: Mapping[str, Any]) -> UInt8:
    """What a report shows of them: bars, uint8 (64, 64, 3) RGB."""
    drawn = np.full((64, 64, 3), 255, np.uint8)
    for number, share in enumerate(np.frombuffer(value, np.float32)):
        drawn[64 - round(63 * min(1.0, 4 * float(share))) :, 4 * number : 4 * number + 3] = (30, 90, 160)
    return drawn


STAGE = Stage(
    name="edges",
    summary="edges of the crop, and how often each direction comes",
    needs=("crop",),
    adds=(
        Column("edges", "edges", IMAGE_TYPE, "edges, 8-bit gray; 255 on an edge", kind="image", packing="runs",
               channels=1, like_crop=True),
        Column("edges_directions", "edges", pa.binary(), f"shares of {DIRECTIONS} directions; float32, sum 1",
               encode=lambda shares: bytes(shares.tobytes()), suffix="f32", check=check_directions,
               draw=draw_directions),
    ),
    params=EdgesParams,
    apply=apply,
    additive=True,
    reads=("image",),
    drops={"no_edges": Reason("the crop is too smooth: it has hardly an edge")},
)  # fmt: skip
