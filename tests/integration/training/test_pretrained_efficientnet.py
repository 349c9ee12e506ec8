"""Files of EfficientNet-B0's weights, in four layouts: each tensor lands in its place.

The files are made here from the published network's table; the network, written again by a file's own names, has to
compute what ours computes with them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from forgeprep.training.models.base import Normalised
from forgeprep.training.models.cael import _efficientnet, _first_blocks
from forgeprep.training.pretrained import IMAGENET, KERAS, load_weights
from tests.helpers.weights import Table, add_conv, add_norm, normed, weights_of

_B0 = (
    (1, 16, 3, 1, 1),
    (6, 24, 3, 2, 2),
    (6, 40, 5, 2, 2),
    (6, 80, 3, 2, 3),
    (6, 112, 5, 1, 3),
    (6, 192, 5, 2, 4),
    (6, 320, 3, 1, 1),
)
"""Of each stage: expansion, width, kernel, stride, repeats."""


def _torchvision(stage: int, at: int, flat: int, part: str) -> str:
    parts = {
        "expand": "0.0",
        "expand_n": "0.1",
        "deep": "1.0",
        "deep_n": "1.1",
        "reduce": "2.fc1",
        "excite": "2.fc2",
        "out": "3.0",
        "out_n": "3.1",
    }
    number, rest = parts[part].split(".")
    return f"features.{stage + 1}.{at}.block.{int(number) - (stage == 0)}.{rest}"


def _timm(stage: int, at: int, flat: int, part: str) -> str:
    parts = {
        "expand": "conv_pw",
        "expand_n": "bn1",
        "deep": "conv_dw",
        "deep_n": "bn2",
        "reduce": "se.conv_reduce",
        "excite": "se.conv_expand",
        "out": "conv_pwl",
        "out_n": "bn3",
    }
    if stage == 0:
        parts |= {"deep_n": "bn1", "out": "conv_pw", "out_n": "bn2"}
    return f"blocks.{stage}.{at}.{parts[part]}"


def _port(stage: int, at: int, flat: int, part: str) -> str:
    parts = {
        "expand": "_expand_conv",
        "expand_n": "_bn0",
        "deep": "_depthwise_conv",
        "deep_n": "_bn1",
        "reduce": "_se_reduce",
        "excite": "_se_expand",
        "out": "_project_conv",
        "out_n": "_bn2",
    }
    return f"_blocks.{flat}.{parts[part]}"


def _google(stage: int, at: int, flat: int, part: str) -> str:
    parts = {
        "expand": "expansion.expand_conv", "expand_n": "expansion.expand_bn", "deep": "depthwise_conv.depthwise_conv",
        "deep_n": "depthwise_conv.depthwise_norm", "reduce": "squeeze_excite.reduce", "excite": "squeeze_excite.expand",
        "out": "projection.project_conv", "out_n": "projection.project_bn",
    }  # fmt: skip
    return f"efficientnet.encoder.blocks.{flat}.{parts[part]}"


Name = Callable[[int, int, int, str], str]
_ENDS: dict[str, tuple[Name, tuple[str, ...], str]] = {
    "torchvision": (_torchvision, ("features.0.0", "features.0.1", "features.8.0", "features.8.1"), "classifier.1"),
    "timm": (_timm, ("conv_stem", "bn1", "conv_head", "bn2"), "classifier"),
    "efficientnet-pytorch": (_port, ("_conv_stem", "_bn0", "_conv_head", "_bn1"), "_fc"),
    "transformers": (
        _google,
        (
            "efficientnet.embeddings.convolution", "efficientnet.embeddings.batchnorm", "efficientnet.encoder.top_conv",
            "efficientnet.encoder.top_bn",
        ),
        "classifier",
    ),
}  # fmt: skip


def _blocks() -> list[tuple[int, int, int, int, int, int, int, int]]:
    """Stage, place in it, number, inputs, inner and output width, kernel, stride."""
    found: list[tuple[int, int, int, int, int, int, int, int]] = []
    inputs = 32
    for stage, (expand, width, kernel, stride, repeats) in enumerate(_B0):
        for at in range(repeats):
            found.append((stage, at, len(found), inputs, inputs * expand, width, kernel, stride if at == 0 else 1))
            inputs = width
    return found


def _efficientnet_file(layout: str) -> Table:
    name, (stem, stem_n, top, top_n), last = _ENDS[layout]
    table: Table = {}
    add_conv(table, stem, 32, 3, 3, 3)
    add_norm(table, stem_n, 32)
    for stage, at, flat, inputs, inner, width, kernel, _ in _blocks():
        where = (stage, at, flat)
        if inner != inputs:
            add_conv(table, name(*where, "expand"), inner, inputs, 1, 1)
            add_norm(table, name(*where, "expand_n"), inner)
        add_conv(table, name(*where, "deep"), inner, 1, kernel, kernel)
        add_norm(table, name(*where, "deep_n"), inner)
        add_conv(table, name(*where, "reduce"), inputs // 4, inner, 1, 1, bias=True)
        add_conv(table, name(*where, "excite"), inner, inputs // 4, 1, 1, bias=True)
        add_conv(table, name(*where, "out"), width, inner, 1, 1)
        add_norm(table, name(*where, "out_n"), width)
    add_conv(table, top, 1280, 320, 1, 1)
    add_norm(table, top_n, 1280)
    add_conv(table, last, 1000, 1280, bias=True)
    return table


def _efficientnet_of(table: Table, layout: str, x: Tensor) -> tuple[Tensor, Tensor]:
    """The coarse features, after three blocks, and the last, by a file's names; padded as TensorFlow does."""
    name, (stem, stem_n, top, top_n), _ = _ENDS[layout]

    def padded(x: Tensor, kernel: int, stride: int) -> Tensor:
        total = [max(0, (-(-n // stride) - 1) * stride + kernel - n) for n in (x.shape[3], x.shape[2])]
        return functional.pad(x, [side for t in total for side in (t // 2, t - t // 2)])

    x = functional.silu(
        normed(table, stem_n, functional.conv2d(padded(x, 3, 2), table[f"{stem}.weight"], stride=2), 1e-3)
    )
    coarse = x
    for stage, at, flat, inputs, inner, width, kernel, stride in _blocks():
        where, before = (stage, at, flat), x
        if inner != inputs:
            x = functional.conv2d(x, table[name(*where, "expand") + ".weight"])
            x = functional.silu(normed(table, name(*where, "expand_n"), x, 1e-3))
        deep = table[name(*where, "deep") + ".weight"]
        x = functional.conv2d(padded(x, kernel, stride), deep, stride=stride, groups=inner)
        x = functional.silu(normed(table, name(*where, "deep_n"), x, 1e-3))
        gate = x.mean(dim=(2, 3), keepdim=True)
        for part, act in (("reduce", functional.silu), ("excite", torch.sigmoid)):
            at_ = name(*where, part)
            gate = act(functional.conv2d(gate, table[f"{at_}.weight"], table[f"{at_}.bias"]))
        x = functional.conv2d(x * gate, table[name(*where, "out") + ".weight"])
        x = normed(table, name(*where, "out_n"), x, 1e-3)
        x = x + before if stride == 1 and inputs == width else x
        coarse = x if flat == 2 else coarse
    return coarse, functional.silu(normed(table, top_n, functional.conv2d(x, table[f"{top}.weight"]), 1e-3))


class _Branches(nn.Module):
    """The branches of CAEL that take the weights, without its 160 million others."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.fine, self.coarse = Normalised(0.0, 1.0), _efficientnet(), _first_blocks(_efficientnet())


@pytest.mark.parametrize("layout", _ENDS)
def test_efficientnet_fills_both_branches_from_any_layout(layout: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    table = _efficientnet_file(layout)
    # 5,288,548 parameters with the classifier.
    assert sum(t.numel() for n, t in table.items() if not n.endswith(("mean", "var", "tracked"))) == 5_288_548
    torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in table.items()}}, tmp_path / "b0.pth")
    model = _Branches().eval()
    assert load_weights(model, tmp_path / "b0.pth", weights_of("cael")) is None
    image = torch.rand(1, 3, 64, 64)
    mean, std = (torch.tensor(part).view(3, 1, 1) for part in (KERAS if layout == "transformers" else IMAGENET))
    with torch.inference_mode():
        coarse, fine = _efficientnet_of(table, layout, (image - mean) / std)
        scaled = model.scale(image)
        torch.testing.assert_close(model.coarse(scaled), coarse, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(model.fine(pixel_values=scaled).last_hidden_state, fine, atol=1e-4, rtol=1e-4)
