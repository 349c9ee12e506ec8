"""Files of pretrained weights of VGG16 and Xception: each tensor lands in its place, with the scale of its pictures.

The files are made here from the published networks' tables; VGG16, written again by a file's own names, has to compute
what ours computes with them.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from forgeprep.errors import UsageError
from forgeprep.training.checkpoint import fill
from forgeprep.training.models import build
from forgeprep.training.models.xception import Xception
from forgeprep.training.pretrained import IMAGENET, load_weights
from forgeprep.training.recipe import make_recipe
from forgeprep.training.run_folder import Training
from forgeprep.training.trainer import _start_from
from tests.helpers.weights import Table, add_conv, weights_of

# VGG16, as torchvision and timm number it.


def _vgg16() -> Table:
    table: Table = {}
    widths = {0: (64, 3), 2: (64, 64), 5: (128, 64), 7: (128, 128), 10: (256, 128), 12: (256, 256), 14: (256, 256)}
    for number, shape in widths.items():
        add_conv(table, f"features.{number}", *shape, 3, 3, bias=True)
    add_conv(table, "features.17", 512, 256, 3, 3, bias=True)
    add_conv(table, "classifier.6", 10, 64, bias=True)
    return table


@pytest.mark.parametrize(("name", "last"), [("vgg3-seg", 2), ("vgg5-cls", 7), ("vgg8-seg", 14)])
def test_vgg16_fills_the_pixel_nets_and_brings_its_scale(name: str, last: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    table = _vgg16()
    save_file(table, tmp_path / "vgg16.safetensors")
    model = build(name).eval()
    fresh = {k: v.clone() for k, v in model.state_dict().items()}
    assert load_weights(model, tmp_path / "vgg16.safetensors", weights_of(name)) is None
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
        load_weights(other, tmp_path / "cut.safetensors", weights_of(name))


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
            told = load_weights(model, tmp_path / file, weights_of(name))
            assert (told is None) == (note is None)
            assert note is None or note in str(told)
            own = model.get_submodule(trunk).state_dict()
            assert all(torch.equal(value, whole[key]) for key, value in own.items())
    # A last layer of another size is nobody's business; a kernel is.
    torch.save({k: v for k, v in old.items() if k != "block7.rep.4.pointwise.weight"}, tmp_path / "cut.pth")
    with pytest.raises(UsageError) as caught:
        load_weights(build("xception-cls"), tmp_path / "cut.pth", weights_of("xception-cls"))
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
