"""Files of pretrained weights, as timm, torchvision, PySlowFast and others name their tensors: each lands in its place.

The files are made here from the published networks' tables; a network that is written anew by a file's own names has to
compute what ours computes with them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from forgeprep.errors import UsageError
from forgeprep.training.checkpoint import fill
from forgeprep.training.models import build, get_model
from forgeprep.training.models.base import Normalised
from forgeprep.training.models.cael import _efficientnet, _first_blocks
from forgeprep.training.models.record import Weights
from forgeprep.training.models.slowfast import SlowFast
from forgeprep.training.models.xception import Xception
from forgeprep.training.pretrained import IMAGENET, KERAS, load_weights
from forgeprep.training.recipe import make_recipe
from forgeprep.training.run_folder import Training
from forgeprep.training.trainer import _start_from

Table = dict[str, Tensor]


def _weights(model: str) -> Weights:
    found = get_model(model).weights
    assert found is not None
    return found


def _conv(table: Table, name: str, *shape: int, bias: bool = False) -> None:
    table[f"{name}.weight"] = torch.randn(*shape) / (sum(shape[1:]) ** 0.5)
    if bias:
        table[f"{name}.bias"] = torch.randn(shape[0]) * 0.1


def _norm(table: Table, name: str, width: int) -> None:
    table[f"{name}.weight"], table[f"{name}.bias"] = torch.rand(width) + 0.5, torch.randn(width) * 0.1
    table[f"{name}.running_mean"], table[f"{name}.running_var"] = torch.randn(width) * 0.1, torch.rand(width) + 0.5
    table[f"{name}.num_batches_tracked"] = torch.tensor(7)


def _normed(table: Table, name: str, x: Tensor, eps: float = 1e-5) -> Tensor:
    mean, var, weight, bias = (table[f"{name}.{p}"] for p in ("running_mean", "running_var", "weight", "bias"))
    return functional.batch_norm(x, mean, var, weight, bias, eps=eps)


# VGG16, as torchvision and timm number it.


def _vgg16() -> Table:
    table: Table = {}
    widths = {0: (64, 3), 2: (64, 64), 5: (128, 64), 7: (128, 128), 10: (256, 128), 12: (256, 256), 14: (256, 256)}
    for number, shape in widths.items():
        _conv(table, f"features.{number}", *shape, 3, 3, bias=True)
    _conv(table, "features.17", 512, 256, 3, 3, bias=True)
    _conv(table, "classifier.6", 10, 64, bias=True)
    return table


@pytest.mark.parametrize(("name", "last"), [("vgg3-seg", 2), ("vgg5-cls", 7), ("vgg8-seg", 14)])
def test_vgg16_fills_the_pixel_nets_and_brings_its_scale(name: str, last: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    table = _vgg16()
    save_file(table, tmp_path / "vgg16.safetensors")
    model = build(name).eval()
    fresh = {k: v.clone() for k, v in model.state_dict().items()}
    assert load_weights(model, tmp_path / "vgg16.safetensors", _weights(name)) is None
    image = torch.rand(2, 3, 33, 40)
    mean, std = (torch.tensor(part).view(3, 1, 1) for part in IMAGENET)
    x = (image - mean) / std
    for number in (0, 2, 5, 7, 10, 12, 14):
        if number <= last:
            x = functional.max_pool2d(x, 2) if number in (5, 10) else x
            x = functional.conv2d(
                x, table[f"features.{number}.weight"], table[f"features.{number}.bias"], padding=1
            ).relu()
    net: nn.Sequential = model.net  # type: ignore[assignment]
    torch.testing.assert_close(net[:-1](image), x)
    changed = [k for k, v in model.state_dict().items() if not torch.equal(v, fresh[k])]
    assert len(changed) == 2 + 2 * sum(n <= last for n in (0, 2, 5, 7, 10, 12, 14))
    other = build(name.replace("-seg", "-cls"))
    save_file({k: v for k, v in table.items() if k != "features.2.weight"}, tmp_path / "cut.safetensors")
    told = r"not this backbone's weights \(known: vgg16 of torchvision\): .* the first is features\.2\.weight"
    with pytest.raises(UsageError, match=told):
        load_weights(other, tmp_path / "cut.safetensors", _weights(name))


# EfficientNet-B0, in four layouts.

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
    _conv(table, stem, 32, 3, 3, 3)
    _norm(table, stem_n, 32)
    for stage, at, flat, inputs, inner, width, kernel, _ in _blocks():
        where = (stage, at, flat)
        if inner != inputs:
            _conv(table, name(*where, "expand"), inner, inputs, 1, 1)
            _norm(table, name(*where, "expand_n"), inner)
        _conv(table, name(*where, "deep"), inner, 1, kernel, kernel)
        _norm(table, name(*where, "deep_n"), inner)
        _conv(table, name(*where, "reduce"), inputs // 4, inner, 1, 1, bias=True)
        _conv(table, name(*where, "excite"), inner, inputs // 4, 1, 1, bias=True)
        _conv(table, name(*where, "out"), width, inner, 1, 1)
        _norm(table, name(*where, "out_n"), width)
    _conv(table, top, 1280, 320, 1, 1)
    _norm(table, top_n, 1280)
    _conv(table, last, 1000, 1280, bias=True)
    return table


def _efficientnet_of(table: Table, layout: str, x: Tensor) -> tuple[Tensor, Tensor]:
    """The coarse features, after three blocks, and the last, by a file's names; padded as TensorFlow does."""
    name, (stem, stem_n, top, top_n), _ = _ENDS[layout]

    def padded(x: Tensor, kernel: int, stride: int) -> Tensor:
        total = [max(0, (-(-n // stride) - 1) * stride + kernel - n) for n in (x.shape[3], x.shape[2])]
        return functional.pad(x, [side for t in total for side in (t // 2, t - t // 2)])

    x = functional.silu(
        _normed(table, stem_n, functional.conv2d(padded(x, 3, 2), table[f"{stem}.weight"], stride=2), 1e-3)
    )
    coarse = x
    for stage, at, flat, inputs, inner, width, kernel, stride in _blocks():
        where, before = (stage, at, flat), x
        if inner != inputs:
            x = functional.conv2d(x, table[name(*where, "expand") + ".weight"])
            x = functional.silu(_normed(table, name(*where, "expand_n"), x, 1e-3))
        deep = table[name(*where, "deep") + ".weight"]
        x = functional.conv2d(padded(x, kernel, stride), deep, stride=stride, groups=inner)
        x = functional.silu(_normed(table, name(*where, "deep_n"), x, 1e-3))
        gate = x.mean(dim=(2, 3), keepdim=True)
        for part, act in (("reduce", functional.silu), ("excite", torch.sigmoid)):
            at_ = name(*where, part)
            gate = act(functional.conv2d(gate, table[f"{at_}.weight"], table[f"{at_}.bias"]))
        x = functional.conv2d(x * gate, table[name(*where, "out") + ".weight"])
        x = _normed(table, name(*where, "out_n"), x, 1e-3)
        x = x + before if stride == 1 and inputs == width else x
        coarse = x if flat == 2 else coarse
    return coarse, functional.silu(_normed(table, top_n, functional.conv2d(x, table[f"{top}.weight"]), 1e-3))


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
    assert load_weights(model, tmp_path / "b0.pth", _weights("cael")) is None
    image = torch.rand(1, 3, 64, 64)
    mean, std = (torch.tensor(part).view(3, 1, 1) for part in (KERAS if layout == "transformers" else IMAGENET))
    with torch.inference_mode():
        coarse, fine = _efficientnet_of(table, layout, (image - mean) / std)
        scaled = model.scale(image)
        torch.testing.assert_close(model.coarse(scaled), coarse, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(model.fine(pixel_values=scaled).last_hidden_state, fine, atol=1e-4, rtol=1e-4)


# SlowFast R50 8x8, in two layouts.


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
        _conv(table, name(0, path, 0, "stem"), width, 3, times[0], 7, 7)
        _norm(table, name(0, path, 0, "stem_n"), width)
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
                    _conv(table, name(stage, path, block, part), *shape)
                    _norm(table, name(stage, path, block, f"{part}_n"), shape[0])
            inputs = 4 * inner
    for stage, width in enumerate((8, 32, 64, 128)):
        _conv(table, name(stage, 0, 0, "fuse"), 2 * width, width, 7, 1, 1)
        _norm(table, name(stage, 0, 0, "fuse_n"), 2 * width)
    _conv(table, last, 400, 2304, bias=True)
    return table


def _slowfast_of(table: Table, name: Name, clip: Tensor) -> Tensor:
    """The pooled features, by a file's names."""

    def conv(x: Tensor, where: tuple[int, int, int], part: str, stride: tuple[int, int] = (1, 1)) -> Tensor:
        weight = table[name(*where, part) + ".weight"]
        pad = [side // 2 for side in weight.shape[2:]]
        out = functional.conv3d(x, weight, stride=(stride[0], stride[1], stride[1]), padding=pad)
        return _normed(table, name(*where, f"{part}_n"), out)

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
    assert load_weights(model, tmp_path / "sf.pyth", _weights("slowfast-r50")) is None
    seen: list[Tensor] = []
    model.fc.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    clip = torch.rand(1, 3, 8, 64, 64)
    with torch.inference_mode():
        model(clip)
        torch.testing.assert_close(seen[0], _slowfast_of(table, name, clip), atol=1e-4, rtol=1e-4)
    with pytest.raises(
        UsageError, match=r"\d of another shape; the first is .*\(16, 8, 7, 1, 1\) for \(16, 8, 5, 1, 1\)"
    ):
        load_weights(SlowFast(frames=8, alpha=8, fusion=5), tmp_path / "sf.pyth", _weights("slowfast-r50"))


# Xception, as the field passes it on.


def test_old_xceptions_have_flat_pointwise_kernels_another_last_layer_and_a_prefix(tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = Xception(5).state_dict()
    old = {k.replace("fc.", "last_linear."): v.flatten(1) if "pointwise" in k else v for k, v in whole.items()}
    assert sum(v.ndim == 2 for v in old.values()) == 1 + 34
    torch.save(old, tmp_path / "xception-b5690688.pth")
    torch.save(
        {f"backbone.{k}": v for k, v in old.items()} | {"adjust.0.weight": torch.zeros(2)}, tmp_path / "bench.pth"
    )
    for name, trunk in (("xception-seg", "net.0"), ("two-stream", "trunk")):
        for file, note in (
            ("xception-b5690688.pth", None),
            ("bench.pth", "1 tensor is not taken, the first is adjust.0"),
        ):
            model = build(name)
            told = load_weights(model, tmp_path / file, _weights(name))
            assert (told is None) == (note is None)
            assert note is None or note in str(told)
            own = model.get_submodule(trunk).state_dict()
            assert all(torch.equal(value, whole[key]) for key, value in own.items())
    # A last layer of another size is nobody's business; a kernel is.
    torch.save({k: v for k, v in old.items() if k != "block7.rep.4.pointwise.weight"}, tmp_path / "cut.pth")
    with pytest.raises(UsageError) as caught:
        load_weights(build("xception-cls"), tmp_path / "cut.pth", _weights("xception-cls"))
    assert re.search(
        r"cut\.pth: .* 1 tensor is missing, 0 of another shape; the first is block7\.rep\.4\.pointwise",
        str(caught.value),
    )
    assert len(str(caught.value).splitlines()) == 1


def test_a_scale_that_weights_brought_is_kept_and_older_states_lack_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_file(_vgg16(), tmp_path / "vgg16.safetensors")
    model = build("vgg5-seg")
    training = Training("vgg5-seg", (), tmp_path, make_recipe("vgg5-seg", {}), weights=tmp_path / "vgg16.safetensors")
    assert _start_from(training, model) == []
    again = build("vgg5-seg")
    fill(again, model.state_dict(), "state")
    image = torch.rand(1, 3, 32, 32)
    assert torch.equal(again(image)["mask"], model(image)["mask"])
    older = {name: t for name, t in model.state_dict().items() if "input_" not in name}
    fill(again := build("vgg5-seg"), older, "state")
    assert torch.equal(again.get_submodule("net.0")(image), 2 * image - 1)
