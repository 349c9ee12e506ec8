"""The noise residual against a float64 oracle written with PyWavelets and SciPy only."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import pywt
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, uniform_filter
from skimage import data

from forgeprep.ops.noise import dequantise, noise_residual, quantise, to_gray, wiener_dft, zero_mean

SIGMAS = st.sampled_from([0.001, 0.5, 1.0, 5.0, 10.0, 60.0, 1000.0])


def oracle_weight(energy, variance):
    local = [np.maximum(0, uniform_filter(energy, w, mode="constant") - variance) for w in (3, 5, 7, 9)]
    return variance / (np.min(local, axis=0) + variance)


def oracle(image, sigma=5.0, levels=4):
    image = np.asarray(image, np.float64)
    if image.ndim == 3:
        return np.stack([oracle(image[..., c], sigma, levels) for c in range(3)], axis=-1)
    levels = min(levels, pywt.dwt_max_level(min(image.shape), pywt.Wavelet("db4").dec_len))
    approx, *details = pywt.wavedec2(image, "db4", mode="symmetric", level=levels)
    filtered = [tuple(x * oracle_weight(x * x, sigma**2) for x in bands) for bands in details]
    out = pywt.waverec2([np.zeros_like(approx), *filtered], "db4", mode="symmetric")
    return out[: image.shape[0], : image.shape[1]]


@st.composite
def images(draw):
    """Noise, a smooth noisy picture or hard edges; gray or RGB, uint8 or float32, from 1x1 up."""
    side = st.one_of(st.integers(1, 30), st.integers(100, 130), st.integers(1, 250))
    shape = (draw(side), draw(side), *draw(st.sampled_from([(), (3,)])))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    image = rng.uniform(0, 255, shape)
    kind = draw(st.sampled_from(["noise", "smooth", "edges"]))
    if kind != "noise":
        image = gaussian_filter(image, (5, 5, 0)[: image.ndim])
        image = image + rng.normal(0, 3, shape) if kind == "smooth" else np.where(image > 127, 255.0, 0.0)
    return np.clip(image, 0, 255).astype(draw(st.sampled_from([np.uint8, np.float32])))


@settings(max_examples=150, deadline=None)
@given(image=images(), sigma=SIGMAS, levels=st.integers(1, 6))
@example(image=np.full((1, 1), 9, np.uint8), sigma=5.0, levels=4)
@example(image=np.eye(14, 299, dtype=np.uint8) * 255, sigma=5.0, levels=4)
@example(image=np.eye(299, 300, dtype=np.float32) * 255, sigma=5.0, levels=9)
def test_equals_the_float64_oracle(image, sigma, levels):
    before = image.copy()
    residual = noise_residual(image, sigma, levels)
    assert residual.dtype == np.float32
    assert residual.shape == image.shape
    np.testing.assert_allclose(residual, oracle(image, sigma, levels), rtol=0, atol=1e-3)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("name", ["astronaut", "camera", "coffee", "coins", "chelsea"])
@pytest.mark.parametrize("sigma", [5.0, 10.0])
def test_equals_the_oracle_on_photographs(name, sigma):
    picture = getattr(data, name)()
    for image in (picture, picture[:299, :260], picture[5:122, 9:120]):
        np.testing.assert_allclose(noise_residual(image, sigma), oracle(image, sigma), rtol=0, atol=1e-3)


@pytest.mark.parametrize("side", [1, 13, 14, 27, 28, 55, 56, 111, 112])
def test_too_small_an_image_has_fewer_levels(side):
    # At 7 * 2**level - 1 pixels that level is left out, though PyWavelets itself would only warn.
    image = np.random.default_rng(side).integers(0, 256, (side, 150), np.uint8)
    most = pywt.dwt_max_level(side, 8)
    np.testing.assert_array_equal(noise_residual(image, 5, 9), noise_residual(image, 5, max(most, 1)))
    assert noise_residual(image).any() == (side >= 14)


@given(st.integers(0, 255), st.integers(1, 200), st.integers(1, 200))
@settings(max_examples=30, deadline=None)
def test_constant_image_has_no_residual(value, height, width):
    residual = noise_residual(np.full((height, width, 3), value, np.uint8))
    assert np.abs(residual).max() < 1e-4
    assert (quantise(residual) == 128).all()


def test_rgb_is_gray_per_channel_for_any_memory_layout():
    rgb = data.astronaut()[:131, :122]
    expected = np.stack([noise_residual(np.ascontiguousarray(rgb[..., c])) for c in range(3)], axis=-1)
    for image in (rgb, np.asfortranarray(rgb), rgb[..., ::-1][..., ::-1], rgb.astype(np.float32)):
        np.testing.assert_array_equal(noise_residual(image), expected)
    np.testing.assert_array_equal(noise_residual(rgb[..., ::-1]), expected[..., ::-1])
    np.testing.assert_array_equal(noise_residual(rgb[..., 1]), expected[..., 1])


def test_added_noise_comes_back_and_content_does_not():
    rng = np.random.default_rng(0)
    content = gaussian_filter(rng.uniform(0, 255, (256, 256)), 8).astype(np.float32)
    noise = rng.normal(0, 3, content.shape).astype(np.float32)
    residual = noise_residual(content + noise)
    assert np.corrcoef(residual.ravel(), noise.ravel())[0, 1] > 0.95
    assert abs(residual.mean()) < 0.05


def test_to_gray_weights():
    rgb = np.random.default_rng(0).integers(0, 256, (7, 5, 3), np.uint8)
    expected = rgb.astype(np.float64) @ [0.29893602, 0.58704307, 0.11402090]
    for image in (rgb, rgb.astype(np.float32)):
        gray = to_gray(image)
        assert gray.dtype == np.float32
        np.testing.assert_allclose(gray, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (4, 7), (61, 40), (8, 9, 3)])
def test_zero_mean_on_each_lattice(shape):
    residual = np.random.default_rng(0).normal(1, 3, shape).astype(np.float32)
    before = residual.copy()
    out = zero_mean(residual)
    np.testing.assert_array_equal(residual, before)
    for x, y in ((out[i::2, j::2], before[i::2, j::2]) for i in range(2) for j in range(2)):
        if x.size:
            rows, cols = y.mean(axis=1, keepdims=True), y.mean(axis=0, keepdims=True)
            np.testing.assert_allclose(x, y - rows - cols + y.mean(axis=(0, 1)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("sigma", [None, 2.0])
@pytest.mark.parametrize("rows", [5, 61])
def test_wiener_dft_equals_the_oracle_and_removes_a_pattern(rows, sigma):
    clean = np.random.default_rng(0).normal(0, 2, (rows, 80)).astype(np.float32)
    residual = clean + 4 * np.sin(np.arange(80, dtype=np.float32) * (2 * np.pi / 8))
    spectrum = np.fft.fft2(residual.astype(np.float64))
    variance = residual.std(ddof=1, dtype=np.float64) ** 2 if sigma is None else sigma**2
    expected = np.fft.ifft2(spectrum * oracle_weight(np.abs(spectrum) ** 2 / residual.size, variance)).real
    out = wiener_dft(residual, sigma)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, expected, rtol=0, atol=1e-5)
    assert np.abs(np.fft.fft2(out))[0, 10] < 0.7 * np.abs(spectrum)[0, 10]


def test_wiener_dft_of_a_constant_is_zero():
    assert not wiener_dft(np.full((4, 5), 3, np.float32)).any()


@given(st.lists(st.floats(-25.6, 25.4), min_size=1, max_size=60))
def test_quantise_round_trip(values):
    residual = np.array([values], np.float32)
    code = quantise(residual)
    assert code.dtype == np.uint8
    assert np.abs(dequantise(code) - residual).max() <= 0.1 + 1e-5
    np.testing.assert_array_equal(quantise(dequantise(code)), code)


def test_quantise_clips_and_every_code_survives():
    codes = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_array_equal(quantise(dequantise(codes)), codes)
    np.testing.assert_array_equal(dequantise(codes), (codes.astype(np.float32) - 128) / np.float32(5))
    extremes = np.array([[-np.inf, -1e30, -26, 0, 25.5, 1e30, np.inf]], np.float32)
    np.testing.assert_array_equal(quantise(extremes), [[0, 0, 0, 128, 255, 255, 255]])


GRAY = np.zeros((20, 20), np.float32)


@pytest.mark.parametrize(
    ("call", "got"),
    [
        (lambda: noise_residual(np.zeros((20, 20))), "float64"),  # type: ignore[arg-type]
        (lambda: noise_residual(np.zeros((20, 20), bool)), "bool"),
        (lambda: noise_residual(np.zeros(20, np.uint8)), r"\(20,\)"),
        (lambda: noise_residual(np.zeros((20, 20, 4), np.uint8)), r"\(20, 20, 4\)"),
        (lambda: noise_residual(np.zeros((20, 20, 1), np.uint8)), r"\(20, 20, 1\)"),
        (lambda: noise_residual(np.zeros((0, 20), np.uint8)), r"\(0, 20\)"),
        (lambda: noise_residual(np.zeros((2, 20, 20, 3), np.uint8)), r"\(2, 20, 20, 3\)"),
        (lambda: noise_residual(GRAY, sigma=0), "got 0"),
        (lambda: noise_residual(GRAY, sigma=float("nan")), "got nan"),
        (lambda: noise_residual(GRAY, levels=0), "got 0"),
        (lambda: to_gray(GRAY), r"\(20, 20\)"),
        (lambda: zero_mean(GRAY.astype(np.uint8)), "uint8"),
        (lambda: wiener_dft(np.zeros((20, 20, 3), np.float32)), r"\(20, 20, 3\)"),
        (lambda: wiener_dft(GRAY, sigma=-1), "got -1"),
        (lambda: quantise(GRAY.astype(np.float64)), "float64"),
        (lambda: dequantise(GRAY), "float32"),  # type: ignore[arg-type]
    ],
)
def test_bad_input_is_refused_with_what_was_got(call, got):
    with pytest.raises(ValueError, match=got):
        call()


def test_results_stay_when_memory_is_used_again():
    """Threads and later calls share nothing that was returned; also where views are given, and above what is kept."""
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (side, side + 3, 3)).astype(np.uint8) for side in (40, 900, 130, 60)]

    def results(picture):
        gray = to_gray(picture[::-1])
        residual = noise_residual(gray)
        return gray, residual, noise_residual(picture), quantise(residual)

    first = [results(picture) for picture in pictures]
    kept = [[one.copy() for one in found] for found in first]
    with ThreadPoolExecutor(4) as pool:
        again = list(pool.map(results, pictures * 3))
    for found, expected in zip(first + again, kept * 4, strict=True):
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other)
