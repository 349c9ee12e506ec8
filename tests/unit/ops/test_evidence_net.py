"""The network against a plain account of it, map by map."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from forgeprep.ops.evidence_net import _content, forged_odds
from forgeprep.ops.robust import Float

NUMBERS: dict[str, Float] = {}


def convolved(name: str, maps: Float) -> Float:
    """(C, H, W) -> (O, H, W), zeros around."""
    taps = [
        sum(
            cv2.filter2D(one, -1, kernel, borderType=cv2.BORDER_CONSTANT) for one, kernel in zip(maps, own, strict=True)
        )
        for own in NUMBERS[f"{name}.weight"]
    ]
    return np.asarray(np.maximum(np.stack(taps) + NUMBERS[f"{name}.bias"][:, None, None], 0), np.float32)


def mixed(name: str, maps: Float) -> Float:
    bias = NUMBERS.get(f"{name}.bias", np.zeros(1))
    return np.asarray(
        np.einsum("oc,chw->ohw", NUMBERS[f"{name}.weight"][..., 0, 0], maps) + bias[:, None, None], np.float32
    )


def halved(maps: Float) -> Float:
    return np.stack([cv2.resize(one, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for one in maps])


def doubled(maps: Float) -> Float:
    return np.stack(
        [cv2.resize(np.asarray(one, np.float32), None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR) for one in maps]
    )


def plain(maps: Float) -> Float:
    fine = np.maximum(mixed("first", maps), 0).astype(np.float32)
    half = convolved("second.1.0", convolved("second.0.0", halved(fine)))
    quarter = convolved("fourth.1.0", convolved("fourth.0.0", halved(half)))
    eighth = convolved("eighth.1.0", convolved("eighth.0.0", halved(quarter)))
    whole = NUMBERS["whole.weight"] @ np.concatenate([eighth.mean(axis=(1, 2)), eighth.max(axis=(1, 2))])
    eighth = eighth + (whole + NUMBERS["whole.bias"])[:, None, None]
    quarter = convolved("up_fourth.0", quarter + doubled(mixed("from_eighth", eighth)))
    half = convolved("up_second.0", half + doubled(mixed("from_fourth", quarter)))
    joined = np.maximum(mixed("fine", fine) + doubled(mixed("from_second", half)), 0).astype(np.float32)
    return np.asarray(mixed("out", convolved("last.0", joined))[0], np.float32)


@pytest.mark.parametrize(("frames", "height", "width"), [(1, 72, 64), (11, 37, 50)])
def test_log_odds_are_those_of_the_plain_network(frames: int, height: int, width: int) -> None:
    onnx = pytest.importorskip("onnx")
    graph = onnx.load_from_string(_content()).graph
    NUMBERS.update({one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer})
    rng = np.random.default_rng(frames)
    standing = rng.normal(0, 3, (frames, 14, height, width)).astype(np.float32)
    mean, place = standing[:, :10].mean(axis=0), rng.normal(0, 1, (3, height, width)).astype(np.float32)
    seen = np.ones((frames, height, width), bool)
    seen[:, :9] = False
    odds = forged_odds(standing, mean, seen, place)
    for number in range(frames):
        energies = np.concatenate([standing[number], mean]) * 0.5
        maps = np.concatenate([np.clip(energies, -2, 4), place, seen[number, None]])
        # Sides are multiples of eight.
        room = np.zeros((len(maps), -(-height // 8) * 8, -(-width // 8) * 8), np.float32)
        room[:, :height, :width] = maps
        np.testing.assert_allclose(odds[number], plain(room)[:height, :width], atol=2e-3)


def test_the_network_leaves_no_telemetry(tmp_path: Path) -> None:
    """ONNX Runtime keeps what it sends in the home folder, except where it knows a machine for tests."""
    allowed = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH") if name in os.environ}
    code = (
        "import forgeprep.ops.evidence_net as net; net._network(); import os; print(len(os.listdir('/proc/self/task')))"
    )
    home = allowed | {"HOME": str(tmp_path), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=home, capture_output=True, text=True, check=True)
    # No thread of its own either.
    assert (len(done.stdout.split()), done.stderr, list(tmp_path.iterdir())) == (1, "", [])
