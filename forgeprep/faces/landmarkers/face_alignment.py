"""FAN's 68 points (Bulat and Tzimiropoulos 2017) through face-alignment, on the GPU where torch sees one."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from forgeprep.errors import ForgeprepError
from forgeprep.faces.landmarkers.base import IBUG_68, Find, Points, RegisteredLandmarker
from forgeprep.faces.landmarkers.window import window_around
from forgeprep.faces.weights import WEIGHTS, require
from forgeprep.media.frames import Frame
from forgeprep.media.regions import Box, window_rgb
from forgeprep.schemas.resources import Resources

SIDE, _WIDE, _UP, _STEP = 256, 400 / 195, 0.12, 4
"""Side of the network's input; over the face box and moved up, as face-alignment does it for dlib's boxes; and pixels
of it for each place of a heatmap."""


def _load(file: Path | None) -> Find:
    if importlib.util.find_spec("face_alignment") is None:
        raise ForgeprepError("the landmarker face-alignment is not installed: pip install 'forgeprep[align]'")
    import torch

    # face-alignment would download them here and now; a run never touches the network on its own.
    path = require("fan") if file is None else file
    if not path.is_file():
        raise ForgeprepError(f"{path}: no such file; --landmarks-file names the weights of face-alignment's 2DFAN-4")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        network = _network(path, device)
    except Exception as error:  # what torch raises for a file of another kind is not foreseeable
        told = " ".join(str(error).split()).partition(". ")[0][:80]
        raise ForgeprepError(f"{path}: no weights of face-alignment's 2DFAN-4 ({told})") from None

    def find(frame: Frame, box: Box) -> Points:
        window = window_around(box, _WIDE, SIDE, up=_UP)
        rgb = window_rgb(frame, window.box, SIDE)
        given = torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1)[None])).to(device).float() / 255
        with torch.inference_mode():
            out = network(given)
        return window.to_frame(_STEP * peaks(_heat(out)[0].float().cpu().numpy()) - 0.5)

    return find


def _network(path: Path, device: str) -> Any:
    """The network of a file: weights, as face-alignment 1.5 fetches them, or TorchScript, as those before it do."""
    import torch
    from face_alignment.models import FAN

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Files of that kind stay, whatever torch prefers.
            network: Any = torch.jit.load(str(path), map_location=device)  # type: ignore[no-untyped-call]
    except RuntimeError:  # No TorchScript.
        network = FAN(4)
        network.load_state_dict(torch.load(path, map_location=device, weights_only=True))
        return network.to(device).eval()
    with torch.inference_mode():
        shape = tuple(_heat(network.eval()(torch.zeros(1, 3, SIDE, SIDE, device=device))).shape)
    if shape != (1, IBUG_68.count, SIDE // _STEP, SIDE // _STEP):
        raise ForgeprepError(f"it gives {shape}")
    return network


def _heat(out: Any) -> Any:
    """The heatmaps of the last of the network's stacks, float (1, 68, 64, 64)."""
    return out[-1] if isinstance(out, list | tuple) else out


def peaks(heat: npt.NDArray[np.float32]) -> Points:
    """The highest places of heatmaps, float32 (n, H, W), from the corner; a quarter of a place to the higher side."""
    count, height, width = heat.shape
    rows, columns = np.divmod(heat.reshape(count, -1).argmax(axis=1), width)
    found = np.stack([columns, rows], axis=1) + 0.5
    for number, (row, column) in enumerate(zip(rows, columns, strict=True)):
        if 0 < row < height - 1 and 0 < column < width - 1:
            own = heat[number]
            slope = own[row, column + 1] - own[row, column - 1], own[row + 1, column] - own[row - 1, column]
            found[number] += 0.25 * np.sign(slope)
    return np.asarray(found, np.float64)


LANDMARKER = RegisteredLandmarker(
    name="face-alignment",
    summary="FAN's 68 points; needs torch, weights, and best a GPU (Bulat, Tzimiropoulos 2017)",
    scheme=IBUG_68,
    load=_load,
    resources=Resources(memory=3 << 30, gpus=0.25),
    weights={"fan": WEIGHTS["fan"]},
    distributions=("face-alignment", "torch"),
)
