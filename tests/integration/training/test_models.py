"""The detectors as a whole: their sizes as published, and that they learn."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from forgeprep.errors import UsageError
from forgeprep.training.models import build, get_model, meso, model_names, parameters, pixel, without_weights
from forgeprep.training.models.local_similarity import LocalSimilarity
from forgeprep.training.models.two_stream import TwoStream
from forgeprep.training.models.xception import Xception
from forgeprep.training.pretrained import load_weights
from tests.helpers.batches import batch_of


@pytest.mark.parametrize(
    ("count", "net"),
    [
        (22_855_952, lambda: Xception(1000)),
        (210_945, pixel.fn3),
        (38_785, lambda: pixel.vgg(64, 64)),
        (260_289, lambda: pixel.vgg(64, 64, "M", 128, 128)),
        (1_735_745, lambda: pixel.vgg(64, 64, "M", 128, 128, "M", 256, 256, 256)),
        (1_864_129, lambda: pixel.UNet(2)),
        (7_700_161, lambda: pixel.UNet(3)),
        (28_615, meso.MesoClassifier),
        (12_215, meso.meso_map),
        (21_486_450, TwoStream),
    ],
)
def test_parameters_are_as_many_as_published(count: int, net: object) -> None:
    assert sum(parameter.numel() for parameter in net().parameters()) == count  # type: ignore[operator]


@pytest.mark.parametrize("name", model_names())
def test_the_list_of_models_says_how_large_they_are(name: str) -> None:
    assert get_model(name).parameters == parameters(without_weights(name))


def test_models_are_listed_without_torch() -> None:
    code = "import sys; from forgeprep.commands.models import models; from types import SimpleNamespace as S; "
    code += "models(S(invoked_subcommand=None)); print([m for m in ('torch', 'sklearn', 'ray') if m in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.splitlines()[-1] == "[]"
    assert all(name in told for name in model_names())


def test_xception_can_be_tapped_where_the_papers_do() -> None:
    net = Xception(0).eval()
    with torch.inference_mode():
        at = {
            size: {n: tuple(t.shape[1:]) for n, t in net.features(torch.rand(1, 3, size, size)).items()}
            for size in (299, 224)
        }
    assert at[299] == {
        "conv2": (64, 147, 147), "block1": (128, 74, 74), "block2": (256, 37, 37), "block11": (728, 19, 19),
        "bn4": (2048, 10, 10),
    }  # fmt: skip
    assert at[224]["block11"] == (728, 14, 14)
    assert at[224]["conv2"] == (64, 109, 109)


ELSEWHERE = {"cael", "f3net", "foundation-vit", "meso4", "resnet50", "spsl", "srm", "xception"}
"""What has tests of its own."""
HERE = [n for n in model_names() if n not in ELSEWHERE and "both" not in n and get_model(n).takes == "image"]


@pytest.mark.parametrize("name", HERE)
def test_every_detector_learns_from_a_batch(name: str) -> None:
    torch.manual_seed(0)
    model = get_model(name)
    detector, size = build(name), model.size if model.fixed else 96
    batch = batch_of(torch.rand(2, 3, size, size), [1.0, 0.0], [True, True])
    out = detector(batch["image"])
    terms = detector.losses(out, batch)
    torch.stack(list(terms.values())).sum().backward()
    assert all(torch.isfinite(term) for term in terms.values())
    lacking = [n for n, p in detector.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert lacking == []
    score, heat = detector.score(out), detector.heat(out)
    assert score.shape == (2,)
    assert ((score >= 0) & (score <= 1)).all()
    if heat is not None:
        assert heat.shape[:2] == (2, 1)
        assert ((heat >= 0) & (heat <= 1)).all()


def test_cael_and_its_released_variant_compute_a_verdict() -> None:
    image = torch.rand(2, 3, 224, 224)
    for options in ({}, {"official_compat": True, "classes": 3}):
        detector = build("cael", options)
        terms = detector.losses(detector(image), batch_of(image, [1.0, 0.0], [False, False]))
        assert torch.isfinite(terms["label"])
    assert 150e6 < parameters(detector) < 180e6


@pytest.mark.parametrize("name", ["fn3-seg", "unet4x-seg", "unet8x-seg", "vgg5-seg"])
def test_maps_have_the_size_of_any_picture(name: str) -> None:
    detector = build(name).eval()
    with torch.inference_mode():
        assert detector(torch.rand(1, 3, 75, 102))["mask"].shape == (1, 1, 75, 102)


def test_the_decoder_follows_the_encoder_at_odd_sizes() -> None:
    out = LocalSimilarity(kernel="none").eval()(torch.rand(1, 3, 200, 200))
    assert out["mask"].shape == (1, 1, 200, 200)
    assert "similarity" not in out
    assert "mask" not in LocalSimilarity(flm=False).eval()(torch.rand(1, 3, 224, 224))


def test_two_stream_steps_and_options() -> None:
    image = torch.rand(1, 3, 299, 299)
    semantic = TwoStream("semantic").eval()(image)
    assert [tuple(semantic[f"seg{i}"].shape[1:]) for i in range(3)] == [(2, 147, 147), (2, 37, 37), (2, 19, 19)]
    assert "noise0" not in semantic
    n_way = TwoStream(classes=5, attention="sigmoid", separable=True).eval()
    out = n_way(image)
    torch.testing.assert_close(n_way.score(out), 1 - torch.softmax(out["classes"], 1)[:, 0])
    heat = n_way.heat(out)
    assert heat is not None
    assert heat.shape == (1, 1, 299, 299)
    assert set(TwoStream("none").eval()(image)) == {"logit"}


def test_pretrained_weights_fill_the_backbone_or_say_what_does_not_fit(tmp_path: Path) -> None:
    torch.manual_seed(3)
    pretrained = Xception(1000)
    save_file(pretrained.state_dict(), tmp_path / "x.safetensors")
    torch.save(pretrained.state_dict(), tmp_path / "x.pth")
    weights = get_model("two-stream").weights
    assert weights is not None
    for file in ("x.safetensors", "x.pth"):
        detector = build("two-stream")
        assert load_weights(detector, tmp_path / file, weights) is None
        own = detector.get_submodule("trunk").state_dict()
        assert all(torch.equal(value, pretrained.state_dict()[name]) for name, value in own.items())
    save_file({"conv1.weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    (tmp_path / "broken.pth").write_bytes(b"no weights")
    (tmp_path / "empty.pth").touch()
    # What a file is called says nothing of what it holds.
    (tmp_path / "x.pth").rename(tmp_path / "torch.safetensors")
    (tmp_path / "x.safetensors").rename(tmp_path / "safe.pth")
    for file in ("torch.safetensors", "safe.pth"):
        assert load_weights(build("two-stream"), tmp_path / file, weights) is None
    (tmp_path / "cut.pth").write_bytes((tmp_path / "torch.safetensors").read_bytes()[:-9000])
    whole = Xception(0).state_dict()
    save_file(whole | {"conv2.weight": whole["conv2.weight"] * torch.nan}, tmp_path / "nan.safetensors")
    save_file(whole | {"conv2.weight": whole["conv2.weight"].to(torch.int8)}, tmp_path / "int.safetensors")
    for file, message in (
        ("other.safetensors", "not this backbone's weights"),
        ("broken.pth", r"no weights that can be read \(neither safetensors nor a torch file of plain tensors\)"),
        ("empty.pth", "neither safetensors nor"),
        ("cut.pth", r"no weights that can be read \(its end is missing\); fetch the file again"),
        ("nan.safetensors", "conv2.weight holds other than finite numbers of floating point"),
        ("int.safetensors", "conv2.weight holds other than finite numbers"),
        ("gone.pth", "no such file; fetch the weights first"),
    ):
        with pytest.raises(UsageError, match=message):
            load_weights(Xception(0), tmp_path / file)
