"""Files of SlowFast R50 8x8's weights, in two layouts: each tensor lands in its place.

The files are made here from the published network's table; the network, written again by a file's own names, has to
compute what ours computes with them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from forgeprep.errors import UsageError
from forgeprep.training.models.slowfast import SlowFast
from forgeprep.training.pretrained import load_weights
from tests.helpers.weights import Table, add_conv, add_norm, normed, weights_of

Name = Callable[[int, int, int, str], str]


def _pyslowfast(stage: int, path: int, block: int, part: str) -> str:
    if part.startswith("fuse"):
        return f"s{stage + 1}_fuse.{'bn' if part.endswith('_n') else 'conv_f2s'}"
    if stage == 0:
        return f"s1.pathway{path}_stem.{'bn' if part.endswith('_n') else 'conv'}"
    letter, norm = part[0], "_bn" if part.endswith("_n") else ""
    return f"s{stage + 1}.pathway{path}_res{block}." + (
        f"branch1{norm}" if letter == "s" else f"branch2.{letter}{norm}"
    )


def _pytorchvideo(stage: int, path: int, block: int, part: str) -> str:
    norm = part.endswith("_n")
    if part.startswith("fuse"):
        return f"blocks.{stage}.multipathway_fusion.{'norm' if norm else 'conv_fast_to_slow'}"
    begin, kind = f"blocks.{stage}.multipathway_blocks.{path}", "norm" if norm else "conv"
    if stage == 0:
        return f"{begin}.{kind}"
    return f"{begin}.res_blocks.{block}." + (f"branch1_{kind}" if part[0] == "s" else f"branch2.{kind}_{part[0]}")


def _slowfast_file(name: Name, last: str) -> Table:
    table: Table = {}
    for path, width, times in ((0, 64, (1, 1, 1, 3, 3)), (1, 8, (5, 3, 3, 3, 3))):
        add_conv(table, name(0, path, 0, "stem"), width, 3, times[0], 7, 7)
        add_norm(table, name(0, path, 0, "stem_n"), width)
        inputs = width
        for stage, depth in enumerate((3, 4, 6, 3), 1):
            inner, entering = width * 2 ** (stage - 1), inputs + (inputs // 4 if path == 0 else 0)
            for block in range(depth):
                before = entering if block == 0 else 4 * inner
                shapes = {
                    "a": (inner, before, times[stage], 1, 1),
                    "b": (inner, inner, 1, 3, 3),
                    "c": (4 * inner, inner, 1, 1, 1),
                }
                if block == 0:
                    shapes["s"] = (4 * inner, before, 1, 1, 1)
                for part, shape in shapes.items():
                    add_conv(table, name(stage, path, block, part), *shape)
                    add_norm(table, name(stage, path, block, f"{part}_n"), shape[0])
            inputs = 4 * inner
    for stage, width in enumerate((8, 32, 64, 128)):
        add_conv(table, name(stage, 0, 0, "fuse"), 2 * width, width, 7, 1, 1)
        add_norm(table, name(stage, 0, 0, "fuse_n"), 2 * width)
    add_conv(table, last, 400, 2304, bias=True)
    return table


def _slowfast_of(table: Table, name: Name, clip: Tensor) -> Tensor:
    """The pooled features, by a file's names."""

    def conv(x: Tensor, where: tuple[int, int, int], part: str, stride: tuple[int, int] = (1, 1)) -> Tensor:
        weight = table[name(*where, part) + ".weight"]
        pad = [side // 2 for side in weight.shape[2:]]
        out = functional.conv3d(x, weight, stride=(stride[0], stride[1], stride[1]), padding=pad)
        return normed(table, name(*where, f"{part}_n"), out)

    fast = (clip - 0.45) / 0.225
    paths = [fast[:, :, ::4], fast]
    for stage in range(5):
        for path in (0, 1):
            x = paths[path]
            if stage == 0:
                x = functional.max_pool3d(conv(x, (0, path, 0), "stem", (1, 2)).relu(), (1, 3, 3), (1, 2, 2), (0, 1, 1))
            for block in range((0, 3, 4, 6, 3)[stage]):
                where, step = (stage, path, block), (1, 2 if stage > 1 and block == 0 else 1)
                skip = conv(x, where, "s", step) if block == 0 else x
                inner = conv(conv(x, where, "a").relu(), where, "b", step).relu()
                x = (conv(inner, where, "c") + skip).relu()
            paths[path] = x
        if stage < 4:
            paths[0] = torch.cat([paths[0], conv(paths[1], (stage, 0, 0), "fuse", (4, 1)).relu()], dim=1)
    return torch.cat([x.mean(dim=(2, 3, 4)) for x in paths], dim=1)


@pytest.mark.parametrize(("name", "last"), [(_pyslowfast, "head.projection"), (_pytorchvideo, "blocks.6.proj")])
def test_slowfast_is_filled_from_either_layout(name: Name, last: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    table = _slowfast_file(name, last)
    assert {"s2.pathway0_res0.branch2.a_bn.running_var", "blocks.0.multipathway_fusion.conv_fast_to_slow.weight"} & set(
        table
    )
    torch.save({"model_state": table, "epoch": 9, "cfg": "TRAIN: {}"}, tmp_path / "sf.pyth")
    model = SlowFast(frames=8).eval()
    assert load_weights(model, tmp_path / "sf.pyth", weights_of("slowfast-r50")) is None
    seen: list[Tensor] = []
    model.fc.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    clip = torch.rand(1, 3, 8, 64, 64)
    with torch.inference_mode():
        model(clip)
        torch.testing.assert_close(seen[0], _slowfast_of(table, name, clip), atol=1e-4, rtol=1e-4)
    with pytest.raises(
        UsageError, match=r"\d of another shape; the first is .*\(16, 8, 7, 1, 1\) for \(16, 8, 5, 1, 1\)"
    ):
        load_weights(SlowFast(frames=8, alpha=8, fusion=5), tmp_path / "sf.pyth", weights_of("slowfast-r50"))
