"""The network of ``forgeprep/ops/evidence_net.py`` in torch, and how it is trained; ``masks_fit.py`` uses it."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 -- its usual name

from forgeprep.ops import evidence
from forgeprep.ops.evidence_net import LEAST, MOST, NETWORK, SCALE, STEP

FIRST, HALF, QUARTER, EIGHTH, FINE = 16, 16, 32, 48, 8
"""Channels of the first layer, at half, a quarter and an eighth of the grid's resolution, and of the last layers."""
STEPS, FOLD_STEPS, BATCH, RATE = 40000, 10000, 16, 3e-3
SIDES = (64, 68, 72, 72, 76, 82, 96)
"""Sides of the parts of the grid that it learns on; most crops show 72 cells and what smoothing takes in."""
SHARES = {"c0": 0.25, "c23": 1.1, "c40": 1.5, "c23/c40": 1.5, "c23/420": 0.6}
"""How often forgeries of a coding are drawn."""
NOTHING = 0.2
"""How often an original against its own re-encoding is."""
JITTER = 0.12
"""Standard deviation of what is added to all log energies of a frame alike; three quarters of it more to each channel.
The rim tells the noise only so well, and on other clips differently."""
FURTHER_STEPS, FURTHER_RATE = 30000, 1.5e-3
"""How the package's network is trained on with further clips."""
WHOLE = slice(None), slice(None)

Run = dict[str, Any]


class EvidenceNet(nn.Module):
    """Log-odds (n, 1, H, W) of evidence (n, channels, H, W); sides are multiples of 8."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, FIRST, 1)
        self.second = nn.Sequential(_layer(FIRST, HALF), _layer(HALF, HALF))
        self.fourth = nn.Sequential(_layer(HALF, QUARTER), _layer(QUARTER, QUARTER))
        self.eighth = nn.Sequential(_layer(QUARTER, EIGHTH), _layer(EIGHTH, EIGHTH))
        self.whole = nn.Linear(2 * EIGHTH, EIGHTH)
        self.from_eighth, self.from_fourth = nn.Conv2d(EIGHTH, QUARTER, 1), nn.Conv2d(QUARTER, HALF, 1)
        self.up_fourth, self.up_second = _layer(QUARTER, QUARTER), _layer(HALF, HALF)
        self.fine, self.from_second = nn.Conv2d(FIRST, FINE, 1, bias=False), nn.Conv2d(HALF, FINE, 1)
        self.last, self.out = _layer(FINE, FINE), nn.Conv2d(FINE, 1, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """The log-odds of the maps of :func:`inputs`."""
        fine = F.relu(self.first(maps))
        half = self.second(F.avg_pool2d(fine, 2))
        quarter = self.fourth(F.avg_pool2d(half, 2))
        eighth = self.eighth(F.avg_pool2d(quarter, 2))
        whole = self.whole(torch.cat([eighth.mean((2, 3)), eighth.amax((2, 3))], 1))
        quarter = self.up_fourth(quarter + _doubled(self.from_eighth(eighth + whole[..., None, None])))
        half = self.up_second(half + _doubled(self.from_fourth(quarter)))
        found: Tensor = self.out(self.last(F.relu(self.fine(fine) + _doubled(self.from_second(half)))))
        return found


def _layer(channels: int, out: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(channels, out, 3, padding=1), nn.ReLU())


def _doubled(maps: Tensor) -> Tensor:
    return F.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=False)


def train(
    runs: Sequence[Run], steps: int = STEPS, seed: int = 0, rate: float = RATE, net: EvidenceNet | None = None
) -> EvidenceNet:
    """Fit a network to forgeries whose truth is known, by cross-entropy and the soft Jaccard distance in the crop.

    ``net`` is trained further; without it a new one is.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    frames = [(run, number) for run in runs for number in range(len(run["seen"]))]
    draw = np.cumsum(_weights(frames))
    # Processors without it take eight times as long with it.
    bf16 = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    net = net or EvidenceNet(len(evidence.CHANNELS) + evidence.OWN + 4)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(net.parameters(), rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps, pct_start=0.1)
    for _ in range(steps):
        picked = [frames[number] for number in np.searchsorted(draw, draw[-1] * rng.random(BATCH), side="right")]
        maps, truth, inside = _batch(picked, rng)
        seen = maps[:, -1:]
        _jitter(maps, rng)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            odds = net(maps.to(memory_format=torch.channels_last))
        odds = odds.float()
        weight = seen * (0.3 + 0.7 * inside)
        loss = (F.binary_cross_entropy_with_logits(odds, truth, reduction="none") * weight).sum() / weight.sum()
        chance, truth = torch.sigmoid(odds) * seen * inside, truth * seen * inside
        both = (chance * truth).sum((1, 2, 3))
        apart = 1 - both / ((chance + truth).sum((1, 2, 3)) - both + 1)
        forged = truth.sum((1, 2, 3)) > 0
        if forged.any():
            loss = loss + apart[forged].mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return net.eval()


def _jitter(maps: Tensor, rng: Any) -> None:
    """Move the log energies of each frame, and with them those of the run's mean, by :data:`JITTER`."""
    count, own = len(evidence.CHANNELS), evidence.OWN
    shift = rng.normal(0, 1, (len(maps), 1)) + 0.75 * rng.normal(0, 1, (len(maps), count))
    moved = torch.from_numpy(np.concatenate([shift, shift[:, :own]], 1).astype(np.float32))
    maps[:, : count + own] += JITTER * SCALE * moved[..., None, None] * maps[:, -1:]


def package_net() -> EvidenceNet:
    """The network of the package, in torch."""
    import onnx

    net = EvidenceNet(len(evidence.CHANNELS) + evidence.OWN + 4)
    content = files("forgeprep.ops").joinpath(NETWORK).read_bytes()
    numbers = {one.name: onnx.numpy_helper.to_array(one) for one in onnx.load_from_string(content).graph.initializer}
    net.load_state_dict({name: torch.from_numpy(numbers[name].astype(np.float32)) for name in net.state_dict()})
    return net


def _weights(frames: Sequence[tuple[Run, int]]) -> Any:
    """How likely each frame is drawn."""
    counts = Counter(run["coding"] for run, _ in frames)
    found = [SHARES.get(run["coding"], NOTHING) / counts[run["coding"]] for run, _ in frames]
    return np.array(found) / sum(found)


def _batch(picked: Sequence[tuple[Run, int]], rng: Any) -> list[Tensor]:
    """Maps, truth and what the crops show, float32 (n, channels or 1, H, W): a part of the grid, somewhere near its
    middle, now and then mirrored; rim and all that is missing are zero.
    """
    side = int(rng.choice(SIDES))
    rest = (picked[0][0]["seen"].shape[1] - side) // 2
    reach = min(6, rest) if rng.random() < 0.7 else 0
    down, across = (rest + int(shift) for shift in rng.integers(-reach, reach + 1, 2))
    part = slice(down, down + side), slice(across, across + side)
    maps = np.concatenate([inputs(run, [number], part) for run, number in picked])
    truth, inside = (np.stack([run[name][number][part] for run, number in picked]) for name in ("truth", "inside"))
    parts = [torch.from_numpy(one.astype(np.float32)) for one in (maps, truth[:, None], inside[:, None])]
    if rng.random() < 0.5:
        parts = [one.flip(-1) for one in parts]
        parts[0][:, -4] *= -1
    room = -side % STEP
    return [F.pad(one, [0, room, 0, room]) for one in parts]


def inputs(run: Run, numbers: Sequence[int], part: evidence.Part = WHOLE) -> Any:
    """What the network sees of some frames of a run, on a part of the grid, float32 (n, channels, H, W)."""
    seen = run["seen"][numbers][:, None, *part].astype(np.float32)
    mean = np.repeat(run["mean"][None, :, *part], len(seen), 0)
    energies = np.concatenate([run["standing"][numbers][:, :, *part], mean], 1).astype(np.float32) * seen
    place = np.repeat(evidence._place(run["seen"].shape[1])[None, :, *part], len(seen), 0)
    return np.concatenate([np.clip(energies * SCALE, LEAST, MOST), place, seen], 1)


def save(net: EvidenceNet, path: Path) -> None:
    """Write the network as ``evidence_net`` reads it; numbers of 16 bits take half of the room when they are packed."""
    net.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    net.half().float()
    maps = torch.zeros(1, net.first.in_channels, 64, 64)
    sides = {"maps": {2: "rows", 3: "columns"}, "odds": {2: "rows", 3: "columns"}}
    with warnings.catch_warnings():
        # The newer exporter needs one more package.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            net, (maps,), path, input_names=["maps"], output_names=["odds"], dynamic_axes=sides, opset_version=17,
            dynamo=False,
        )  # fmt: skip
