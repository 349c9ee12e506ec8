"""Baselines, models of frequencies and of foundation models, and the ablations of the papers: that they learn."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.fft
import torch
from safetensors.torch import save_file

from forgeprep.errors import ForgeprepError, UsageError
from forgeprep.training.models import build, get_model, model_names, parameters, without_weights
from forgeprep.training.models.base import ForgeryModel
from forgeprep.training.models.cael import Cael, edges
from forgeprep.training.models.f3net import SIDE, Fad, Lfs
from forgeprep.training.models.frequency import CrossAttention, dct_basis, srm_kernels
from forgeprep.training.models.local_similarity import LocalSimilarity
from forgeprep.training.models.slowfast import SlowFast
from forgeprep.training.models.spsl import phase_picture
from forgeprep.training.models.two_stream import TwoStream
from forgeprep.training.models.xception import Xception
from forgeprep.training.pretrained import load_weights
from forgeprep.training.recipe import make_recipe
from tests.helpers.batches import batch_of


def learns(model: ForgeryModel, batch: dict[str, Any], *, lr: float = 1e-3, steps: int = 2) -> None:
    """The loss falls with a few steps on one batch, and every weight that is learnt has a gradient."""
    learnt = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.Adam(learnt.values(), lr=lr)
    losses = []
    for step in range(steps + 1):
        torch.manual_seed(7)
        loss = torch.stack(list(model.losses(model(batch["image"]), batch).values())).sum()
        losses.append(float(loss.detach()))
        if step < steps:
            optimizer.zero_grad()
            loss.backward()
            assert [name for name, p in learnt.items() if p.grad is None or not p.grad.isfinite().all()] == []
            optimizer.step()
    assert losses[-1] < losses[0]


def pictures(side: int, count: int = 2) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.rand(count, 3, side, side)


@pytest.mark.parametrize(
    ("name", "options", "side"),
    [
        ("xception", {}, 50),
        ("resnet50", {"classes": 2}, 40),
        ("meso4", {}, 256),
        ("unet4x-both", {}, 62),
        ("unet8x-both", {"classes": 3}, 50),
        ("f3net", {}, 50),
        ("spsl", {}, 65),
        ("srm", {}, 50),
    ],
)
def test_each_learns_from_a_batch(name: str, options: dict[str, Any], side: int) -> None:
    model = build(name, options)
    batch = batch_of(pictures(side), [1.0, 0.0], [True, True])
    out = model(batch["image"])
    assert model.score(out).shape == (2,)
    heat = model.heat(out)
    assert (heat is not None) == name.startswith("unet")
    assert heat is None or heat.shape == (2, 1, side, side)
    learns(model, batch)


@pytest.mark.parametrize(
    ("name", "count"), [("meso4", 27_977), ("resnet50", 23_510_081), ("xception", 20_809_001), ("f3net", 45_531_863)]
)
def test_their_sizes(name: str, count: int) -> None:
    # Meso-4's is its authors'; ResNet-50 has 25,557,032 with ImageNet's 1,000 classes, and Xception 22,855,952.
    assert parameters(without_weights(name)) == get_model(name).parameters == count


def test_two_stream_as_its_tables_vary_it() -> None:
    image = pictures(299, 1)
    noise = TwoStream("noise").eval()
    out = noise(image)
    assert noise.needs == ("noise",)
    assert noise.heat(out) is None
    assert {"noise0", "noise2", "logit"} <= set(out)
    for scales, there in (("3", {2}), ("2,3", {1, 2}), (1, {0}), ([2], {1})):
        model = TwoStream("semantic", scales=scales, gamma="1,1,2").eval()
        out = model(image)
        assert {int(name[3:]) for name in out if name.startswith("seg")} == there
        heat = model.heat(out)
        assert heat is not None
        assert heat.shape == (1, 1, 299, 299)
        assert sum(model.gamma) == pytest.approx(1)
    assert TwoStream(scales="2,3").gamma == pytest.approx((0.2 / 0.9, 0.7 / 0.9))
    # A part of a state is at home in a model with other scales.
    assert set(TwoStream(scales="3").state_dict()) < set(TwoStream().state_dict())
    for options, told in (
        ({"scales": "0"}, "scales: must be of 1, 2 and 3"),
        ({"scales": "1,1"}, "scales: must be of 1, 2 and 3"),
        ({"gamma": "1,2"}, "gamma: must be three shares"),
        ({"gamma": "0,0,-1"}, "gamma: must be three shares"),
        ({"gamma": "a,b,c"}, "gamma: must be three shares"),
    ):
        with pytest.raises(UsageError, match=told):
            build("two-stream", options)


def test_local_similarity_is_taken_apart() -> None:
    image = pictures(64)
    for tap, places in (("block2", 8 * 8), ("bn4", 2 * 2)):
        model = build("local-similarity", {"tap": tap, "flm": False})
        assert model(image)["similarity"].shape == (2, places, places)
    bare = LocalSimilarity(llsm=False, flm=False)
    assert set(bare(image)) == {"logit"}
    assert bare.needs == ()
    learns(build("local-similarity", {"tap": "block2"}), batch_of(image, [1.0, 0.0], [True, True]), steps=1)


def test_cael_has_a_head_for_each_level_and_the_released_codes_pictures() -> None:
    names = {"label": ["real", "fake"], "family": ["real", "gan", "diffusion"], "method": ["real", *"abcd"]}
    model = Cael(levels="label,family,method", names=names, official_compat=True).eval()
    seen: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Any:
        return lambda module, inputs, kwargs: seen.update({name: kwargs.get("pixel_values", *inputs)})

    model.fine.register_forward_pre_hook(keep("fine"), with_kwargs=True)
    model.edge.register_forward_pre_hook(keep("edge"), with_kwargs=True)
    image = pictures(224, 1)
    with torch.inference_mode():
        out = model(image)
    assert [out[f"level_{name}"].shape[1] for name in names] == [2, 3, 5]
    assert set(model.classes(out)) == set(names)
    # Blue first and transposed, and the edges upright.
    torch.testing.assert_close(seen["fine"][0, 0].T, image[0, 2])
    torch.testing.assert_close(seen["edge"], edges(image))
    batch = {"levels": {"label": ["fake"], "family": [None], "method": ["a"]}}
    terms = model.losses(out, batch)
    assert terms["family"] == 0
    assert terms["method"] > 0


def test_slowfast_as_forgerynet_has_it() -> None:
    model = build("slowfast-forgerynet", {"frames": 16})
    assert isinstance(model, SlowFast)
    assert model.alpha == 8
    assert [len(list(one.children())) for one in model.fuse] == [1] * 4
    assert {one[0].kernel_size for one in model.fuse} == {(5, 1, 1)}  # type: ignore[index]
    seen: list[torch.Tensor] = []
    model.fast[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    image = torch.rand(1, 3, 16, 32, 32)
    model.eval()(image)
    assert torch.equal(seen[0], image)


def test_frequencies_are_those_of_the_libraries() -> None:
    rng = np.random.default_rng(0)
    picture = rng.random((13, 13))
    basis = dct_basis(13).double().numpy()
    np.testing.assert_allclose(basis @ picture @ basis.T, scipy.fft.dctn(picture, norm="ortho"), atol=1e-6)
    image = torch.from_numpy(rng.random((1, 3, SIDE, SIDE))).float()
    fad, lfs = Fad(), Lfs()
    with torch.no_grad():
        fad.learnt.zero_()
        lfs.learnt.zero_()
        parts = fad(image)
        # The bands are all of the picture, which is also the last part.
        torch.testing.assert_close(parts[:, :9].unflatten(1, (3, 3)).sum(dim=1), 2 * image - 1, atol=1e-5, rtol=0)
        torch.testing.assert_close(parts[:, 9:], 2 * image - 1, atol=1e-5, rtol=0)
        assert fad.base.mean(dim=(1, 2)).tolist() == pytest.approx([1 / 16, 1 / 16, 7 / 8, 1], abs=2e-3)
        told = lfs(image)
    gray = 255 * (image[0] * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(0).numpy()
    window = np.abs(scipy.fft.dctn(gray[16:26, 36:46], norm="ortho"))
    at = np.add.outer(np.arange(10), np.arange(10)) / 10
    bands = [window[(at >= low / 3) & (at < (low + 1) / 3)].sum() for low in range(6)]
    np.testing.assert_allclose(told[0, :, 10, 20].numpy(), np.log10(np.array(bands) + 1e-3), atol=1e-3)
    phase = phase_picture(image)
    amplitude = torch.fft.fft2(phase).abs()
    torch.testing.assert_close(amplitude, torch.full_like(amplitude, SIDE), rtol=1e-3, atol=0.1)
    assert srm_kernels().sum(dim=(1, 2)).abs().max() < 1e-6
    # Streams begin as they were.
    a, b = torch.rand(1, 16, 3, 3), torch.rand(1, 16, 3, 3)
    assert all(map(torch.equal, CrossAttention(16, 4)(a, b), (a, b)))


def test_pretrained_xceptions_fill_wider_inputs(tmp_path: Path) -> None:
    pretrained, path = Xception(1000).state_dict(), tmp_path / "x.safetensors"
    save_file(pretrained, path)
    for name, options, trunk in (("spsl", {}, "trunk"), ("f3net", {"streams": "fad"}, "trunks.fad")):
        weights = get_model(name).weights
        assert weights is not None
        model = build(name, options)
        assert load_weights(model, path, weights) is None
        first = model.get_submodule(trunk).get_parameter("conv1.weight")
        wide = first.shape[1]
        torch.testing.assert_close(first[:, 3], pretrained["conv1.weight"][:, 0] * 3 / wide)
        assert torch.equal(model.get_submodule(trunk).get_parameter("bn4.weight"), pretrained["bn4.weight"])


@pytest.fixture(scope="module")
def vits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny models of CLIP, as a whole, and of DINO, as transformers keeps them."""
    from transformers import CLIPConfig, CLIPModel, Dinov2Config, Dinov2Model

    home = tmp_path_factory.mktemp("vits")
    tiny: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(1)
    vision = {**tiny, "intermediate_size": 64, "image_size": 32, "patch_size": 8}
    text = {**tiny, "intermediate_size": 64, "vocab_size": 99}
    CLIPModel(CLIPConfig(vision_config=vision, text_config=text)).save_pretrained(home / "clip")
    Dinov2Model(Dinov2Config(**tiny, image_size=28, patch_size=14)).save_pretrained(home / "dino")
    return home


@pytest.mark.parametrize("kind", ["clip", "dino"])
@pytest.mark.parametrize("tune", ["layernorm", "lora", "linear"])
def test_a_foundation_model_is_tuned(kind: str, tune: str, vits: Path, capfd: pytest.CaptureFixture[str]) -> None:
    if tune == "lora" and importlib.util.find_spec("peft") is None:
        pytest.skip("peft is not installed")
    model = build("foundation-vit", {"path": str(vits / kind), "tune": tune})
    model.begin()
    assert "Loading" not in capfd.readouterr().err
    frozen = {name: p.detach().clone() for name, p in model.named_parameters() if not p.requires_grad}
    assert parameters(model) < sum(p.numel() for p in model.parameters()) / 4
    learns(model, batch_of(pictures(56, 4), [1.0, 0.0, 1.0, 0.0], [False] * 4), lr=0.01)
    assert all(torch.equal(p, frozen[name]) for name, p in model.named_parameters() if name in frozen)
    # What a training notes makes it again without the folder.
    again = build("foundation-vit", {"path": "/gone", "tune": tune, **model.noted()})
    again.load_state_dict(model.state_dict())
    image = pictures(56)
    torch.testing.assert_close(again.eval()(image), model.eval()(image))


def test_a_foundation_model_without_weights_says_what_to_do(
    vits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORGEPREP_WEIGHTS", str(tmp_path))
    for path, told in (
        (
            "",
            "give the folder of the weights, or one of clip-vit-l14, dinov2-b14, which 'forgeprep weights fetch",
        ),
        ("/gone", "no config.json"),
        ("dinov2-b14", "dinov2-b14/model.safetensors: run 'forgeprep weights fetch dinov2-b14'"),
    ):
        with pytest.raises(ForgeprepError, match=told):
            build("foundation-vit", {"path": path})
    # What has been fetched goes by its name.
    shutil.copytree(vits / "dino", tmp_path / "dinov2-b14")
    build("foundation-vit", {"path": "dinov2-b14"}).begin()
    folder = Path(shutil.copytree(vits / "dino", tmp_path / "dino"))
    (folder / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(UsageError, match="dino: no weights that can be read"):
        build("foundation-vit", {"path": str(folder)}).begin()
    (folder / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UsageError, match="is a bert, and no model of clip_vision_model, dinov2"):
        build("foundation-vit", {"path": str(folder)})


def test_each_has_a_recipe() -> None:
    for name in model_names():
        assert make_recipe(name, {}).batch > 1


def _torchvision_resnet50() -> dict[str, tuple[int, ...]]:
    """Names and shapes of torchvision's ResNet-50, from its definition."""
    found: dict[str, tuple[int, ...]] = {"fc.weight": (1000, 2048), "fc.bias": (1000,)}

    def conv(name: str, norm: str, outputs: int, inputs: int, size: int) -> None:
        found[f"{name}.weight"] = (outputs, inputs, size, size)
        found.update({f"{norm}.{kind}": (outputs,) for kind in ("weight", "bias", "running_mean", "running_var")})

    conv("conv1", "bn1", 64, 3, 7)
    inputs = 64
    for stage, depth in enumerate((3, 4, 6, 3)):
        width = 64 * 2**stage
        for block in range(depth):
            at = f"layer{stage + 1}.{block}"
            conv(f"{at}.conv1", f"{at}.bn1", width, inputs, 1)
            conv(f"{at}.conv2", f"{at}.bn2", width, width, 3)
            conv(f"{at}.conv3", f"{at}.bn3", 4 * width, width, 1)
            if block == 0:
                conv(f"{at}.downsample.0", f"{at}.downsample.1", 4 * width, inputs, 1)
            inputs = 4 * width
    return found


def test_resnet50_is_filled_from_either_layout(tmp_path: Path) -> None:
    from transformers import ResNetConfig, ResNetForImageClassification

    torch.manual_seed(0)
    weights = get_model("resnet50").weights
    assert weights is not None
    theirs = {name: torch.rand(shape) for name, shape in _torchvision_resnet50().items()}
    save_file(theirs, tmp_path / "torchvision.safetensors")
    model = build("resnet50").eval()
    assert load_weights(model, tmp_path / "torchvision.safetensors", weights) is None
    own = {name: t for name, t in model.get_submodule("trunk.net").state_dict().items() if "tracked" not in name}
    assert sorted(float(t.sum()) for t in own.values()) == sorted(
        float(t.sum()) for name, t in theirs.items() if not name.startswith("fc.")
    )
    torch.testing.assert_close(own["1.stages.2.layers.5.layer.1.convolution.weight"], theirs["layer3.5.conv2.weight"])
    torch.testing.assert_close(
        own["1.stages.3.layers.0.shortcut.normalization.bias"], theirs["layer4.0.downsample.1.bias"]
    )
    net = ResNetForImageClassification(ResNetConfig()).eval()
    save_file(net.state_dict(), tmp_path / "transformers.safetensors")
    assert load_weights(model, tmp_path / "transformers.safetensors", weights) is None
    trunk, image = model.get_submodule("trunk"), pictures(64, 1)
    with torch.inference_mode():
        expected = net.resnet(trunk.get_submodule("scale")(image)).last_hidden_state
        torch.testing.assert_close(trunk(image), expected)
