"""The parts of the detectors: the properties that their papers rest on."""

from __future__ import annotations

import re
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from forgeprep.errors import UsageError
from forgeprep.ops import noise as ops_noise
from forgeprep.ops import similarity as ops_similarity
from forgeprep.training.models import build, local_similarity, pixel
from forgeprep.training.models.cael import edges
from forgeprep.training.models.local_similarity import LinearPairs, ReluPairs, similarity_map
from forgeprep.training.noise import noise_residual
from forgeprep.training.recipe import make_recipe
from tests.conftest import UInt8
from tests.helpers.batches import batch_of


def test_the_mean_of_the_map_is_the_score_of_pooling_first() -> None:
    torch.manual_seed(1)
    net = pixel.vgg(8, 8)
    detector = pixel.PixelModel(net, "cls").eval()
    image = torch.rand(3, 3, 32, 40)
    classifier = net[-1]  # type: ignore[index]
    pooled = net[:-1](image).mean(dim=(2, 3))  # type: ignore[index]
    expected = pooled @ classifier.weight.flatten() + classifier.bias
    out = detector(image)
    torch.testing.assert_close(out["logit"], expected)
    heat = detector.heat({"map": out["map"], "logit": torch.tensor([1.0, -1.0, 2.0])})
    assert heat is not None
    assert heat[1].abs().max() == 0
    assert heat[0].max() == heat[2].max() == 1
    assert heat[0].min() == 0


def test_absent_masks_do_not_count() -> None:
    torch.manual_seed(0)
    image = torch.rand(2, 3, 64, 64)
    detector = build("fn3-seg").eval()
    whole, absent = batch_of(image, [1.0, 1.0], [True, False]), batch_of(image, [1.0, 1.0], [True, False])
    absent["mask"][1] = 1 - absent["mask"][1]
    losses = [detector.losses(detector(image), batch)["mask"] for batch in (whole, absent)]
    assert losses[0] == losses[1]
    alone = detector.losses(detector(image[:1]), batch_of(image[:1], [1.0], [True]))["mask"]
    torch.testing.assert_close(losses[0], alone)
    none = detector.losses(detector(image), batch_of(image, [1.0, 1.0], [False, False]))["mask"]
    assert none == 0


def test_the_linear_kernel_is_the_convolution_over_all_pairs() -> None:
    torch.manual_seed(0)
    features, kernel = torch.randn(2, 728, 5, 4), LinearPairs(728)
    flat = features.flatten(2).transpose(1, 2)
    pairs = torch.stack([torch.cat([flat[:, i], flat[:, j]], 1) for i in range(20) for j in range(20)], 1)
    weights = torch.cat([kernel.left.weight.flatten(), kernel.right.weight.flatten()])
    bias = kernel.right.bias
    assert bias is not None
    expected = (pairs @ weights + bias).view(2, 20, 20)
    torch.testing.assert_close(kernel(features), expected, atol=1e-5, rtol=1e-5)
    logits = kernel(features)
    # The flaw: whatever is learnt, this holds, and no truth that has both regions can.
    torch.testing.assert_close(logits[:, 0, 0] + logits[:, 7, 7], logits[:, 0, 7] + logits[:, 7, 0], atol=1e-4, rtol=0)


def test_two_hidden_units_suffice_to_tell_different_places(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = ReluPairs(1, hidden=2)
    with torch.no_grad():
        kernel.left.weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))
        kernel.right.weight.copy_(torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1))
        kernel.right.bias.zero_()
        kernel.out.weight.fill_(20.0)
        kernel.out.bias.fill_(-10.0)
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., 1:3, 1:3] = 1
    assert torch.equal(torch.sigmoid(kernel(mask)).round(), similarity_map(mask, 4))
    big, features = ReluPairs(16), torch.randn(2, 16, 6, 6, requires_grad=True)
    whole = big(features)
    (whole.square().sum()).backward()
    gradient, features.grad = features.grad, None
    monkeypatch.setattr(local_similarity, "CHUNK", 5 * 2 * 36 * 64)
    parts = big(features)
    torch.testing.assert_close(parts, whole)
    (parts.square().sum()).backward()
    torch.testing.assert_close(features.grad, gradient)


def test_the_similarity_map_is_that_of_the_stage() -> None:
    rng = np.random.default_rng(0)
    mask = (cv2.GaussianBlur(rng.random((224, 224)).astype(np.float32), (0, 0), 20) > 0.5).astype(np.uint8) * 255
    truth = ops_similarity.similarity_map(ops_similarity.mask_grid(mask, 14))
    found = similarity_map(torch.from_numpy(mask)[None, None].float() / 255, 14)[0]
    np.testing.assert_array_equal(found.numpy(), truth)


@pytest.mark.parametrize("shape", [(299, 299), (64, 80), (33, 57), (15, 200), (101, 14), (9, 9)])
@pytest.mark.parametrize("sigma", [5.0, 10.0])
def test_the_noise_filter_is_that_of_the_stage(shape: tuple[int, int], sigma: float, face_photo: UInt8) -> None:
    picture = face_photo[50 : 50 + shape[0], 100 : 100 + shape[1]]
    expected = ops_noise.noise_residual(ops_noise.to_gray(picture), sigma)
    pictures = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].repeat(2, 1, 1, 1) / 255
    found = noise_residual(pictures, torch.tensor([sigma, 2 * sigma]))
    assert np.abs(found[0, 0].numpy() - expected).max() < 1e-3
    assert np.abs(found[1, 0].numpy() - ops_noise.noise_residual(ops_noise.to_gray(picture), 2 * sigma)).max() < 1e-3


def test_edges_are_the_sobel_gradient(face_photo: UInt8) -> None:
    gray = face_photo.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32) / 255
    across, down = (
        cv2.Sobel(gray, cv2.CV_32F, *way, ksize=3, borderType=cv2.BORDER_REFLECT_101) for way in ((1, 0), (0, 1))
    )
    found = edges(torch.from_numpy(face_photo.copy()).permute(2, 0, 1)[None] / 255)[0, 0].numpy()
    np.testing.assert_allclose(found, np.hypot(across, down), atol=1e-5)


def test_unknown_models_and_options_are_told() -> None:
    with pytest.raises(UsageError, match="unknown model 'two-strem': did you mean 'two-stream'"):
        build("two-strem")
    wrong: list[tuple[str, dict[str, Any], str]] = [
        ("two-stream", {"stream": "triple"}, "--model-option stream: must be 'both', 'semantic', 'noise' or 'none'"),
        ("fn3-seg", {"width": 3}, "unknown option of fn3-seg 'width' (known: target)"),
        ("fn3-cls", {"target": "mask"}, "unknown option of fn3-cls 'target' (known: none)"),
        ("bmn", {"scale": 0}, "--model-option scale: must be at least 8 (got 0)"),
        ("bmn", {"samples": "many"}, "--model-option samples: must be a whole number"),
        ("slowfast-r50", {"step": 0}, "--model-option step: must be above 0"),
        ("xception-levels", {"levels": "label,label"}, "--model-option levels: a level stands twice"),
        ("xception-levels", {"levels": "label", "weights": {"label": 0}}, "--model-option weights: all levels weigh 0"),
        ("xception-levels", {"weights": {"label": -1}}, "--model-option weights: must be at least 0"),
    ]
    for name, options, message in wrong:
        with pytest.raises(UsageError, match=re.escape(message)):
            build(name, options)
    with pytest.raises(UsageError, match="size: two-stream takes images of 299 x 299 alone"):
        make_recipe("two-stream", {"size": 128})
