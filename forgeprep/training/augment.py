"""Augmentations: random changes to samples while a model learns, drawn on the fly.

They are the 36 perturbations of :mod:`forgeprep.ops.perturb` and those of other packages, each with its own chance;
``perturb``, a mixture of several; and ``cutout``. What moves pixels moves mask, magnitude and landmarks alike; all else
changes the picture alone. So training and the stage ``perturb`` know one catalogue, and one set of words.

A setting is ``{NAME: {p: CHANCE, severity: [FROM, TO], PARAMETER: [FROM, TO]}}``: the strength is drawn from the
severities, 1 to 5, unless a parameter of the perturbation has a range of its own.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from forgeprep.errors import UsageError, unknown_name
from forgeprep.ops.perturb.catalogue import CATALOGUE, ORDER, OTHERS, SEVERITIES, Step, entry_of, perturb, ready
from forgeprep.ops.perturb.codecs import missing_encoder
from forgeprep.ops.perturb.draw import mixture

UInt8 = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float64]
Planes = dict[str, UInt8]
Augment = dict[str, dict[str, Any]]

MIXTURE, CUTOUT = "perturb", "cutout"
CUTOUT_RANGES: dict[str, tuple[float, float]] = {"holes": (1, 1), "share": (0.1, 0.3)}
"""Of a cutout: how many squares, and their side as a share of the picture's; each square is black."""
MOST_HIDDEN = 0.5
"""A cutout that would hide more than this share of the forged pixels is left out: the label would no longer be true."""

SETS: dict[str, Augment] = {
    "none": {},
    "light": {
        "rotate": {"p": 0.3, "angle": [0, 10]},
        "brightness": {"p": 0.3, "levels": [0, 30]},
        "contrast": {"p": 0.3, "factor": [1, 1.3]},
        "hue": {"p": 0.2, "degrees": [0, 10]},
        "gaussian-blur": {"p": 0.2, "sigma": [0.002, 0.008]},
        "gaussian-noise": {"p": 0.2, "std": [2, 10]},
        "downscale": {"p": 0.2, "factor": [0.4, 0.9]},
        "jpeg": {"p": 0.4, "quality": [40, 100]},
        "cutout": {"p": 0.1},
    },
    # Its kernels of 3 to 7 pixels at 256 have these deviations; one of brightness, contrast and hue is drawn there.
    "deepfakebench": {
        "brightness": {"p": 0.5, "levels": [0, 25.5]},
        "contrast": {"p": 0.5, "factor": [1, 1.1]},
        "gaussian-blur": {"p": 0.5, "sigma": [0.0031, 0.0055]},
        "jpeg": {"p": 0.5, "quality": [40, 100]},
    },
}
"""Names that stand for several; mirroring is the recipe's ``flip``."""


def read_augment(value: Any, changes: Mapping[str, Any] | None = None) -> Augment:
    """Augmentations in one form, from what a recipe, a file or a flag says.

    Args:
        value: a set's name; or name -> chance, or name -> settings, where ``set`` names the set to begin with; or
            None.
        changes: the same by name, over it; a chance of 0 takes one away.

    Raises:
        UsageError: an unknown name or parameter, or a value out of range; the message begins with ``augment``.
    """
    if value is None or isinstance(value, str):
        value = {"set": value or "none"}
    if not isinstance(value, Mapping):
        raise UsageError(f"augment: must be one of {', '.join(SETS)}, or a mapping of names to chances ({value!r})")
    named = {str(name).replace("_", "-"): one for name, one in {**value, **(changes or {})}.items()}
    begun = named.pop("set", "none")
    if begun not in SETS:
        raise unknown_name("set of augment", str(begun), SETS)
    found = {**SETS[begun], **{name: _one(name, one) for name, one in named.items()}}
    # In the order in which they are applied, so that equal settings are equal.
    return {name: found[name] for name in sorted(found, key=_rank) if found[name]["p"] > 0}


def _rank(name: str) -> tuple[int, str]:
    if name in (MIXTURE, CUTOUT):
        return len(ORDER) + (name == CUTOUT), name
    group = entry_of(name).group
    return ORDER.index(group) if group in ORDER else len(ORDER), name


def _one(name: str, value: Any) -> dict[str, Any]:
    """The settings of one augmentation, checked."""
    if name not in (*CATALOGUE, *OTHERS.names(), MIXTURE, CUTOUT):
        raise unknown_name("augmentation", name, [*CATALOGUE, *OTHERS.names(), MIXTURE, CUTOUT])
    place = f"augment.{name}"
    given = dict(value) if isinstance(value, Mapping) else {"p": value}
    chance = given.pop("p", None)
    if isinstance(chance, bool) or not isinstance(chance, int | float) or not 0 <= chance <= 1:
        raise UsageError(f"{place}: needs a chance from 0 to 1, e.g. {place}=0.5; got {value!r}")
    known = set(CUTOUT_RANGES) if name == CUTOUT else {"severity"}
    known |= set() if name in (MIXTURE, CUTOUT) else entry_of(name).levels.keys()
    for key in given:
        if key not in known:
            raise unknown_name(f"parameter of {place}", str(key), sorted({"p", *known}))
    found = {"p": float(chance), **{str(key): _range(place, str(key), one) for key, one in given.items()}}
    lacking = missing_encoder(list(CATALOGUE) if name == MIXTURE else [name] if name in CATALOGUE else [])
    if lacking is not None and chance:
        raise UsageError(f"{place}: this build of PyAV has no encoder {lacking}; install the wheel of av, or leave it")
    if given.keys() - {"severity"} and name not in (MIXTURE, CUTOUT):
        _try(place, name, found)
    return found


def _try(place: str, name: str, found: Mapping[str, Any]) -> None:
    """See that the ends of its ranges can be applied, before any sample is read."""
    picture = np.full((32, 32, 3), 99, np.uint8)
    try:
        for end in (0, 1):
            ends = {key: [one[end]] * 2 for key, one in found.items() if key != "p"}
            for seed in range(4):
                rng = np.random.default_rng(seed)
                perturb(picture, [_step(name, ends, rng)], rng)
    except Exception as error:  # what a perturbation of another package raises cannot be foreseen
        told = " ".join(str(error).split())[:80] or type(error).__name__
        raise UsageError(f"{place}: cannot be applied with these values ({told}); give others") from None


def _range(place: str, key: str, value: Any) -> list[float]:
    ends = list(value) if isinstance(value, list | tuple) else [value, value]
    good = len(ends) == 2 and all(isinstance(e, int | float) and not isinstance(e, bool) for e in ends)
    low, high = (SEVERITIES[0], SEVERITIES[-1]) if key == "severity" else (0, math.inf)
    high = 1 if key == "share" else high
    if not good or not low <= ends[0] <= ends[1] <= high or math.isinf(ends[1]):
        told = "[FROM, TO]" + (f", {low} to {high}" if high < math.inf else ", 0 or more")
        raise UsageError(f"{place}: {key} must be {told}; got {value!r}")
    return ends


def draw_steps(spec: Augment, rng: np.random.Generator) -> list[Step]:
    """What is done to one sample, in this order; a cutout is no step of the catalogue."""
    steps: list[Step] = []
    for name, given in spec.items():
        if name == CUTOUT or rng.random() >= given["p"]:
            continue
        if name == MIXTURE:
            steps += [ready(one, _severity(given, rng), rng) for one in mixture(rng, 1, 4)]
        else:
            steps.append(_step(name, given, rng))
    return steps


def _severity(given: Mapping[str, Any], rng: np.random.Generator) -> int:
    low, high = given.get("severity", (SEVERITIES[0], SEVERITIES[-1]))
    return int(rng.integers(int(low), int(high) + 1))


def _step(name: str, given: Mapping[str, Any], rng: np.random.Generator) -> Step:
    entry = entry_of(name)
    severity = _severity(given, rng)
    params = entry.params(severity)
    for key, table in entry.levels.items():
        if key in given:
            low, high = given[key]
            whole = all(isinstance(value, int) for value in table) and low == int(low) and high == int(high)
            params[key] = int(rng.integers(low, high + 1)) if whole else float(rng.uniform(low, high))
    return Step(name, severity, entry.draw(rng, params))


def augmented(
    planes: Planes, points: Points | None, spec: Augment, key: tuple[int, ...], *, frame: int = 0
) -> tuple[Planes, Points | None]:
    """A sample's pictures and landmarks, changed as is drawn.

    Args:
        planes: ``image`` uint8 (H, W, 3), and any of ``mask`` and ``mask_magnitude``, uint8 (H, W).
        points: landmarks (N, 2), x and y in pixels from the corner of the upper left pixel; None where there are none.
        spec: see :func:`read_augment`.
        key: numbers that all chance follows from: seed, epoch, sample.
        frame: of a sequence: its frames share what is drawn, but for the noise of single pixels.

    Returns:
        The same kinds of pictures, of the same size. Where all forged pixels would have moved out, nothing is changed.
    """
    rng = np.random.default_rng([*key, 1])
    steps = draw_steps(spec, rng)
    holes = _holes(spec, planes["image"].shape[:2], rng)
    if not steps and not holes:
        return planes, points
    planes = {name: np.ascontiguousarray(plane) for name, plane in planes.items()}
    image, warps = perturb(planes["image"], steps, np.random.default_rng([*key, 2, frame]))
    changed = {"image": image}
    for name in planes.keys() - {"image"}:
        plane = planes[name]
        for warp in warps:
            plane = warp.mask(plane) if name == "mask" else warp.levels(plane)
        changed[name] = plane
    if "mask" in planes and planes["mask"].any() and not changed["mask"].any():
        return planes, points
    if points is not None:
        for warp in warps:
            points = warp.points(points)
    return (_cut(changed, holes) if holes else changed), points


def _holes(spec: Augment, size: tuple[int, ...], rng: np.random.Generator) -> list[tuple[slice, slice]]:
    given = spec.get(CUTOUT)
    if given is None or rng.random() >= given["p"]:
        return []
    (fewest, most), (low, high) = (given.get(name, usual) for name, usual in CUTOUT_RANGES.items())
    found = []
    for _ in range(int(rng.integers(int(fewest), int(most) + 1))):
        side = max(1, round(rng.uniform(low, high) * min(size)))
        top, left = (int(rng.integers(0, length - side + 1)) for length in size)
        found.append((slice(top, top + side), slice(left, left + side)))
    return found


def _cut(planes: Planes, holes: list[tuple[slice, slice]]) -> Planes:
    """Black squares: what is not to be seen is not forged."""
    mask = planes.get("mask")
    for hole in holes:
        if mask is not None and mask.any():
            shown = mask.copy()
            shown[hole] = 0
            if np.count_nonzero(shown) < (1 - MOST_HIDDEN) * np.count_nonzero(mask):
                continue
        planes = {name: plane.copy() for name, plane in planes.items()}
        for plane in planes.values():
            plane[hole] = 0
    return planes


@functools.cache
def mirrored_order(scheme: str) -> tuple[int, ...] | None:
    """For each landmark of a scheme which one it is in the mirrored picture; None for a scheme of another package."""
    from forgeprep.faces.landmarkers.base import DLIB_5, DLIB_81, FIVE, IBUG_68

    return {one.name: one.mirrored for one in (FIVE, DLIB_5, IBUG_68, DLIB_81)}.get(scheme)


def summary(spec: Augment) -> str:
    """Augmentations in one line, e.g. ``jpeg 0.5 (quality 40 to 100), cutout 0.1``."""
    parts = []
    for name, given in spec.items():
        ranges = [f"{key} {low:g} to {high:g}" for key, (low, high) in ((k, v) for k, v in given.items() if k != "p")]
        parts.append(f"{name} {given['p']:g}" + (f" ({', '.join(ranges)})" if ranges else ""))
    return ", ".join(parts) or "none"
