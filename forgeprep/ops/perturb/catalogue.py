"""The catalogue of perturbations: 36 names in 8 groups, 5 severities each, and how they are applied.

Other packages add perturbations through the entry-point group ``forgeprep.perturbations``: name -> a
:class:`Perturbation`. They are applied where they are named (``--perturb fog:3``); what is drawn by chance is one of
forgeprep's own, so that a draw does not change with what is installed.

ForgeryNet (He et al. 2021) perturbs nearly all of its pictures by 36 perturbations and mixtures of them, but its list
is not public: this one is forgeprep's own.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from forgeprep.errors import UsageError
from forgeprep.media.frames import UInt8
from forgeprep.ops.perturb import codecs, pixels
from forgeprep.ops.perturb import warps as geometry
from forgeprep.ops.perturb.warps import Warp
from forgeprep.registry import Registry

GROUPS = ("compression", "blur", "noise", "colour", "geometry", "resolution", "sharpening", "codec")
"""The groups, as they are documented."""

ORDER = ("geometry", "colour", "blur", "noise", "sharpening", "resolution", "compression", "codec")
"""The groups as a mixture applies them: scene and camera first, storage and transmission last."""

SEVERITIES = (1, 2, 3, 4, 5)

Params = dict[str, Any]
Draw = Callable[[np.random.Generator, Params], Params]


@dataclass(frozen=True, slots=True)
class Perturbation:
    """An entry of the catalogue; exactly one of ``change``, ``add_noise`` and ``move`` is set.

    Attributes:
        name: what users write after ``--perturb``.
        group: one of :data:`GROUPS`.
        summary: one line.
        levels: parameter -> its values at severity 1 to 5.
        change: ``(image, **params)``, for a result that depends on the picture only.
        add_noise: ``(image, rng, **params)``, for a result that is random in every pixel.
        move: ``(size_wh, **params)`` to the warp of a geometric perturbation.
        draw: what is drawn once for a clip: ``(rng, params of the severity)`` to the params that are applied.
    """

    name: str
    group: str
    summary: str
    levels: Mapping[str, tuple[Any, ...]]
    change: Callable[..., UInt8] | None = None
    add_noise: Callable[..., UInt8] | None = None
    move: Callable[..., Warp] | None = None
    draw: Draw = lambda _rng, params: params

    def params(self, severity: int) -> Params:
        """The table's parameters of a severity, 1 to 5."""
        return {name: values[severity - 1] for name, values in self.levels.items()}


@dataclass(frozen=True, slots=True)
class Step:
    """A perturbation ready to be applied: its name, severity (1 to 5) and all parameters, drawn ones included."""

    name: str
    severity: int
    params: Params


@functools.cache
def entry_of(name: str) -> Perturbation:
    """The perturbation of that name.

    Raises:
        UsageError: there is none; or the package that adds it cannot be loaded, or takes a name that is taken.
    """
    added = name in OTHERS.names()
    if added and name in CATALOGUE:
        raise UsageError(f"perturbation '{name}' is forgeprep's own and one of another package: uninstall that")
    return OTHERS.get(name) if added or name not in CATALOGUE else CATALOGUE[name]


def ready(name: str, severity: int, rng: np.random.Generator) -> Step:
    """The step of a severity, with its random parameters drawn from ``rng``."""
    entry = entry_of(name)
    return Step(name, severity, entry.draw(rng, entry.params(severity)))


def perturb(image: UInt8, steps: Sequence[Step], rng: np.random.Generator) -> tuple[UInt8, tuple[Warp, ...]]:
    """Apply steps in their order.

    Args:
        image: uint8 (H, W, 3) RGB.
        steps: what to do.
        rng: for the noise of single pixels.

    Returns:
        The picture, uint8 (H, W, 3), and how its pixels moved: warps to be applied one after the other to whatever lies
        on the picture; none where nothing moved.
    """
    warps: list[Warp] = []
    for step in steps:
        entry = entry_of(step.name)
        if entry.move is not None:
            warps.append(entry.move((image.shape[1], image.shape[0]), **step.params))
            image = warps[-1].picture(image)
        elif entry.add_noise is not None:
            image = entry.add_noise(image, rng, **step.params)
        else:
            assert entry.change is not None
            image = entry.change(image, **step.params)
    return image, tuple(warps)


def _sign(name: str) -> Draw:
    """Either sign of a parameter."""
    return lambda rng, params: {**params, name: params[name] * int(rng.choice((-1, 1)))}


def _inverse(name: str) -> Draw:
    """A factor or its inverse."""
    return lambda rng, params: {**params, name: round(params[name] ** int(rng.choice((-1, 1))), 4)}


def _angle(most: int) -> Draw:
    """An angle in degrees, from 0 to below ``most``."""
    return lambda rng, params: {**params, "angle": round(float(rng.uniform(0, most)), 2)}


def _corners(rng: np.random.Generator, params: Params) -> Params:
    # Away from 0 so that a severity means something, and none far out so that the picture keeps its orientation.
    sizes = rng.uniform(0.5, 1, 8) * rng.choice((-1, 1), 8) * params["share"]
    return {"corners": [round(float(size), 4) for size in sizes]}


_COMPRESSION = (
    Perturbation("jpeg", "compression", "JPEG", {"quality": (75, 50, 30, 17, 8)}, codecs.jpeg),
    Perturbation(
        "jpeg-twice",
        "compression",
        "JPEG twice, the second time on blocks 4 pixels off",
        {"first": (80, 60, 40, 25, 12), "second": (70, 50, 30, 17, 8)},
        codecs.jpeg_twice,
    ),
    Perturbation("webp", "compression", "WebP", {"quality": (60, 30, 12, 4, 1)}, codecs.webp),
    Perturbation(
        "chroma-subsampling",
        "compression",
        "one colour for factor x factor pixels",
        {"factor": (4, 8, 14, 24, 40)},
        codecs.chroma_subsampling,
    ),
)
_BLUR = (
    Perturbation(
        "gaussian-blur",
        "blur",
        "Gaussian blur, sigma over side",
        {"sigma": (0.003, 0.005, 0.009, 0.015, 0.025)},
        pixels.gaussian_blur,
    ),
    Perturbation(
        "median-blur",
        "blur",
        "median of a square, width over side",
        {"width": (0.008, 0.016, 0.026, 0.04, 0.06)},
        pixels.median_blur,
    ),
    Perturbation(
        "motion-blur",
        "blur",
        "smear along a line, length over side; angle drawn",
        {"length": (0.015, 0.03, 0.05, 0.08, 0.12)},
        pixels.motion_blur,
        draw=_angle(180),
    ),
    Perturbation(
        "defocus-blur",
        "blur",
        "even disc, radius over side",
        {"radius": (0.005, 0.01, 0.017, 0.027, 0.042)},
        pixels.defocus_blur,
    ),
    Perturbation(
        "bilateral-blur",
        "blur",
        "smooth skin, keep edges: width over side, levels that count as equal",
        {"width": (0.014, 0.018, 0.022, 0.028, 0.034), "levels": (30, 55, 85, 120, 170)},
        pixels.bilateral_blur,
    ),
)
_NOISE = (
    Perturbation(
        "gaussian-noise",
        "noise",
        "normal noise, standard deviation in levels",
        {"std": (5, 10, 18, 30, 48)},
        add_noise=pixels.gaussian_noise,
    ),
    Perturbation(
        "poisson-noise",
        "noise",
        "photon noise, photons at white",
        {"photons": (300, 100, 40, 16, 7)},
        add_noise=pixels.poisson_noise,
    ),
    Perturbation(
        "speckle-noise",
        "noise",
        "multiplicative noise, standard deviation as a share",
        {"std": (0.05, 0.1, 0.18, 0.3, 0.48)},
        add_noise=pixels.speckle_noise,
    ),
    Perturbation(
        "salt-pepper-noise",
        "noise",
        "share of the values at 0 or 255",
        {"share": (0.005, 0.015, 0.035, 0.07, 0.13)},
        add_noise=pixels.salt_pepper_noise,
    ),
    Perturbation(
        "chroma-noise",
        "noise",
        "coarse noise in the colour alone, levels",
        {"std": (4, 8, 14, 22, 34)},
        add_noise=pixels.chroma_noise,
    ),
)
_COLOUR = (
    Perturbation(
        "brightness",
        "colour",
        "lighter or darker by levels",
        {"levels": (15, 30, 48, 70, 95)},
        pixels.brightness,
        draw=_sign("levels"),
    ),
    Perturbation(
        "contrast",
        "colour",
        "stretch about the mean by factor or its inverse",
        {"factor": (1.2, 1.45, 1.8, 2.3, 3)},
        pixels.contrast,
        draw=_inverse("factor"),
    ),
    Perturbation(
        "saturation",
        "colour",
        "stretch colours about gray by factor or its inverse",
        {"factor": (1.3, 1.7, 2.3, 3.2, 5)},
        pixels.saturation,
        draw=_inverse("factor"),
    ),
    Perturbation(
        "hue",
        "colour",
        "turn the colour wheel by degrees, either way",
        {"degrees": (7, 14, 24, 38, 60)},
        pixels.hue,
        draw=_sign("degrees"),
    ),
    Perturbation(
        "gamma",
        "colour",
        "levels to the power of exponent or its inverse",
        {"exponent": (1.2, 1.45, 1.8, 2.3, 3)},
        pixels.gamma,
        draw=_inverse("exponent"),
    ),
    Perturbation(
        "white-balance",
        "colour",
        "red times 1 + warmth, blue times 1 - warmth, either sign",
        {"warmth": (0.06, 0.12, 0.2, 0.3, 0.42)},
        pixels.white_balance,
        draw=_sign("warmth"),
    ),
    Perturbation("posterize", "colour", "so many levels a channel", {"levels": (24, 14, 9, 6, 4)}, pixels.posterize),
)
_GEOMETRY = (
    Perturbation(
        "rotate",
        "geometry",
        "turn by degrees, either way",
        {"angle": (3, 6, 10, 16, 25)},
        move=geometry.rotate,
        draw=_sign("angle"),
    ),
    Perturbation(
        "translate",
        "geometry",
        "shift by a share of the side; direction drawn",
        {"share": (0.02, 0.04, 0.07, 0.11, 0.16)},
        move=geometry.translate,
        draw=_angle(360),
    ),
    Perturbation(
        "zoom",
        "geometry",
        "scale by factor or its inverse",
        {"factor": (1.05, 1.11, 1.19, 1.3, 1.45)},
        move=geometry.zoom,
        draw=_inverse("factor"),
    ),
    Perturbation(
        "shear",
        "geometry",
        "slant the columns by slope, either way",
        {"slope": (0.05, 0.1, 0.16, 0.24, 0.35)},
        move=geometry.shear,
        draw=_sign("slope"),
    ),
    Perturbation(
        "perspective",
        "geometry",
        "move the corners by half to all of a share of the side, drawn",
        {"share": (0.02, 0.04, 0.07, 0.1, 0.14)},
        move=geometry.perspective,
        draw=_corners,
    ),
    Perturbation(
        "lens", "geometry", "barrel distortion, see bend", {"bend": (0.03, 0.06, 0.11, 0.18, 0.28)}, move=geometry.lens
    ),
)
_RESOLUTION = (
    Perturbation(
        "downscale",
        "resolution",
        "shrink to factor by area, grow back by cubic",
        {"factor": (0.6, 0.42, 0.3, 0.2, 0.13)},
        pixels.downscale,
    ),
    Perturbation(
        "pixelate",
        "resolution",
        "shrink to factor and grow back by the nearest pixel",
        {"factor": (0.7, 0.5, 0.36, 0.25, 0.16)},
        pixels.pixelate,
    ),
)
_SHARPENING = (
    Perturbation(
        "sharpen",
        "sharpening",
        "unsharp mask by amount, sigma over side",
        {"amount": (0.6, 1.2, 2, 3.2, 5), "sigma": (0.006,) * 5},
        pixels.sharpen,
    ),
    Perturbation(
        "emboss", "sharpening", "edges in relief, by amount", {"amount": (0.15, 0.3, 0.5, 0.8, 1.25)}, pixels.emboss
    ),
    Perturbation(
        "local-contrast",
        "sharpening",
        "CLAHE on the luma in 8 x 8 tiles, slope limit",
        {"limit": (1.5, 2.5, 4, 7, 14)},
        pixels.local_contrast,
    ),
)
_CODEC = (
    Perturbation("h264", "codec", "H.264 (x264) key frame", {"crf": (25, 30, 34, 38, 42)}, codecs.h264),
    Perturbation("h265", "codec", "H.265 (x265) key frame", {"crf": (27, 32, 36, 40, 44)}, codecs.h265),
    Perturbation(
        "mpeg4", "codec", "MPEG-4 Part 2 (DivX, Xvid) key frame", {"quantizer": (4, 8, 13, 20, 31)}, codecs.mpeg4
    ),
    Perturbation("vp9", "codec", "VP9 (libvpx) key frame", {"quantizer": (42, 48, 53, 57, 60)}, codecs.vp9),
)

CATALOGUE: dict[str, Perturbation] = {
    entry.name: entry
    for group in (_COMPRESSION, _BLUR, _NOISE, _COLOUR, _GEOMETRY, _RESOLUTION, _SHARPENING, _CODEC)
    for entry in group
}
"""Name -> perturbation: all 36, by group."""

OTHERS: Registry[Perturbation] = Registry(
    "perturbation", "forgeprep.perturbations", {}, "forgeprep.ops.perturb.catalogue:Perturbation"
)
"""Those of other packages."""
