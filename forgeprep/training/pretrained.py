"""Pretrained weights of a backbone, out of the files that the field has.

Who wrote a file is told by the names of its tensors: each layout says which tensor of a file is which of the
backbone's, and the layout that fits best is taken. Where the network keeps the scale of its input in buffers, they
become those that the weights were trained with.
"""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from forgeprep.errors import UsageError
from forgeprep.io.safe_files import check_regular
from forgeprep.media import guard
from forgeprep.text import counted
from forgeprep.training.fetched import PRETRAINED
from forgeprep.training.models.base import Normalised
from forgeprep.training.models.record import Weights

MAX_WEIGHTS_BYTES = 16 << 30

Means = tuple[float, float, float]
IMAGENET: tuple[Means, Means] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# The Keras network divides by the square root of the deviation; its weights were trained so.
KERAS: tuple[Means, Means] = (IMAGENET[0], (0.47853944, 0.4732864, 0.47434163))

WHOLE = Weights("", "")
"""A model as a whole, by its own names."""
_TRACKED = "num_batches_tracked"


@dataclass(frozen=True, slots=True)
class Layout:
    """How a file names the tensors of a backbone.

    Attributes:
        name: whose files these are.
        source: the file's name of a tensor of the backbone; empty for one that starts fresh.
        spare: what such a file has and the backbone may not need, as a regular expression from the start of a name.
        scale: mean and deviation of the input, from 0 to 1, that the weights were trained with; None where the network
            has them built in.
    """

    name: str
    source: Callable[[str], str]
    spare: str = r"(?!)"
    scale: tuple[Means, Means] | None = None


def load_weights(model: nn.Module, path: Path, weights: Weights = WHOLE) -> str | None:
    """Fill a model's backbone with pretrained weights from a safetensors file or a torch checkpoint of plain tensors.

    Returns:
        a line about tensors of the file that nobody knows; None where there are none.

    Raises:
        UsageError: the file is missing, unreadable, or of another network; the message names the first tensor.
    """
    found = read_tensors(path)
    # An option may have left out one of several backbones.
    there = {name for name, _ in model.named_modules()}
    modules = {name: model.get_submodule(name) for name in weights.modules if name in there}
    own = {f"{at}\n{name}": t for at, module in modules.items() for name, t in module.state_dict().items()}
    layouts = LAYOUTS[weights.layouts]
    matches = [(layout, *_match(own, found, layout)) for layout in layouts]
    layout, begin, table = max(matches, key=lambda match: len(found.keys() & set(match[2].values())))
    lacking = [theirs for theirs in table.values() if theirs not in found and not theirs.endswith(_TRACKED)]
    fitted = {name: _fitted(found[theirs], own[name]) for name, theirs in table.items() if theirs in found}
    unfit = [
        f"{table[name]} {tuple(found[table[name]].shape)} for {tuple(own[name].shape)}"
        for name, tensor in fitted.items()
        if tensor is None
    ]
    if lacking or unfit:
        known = f" (known: {', '.join(one.name for one in layouts)})" if layouts[0].name else ""
        raise UsageError(
            f"{path}: not this backbone's weights{known}: {counted(len(lacking), 'tensor is', 'tensors are')} missing, "
            f"{len(unfit):,} of another shape; the first is {(unfit or lacking)[0]}"
        )
    odd = next((table[name] for name, tensor in fitted.items() if not _is_sound(tensor, own[name])), None)
    if odd is not None:
        raise UsageError(f"{path}: {odd} holds other than finite numbers of floating point; fetch the file again")
    for at, module in modules.items():
        part = {name.partition("\n")[2]: t for name, t in fitted.items() if name.partition("\n")[0] == at}
        module.load_state_dict({name: t for name, t in part.items() if t is not None}, strict=False)
    for module in model.modules():
        if isinstance(module, Normalised) and layout.scale is not None:
            module.set(*layout.scale)
    rest = [name.removeprefix(begin) for name in found if name not in set(table.values())]
    return _odd(path, rest, layout.spare)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file or of a torch checkpoint, whose table may be one of its entries.

    Raises:
        UsageError: the file is missing or unreadable, or holds no table of tensors.
    """
    try:
        check_regular(path, MAX_WEIGHTS_BYTES)
        with guard.memory(4 * path.stat().st_size + (1 << 30)):
            tensors = _read(path)
    except FileNotFoundError:
        known = ", ".join(name for name, file in PRETRAINED.items() if file.by_hand is None)
        told = f"'forgeprep weights fetch NAME' gets those of {known}, and tells where they are"
        raise UsageError(f"{path}: no such file; fetch the weights first: {told}") from None
    except IsADirectoryError:
        raise UsageError(f"{path}: is a folder; give a file of weights") from None
    except pickle.UnpicklingError:  # torch tells at length how to run what an unknown file holds
        told = "neither safetensors nor a torch file of plain tensors"
        raise UsageError(f"{path}: no weights that can be read ({told})") from None
    except Exception as error:  # what torch and safetensors raise at a damaged file is of many kinds
        told = " ".join(str(error).split())[:160]
        told = told if " " in told else "damaged"  # such as "101", or nothing at all
        raise UsageError(f"{path}: no weights that can be read ({told}); fetch the file again") from None
    entries: list[Any] = [tensors, *tensors.values()] if isinstance(tensors, Mapping) else []
    tables: list[dict[str, Tensor]] = [dict(one) for one in entries if isinstance(one, Mapping) and _holds_tensors(one)]
    found = max(tables, key=len, default={})
    if not found:
        raise UsageError(f"{path}: holds no table of tensors")
    return found


def _read(path: Path) -> Any:
    """What a file holds; its first bytes tell its kind, whatever it is called."""
    with path.open("rb") as file:
        head = file.read(9)
    if head[8:] == b"{":
        return load_file(path)
    if head[:2] != b"PK" and head[:1] != b"\x80":
        raise pickle.UnpicklingError
    _check_zip(path, head)
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pickles that are refused in the next line
        return torch.load(file, map_location="cpu", weights_only=True)  # the file: torch goes by a path's suffix


def _holds_tensors(table: Mapping[Any, Any]) -> bool:
    return all(isinstance(name, str) and isinstance(value, Tensor) for name, value in table.items())


def _check_zip(path: Path, head: bytes) -> None:
    """Refuse a torch checkpoint that ends too early, or whose parts unpack to more than it holds; torch itself stores
    them unpacked.
    """
    if not zipfile.is_zipfile(path):
        if head[:2] == b"PK":
            raise ValueError("its end is missing")
        return
    with zipfile.ZipFile(path) as file:
        claimed = sum(entry.file_size for entry in file.infolist())
        packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in file.infolist())
    if packed or claimed > path.stat().st_size:
        raise ValueError(f"claims more than it holds: {claimed:,} bytes in {path.stat().st_size:,}")


def _match(own: Mapping[str, Tensor], found: Mapping[str, Tensor], layout: Layout) -> tuple[str, dict[str, str]]:
    """How all of a file's names begin, e.g. with ``module.``, and its name of each tensor of the backbone."""
    names = {name: layout.source(name.partition("\n")[2]) for name in own}
    wanted = {name: theirs for name, theirs in names.items() if theirs}
    longest = sorted(wanted.values(), key=len)[-8:]
    begins = {key.removesuffix(name) for name in longest for key in found if key == name or key.endswith(f".{name}")}
    begin = max(sorted(begins), key=lambda text: sum(text + theirs in found for theirs in wanted.values()), default="")
    return begin, {name: begin + theirs for name, theirs in wanted.items()}


def _fitted(tensor: Tensor, own: Tensor) -> Tensor | None:
    """A tensor in the shape of the backbone's; None where it is another. Old files lack the sides of 1 x 1 kernels."""
    if tensor.ndim == own.ndim == 4 and tensor.shape[1] == 3 < own.shape[1] and tensor.shape[2:] == own.shape[2:]:
        # A network that sees more than red, green and blue: these in turn, so that as much comes out.
        wide = tensor[:, torch.arange(own.shape[1]) % 3] * (3 / own.shape[1])
        return wide if wide.shape == own.shape else None
    shape = (*tensor.shape, *[1] * (own.ndim - tensor.ndim))
    return tensor.reshape(shape) if shape == tuple(own.shape) else None


def _is_sound(tensor: Tensor | None, own: Tensor) -> bool:
    """Whether there are numbers that a network can go on with; integers are, where it counts by itself."""
    if tensor is None or not own.is_floating_point():
        return True
    return tensor.is_floating_point() and bool(torch.isfinite(tensor).all())


def _odd(path: Path, names: Sequence[str], spare: str) -> str | None:
    odd = [name for name in names if not name.endswith(_TRACKED) and not re.match(rf"(.*\.)?({spare})", name)]
    return f"{path}: {counted(len(odd), 'tensor is', 'tensors are')} not taken, the first is {odd[0]}" if odd else None


def _vgg16(name: str) -> str:
    """The pixel nets begin with the input's scale, one place before torchvision's; their last layer is their own."""
    number, _, kind = name.partition(".")
    return "" if number in ("0", "5", "10", "17") else f"features.{int(number) - 1}.{kind}"


_REPEATS = (1, 2, 2, 3, 3, 4, 1)
_STAGES = [(stage, number) for stage, count in enumerate(_REPEATS) for number in range(count)]
_PARTS = (
    "expansion.expand_conv", "expansion.expand_bn", "depthwise_conv.depthwise_conv", "depthwise_conv.depthwise_norm",
    "squeeze_excite.reduce", "squeeze_excite.expand", "projection.project_conv", "projection.project_bn",
)  # fmt: skip
_STEM_AND_TOP = ("embeddings.convolution", "embeddings.batchnorm", "encoder.top_conv", "encoder.top_bn")


def _keras(name: str) -> str:
    """EfficientNet as transformers names it; its first blocks alone are numbered from the stem on."""
    number, dot, rest = name.partition(".")
    if not number.isdecimal():
        return name
    return f"embeddings.{rest}" if number == "0" else f"encoder.blocks.{int(number) - 1}{dot}{rest}"


def _efficientnet(
    ends: tuple[str, str, str, str], block: Callable[[int], tuple[str, tuple[str, ...]]]
) -> Callable[[str], str]:
    """Names of EfficientNet: those of stem and top, and of each block its own and those of its parts."""

    def source(name: str) -> str:
        layer, _, kind = _keras(name).rpartition(".")
        if layer in _STEM_AND_TOP:
            return f"{ends[_STEM_AND_TOP.index(layer)]}.{kind}"
        number, part = re.fullmatch(r"encoder\.blocks\.(\d+)\.(.+)", layer).groups()  # type: ignore[union-attr]
        begin, parts = block(int(number))
        return f"{begin}.{parts[_PARTS.index(part)]}.{kind}"

    return source


def _torchvision_block(number: int) -> tuple[str, tuple[str, ...]]:
    stage, place = _STAGES[number]
    first = 1 if number else 0  # the first block does not expand
    names = [f"{at}.{end}" for at in range(first, first + 3) for end in ("0", "1")]
    names[2:4] = [f"{first + 1}.fc1", f"{first + 1}.fc2"]
    return f"features.{stage + 1}.{place}.block", ("0.0", "0.1", *names)


def _timm_block(number: int) -> tuple[str, tuple[str, ...]]:
    stage, place = _STAGES[number]
    squeeze = ("se.conv_reduce", "se.conv_expand")
    names = ("conv_pw", "bn1", "conv_dw", "bn2", *squeeze, "conv_pwl", "bn3")
    if not number:
        names = ("", "", "conv_dw", "bn1", *squeeze, "conv_pw", "bn2")
    return f"blocks.{stage}.{place}", names


def _port_block(number: int) -> tuple[str, tuple[str, ...]]:
    names = ("_expand_conv", "_bn0", "_depthwise_conv", "_bn1", "_se_reduce", "_se_expand", "_project_conv", "_bn2")
    return f"_blocks.{number}", names


def _pyslowfast(name: str) -> str:
    """PySlowFast: ``s2.pathway0_res0.branch2.a.weight``."""
    place, *rest = name.split(".")
    if place == "fuse":
        return f"s{int(rest[0]) + 1}_fuse.{('conv_f2s', 'bn')[int(rest[1])]}.{rest[2]}"
    if place == "fc":
        return ""
    path = ("slow", "fast").index(place)
    if rest[0] == "0":
        return f"s1.pathway{path}_stem.{('conv', 'bn')[int(rest[1])]}.{rest[2]}"
    stage, block, branch, number, kind = rest
    end = ("", "_bn")[int(number) % 3]
    part = f"branch1{end}" if branch == "skip" else f"branch2.{'abc'[int(number) // 3]}{end}"
    return f"s{int(stage) + 1}.pathway{path}_res{block}.{part}.{kind}"


def _pytorchvideo(name: str) -> str:
    """PyTorchVideo: ``blocks.1.multipathway_blocks.0.res_blocks.0.branch2.conv_a.weight``."""
    place, *rest = name.split(".")
    if place == "fuse":
        part = ("conv_fast_to_slow", "norm")[int(rest[1])]
        return f"blocks.{rest[0]}.multipathway_fusion.{part}.{rest[2]}"
    if place == "fc":
        return ""
    begin = f"blocks.{rest[0]}.multipathway_blocks.{('slow', 'fast').index(place)}"
    if rest[0] == "0":
        return f"{begin}.{('conv', 'norm')[int(rest[1])]}.{rest[2]}"
    _, block, branch, number, kind = rest
    if branch == "skip":
        part = f"branch1_{('conv', 'norm')[int(number)]}"
    else:
        part = f"branch2.{('conv', 'norm')[int(number) % 3]}_{'abc'[int(number) // 3]}"
    return f"{begin}.res_blocks.{block}.{part}.{kind}"


def _backbone(source: Callable[[str], str]) -> Callable[[str], str]:
    """Names of a trunk that scales its input; the scale comes from no file."""
    return lambda name: "" if name.startswith("scale.") else source(name)


_RESNET_PARTS = {"layer.0": "1", "layer.1": "2", "layer.2": "3"}


def _resnet50(name: str) -> str:
    """ResNet of torchvision and timm: ``layer1.0.conv1.weight``."""
    layer, _, kind = name.removeprefix("net.").rpartition(".")
    place, part = layer.rsplit(".", 1)
    norm = part == "normalization"
    if place == "0.embedder":
        return f"{'bn1' if norm else 'conv1'}.{kind}"
    stage, block, rest = re.fullmatch(r"1\.stages\.(\d)\.layers\.(\d)\.(.+)", place).groups()  # type: ignore[union-attr]
    begin = f"layer{int(stage) + 1}.{block}"
    if rest == "shortcut":
        return f"{begin}.downsample.{int(norm)}.{kind}"
    return f"{begin}.{'bn' if norm else 'conv'}{_RESNET_PARTS[rest]}.{kind}"


def _resnet_of_transformers(name: str) -> str:
    """``embedder.embedder.convolution.weight``."""
    return name.replace("net.0.", "embedder.", 1).replace("net.1.", "encoder.", 1)


_TORCHVISION = ("features.0.0", "features.0.1", "features.8.0", "features.8.1")

LAYOUTS: dict[str, tuple[Layout, ...]] = {
    "same": (Layout("", str),),
    "xception": (Layout("legacy_xception of timm", str, r"(fc|last_linear|block([4-9]|1[0-2])|conv[34]|bn[34])\."),),
    "vgg16": (
        Layout("vgg16 of torchvision", _vgg16, r"(features|classifier|pre_logits|head|last_linear|fc)\b", IMAGENET),
    ),
    "efficientnet_b0": (
        Layout("torchvision", _efficientnet(_TORCHVISION, _torchvision_block), r"classifier\.", IMAGENET),
        Layout("timm", _efficientnet(("conv_stem", "bn1", "conv_head", "bn2"), _timm_block), r"classifier\.", IMAGENET),
        Layout(
            "efficientnet-pytorch",
            _efficientnet(("_conv_stem", "_bn0", "_conv_head", "_bn1"), _port_block),
            r"_fc\.",
            IMAGENET,
        ),
        Layout("transformers", _keras, r"classifier\.", KERAS),
    ),
    "resnet50": (
        Layout("torchvision", _backbone(_resnet50), r"fc\.", IMAGENET),
        Layout("transformers", _backbone(_resnet_of_transformers), r"classifier\.", IMAGENET),
    ),
    "slowfast_r50": (
        Layout("PySlowFast", _pyslowfast, r"head\."),
        Layout("PyTorchVideo", _pytorchvideo, r"blocks\.[56]\."),
    ),
}
"""Layouts by what a model's record asks for."""
