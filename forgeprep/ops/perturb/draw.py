"""Which perturbations a clip gets: by what stands after ``--perturb``, a seed and the clip's name."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from forgeprep.errors import UsageError, unknown_name
from forgeprep.ops.perturb.catalogue import CATALOGUE, ORDER, OTHERS, SEVERITIES, Step, ready

SHARES = ("mixed", "single", "clean")
"""Names that take a share of the clips, as in ``mixed:0.5``."""

NAMED_SHARES = {"forgerynet": {"mixed": 0.98, "single": 0.01, "clean": 0.01}}
"""Names that stand for shares. ``forgerynet``: 99 % of its pictures are perturbed, nearly all of them by mixtures."""

MIXTURE = (2, 4)
"""The fewest and the most perturbations of a mixture."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What ``--perturb`` asks for: either a chain or shares.

    Attributes:
        chain: names, each with its severity or None where that is drawn; all are applied, in this order.
        mixed, single: shares of the clips that get a mixture, or one perturbation; the rest stays clean.
    """

    chain: tuple[tuple[str, int | None], ...] = ()
    mixed: float = 0.0
    single: float = 0.0


def parse(text: str) -> Asked:
    """What is asked for by a text such as ``jpeg:3,gaussian-blur``, ``mixed:0.98,single:0.01`` or ``forgerynet``.

    Raises:
        UsageError: an unknown name or severity (the message suggests the nearest), shares that are not from 0 to 1 or
            sum up to more than 1, or names beside shares.
    """
    items = [part.strip() for part in text.split(",") if part.strip()]
    if not items:
        raise UsageError("--perturb is empty; give names such as jpeg:3, shares such as mixed:0.5, or forgerynet")
    if items[0] in NAMED_SHARES and len(items) == 1:
        return _of_shares(NAMED_SHARES[items[0]])
    chain: list[tuple[str, int | None]] = []
    shares: dict[str, float] = {}
    for item in items:
        name, colon, value = (part.strip() for part in item.partition(":"))
        if name in SHARES:
            if name in shares:
                raise UsageError(f"--perturb: {name} is given twice")
            shares[name] = _share(name, value)
        elif name in NAMED_SHARES:
            raise UsageError(f"--perturb: {name} stands alone, without a severity and without other names")
        elif name not in CATALOGUE and name not in OTHERS.names():
            raise unknown_name("perturbation", name, [*CATALOGUE, *OTHERS.names(), *SHARES, *NAMED_SHARES])
        else:
            chain.append((name, _severity(name, value) if colon else None))
    if chain and shares:
        raise UsageError(
            f"--perturb: {chain[0][0]} is one perturbation for every clip, {next(iter(shares))} a share of the clips; "
            "give either names or shares"
        )
    return Asked(tuple(chain)) if chain else _of_shares(shares)


def draw(asked: Asked, rng: np.random.Generator) -> tuple[Step, ...]:
    """The steps of one clip; none if it stays clean."""
    if asked.chain:
        return tuple(ready(name, given or _any_severity(rng), rng) for name, given in asked.chain)
    chance = rng.random()
    if chance < asked.mixed:
        names = mixture(rng, *MIXTURE)
    elif chance < asked.mixed + asked.single:
        names = [str(rng.choice(list(CATALOGUE)))]
    else:
        names = []
    return tuple(ready(name, _any_severity(rng), rng) for name in names)


def seeded(seed: int, *names: str) -> np.random.Generator:
    """A generator that depends on ``seed`` and ``names`` only: the same on every worker and machine."""
    digest = hashlib.sha256("\0".join([str(seed), *names]).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))


def mixture(rng: np.random.Generator, fewest: int, most: int) -> list[str]:
    """Names from different groups, at least ``fewest`` and at most ``most``, in the order in which they are applied."""
    count = int(rng.integers(fewest, most + 1))
    chosen: dict[str, str] = {}
    for name in rng.permutation(list(CATALOGUE)):
        chosen.setdefault(CATALOGUE[str(name)].group, str(name))
        if len(chosen) == count:
            break
    return [chosen[group] for group in ORDER if group in chosen]


def _any_severity(rng: np.random.Generator) -> int:
    return int(rng.integers(SEVERITIES[0], SEVERITIES[-1] + 1))


def _of_shares(shares: dict[str, float]) -> Asked:
    total = sum(shares.values())
    # As typed, 0.98 + 0.01 + 0.01 is a little more than 1.
    if total > 1 + 1e-9:
        raise UsageError(f"--perturb: the shares sum up to {total:g}, more than 1")
    return Asked(mixed=shares.get("mixed", 0.0), single=shares.get("single", 0.0))


def _share(name: str, value: str) -> float:
    try:
        share = float(value)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise UsageError(f"--perturb: {name} needs a share of the clips from 0 to 1, e.g. {name}:0.5; got {value!r}")
    return share


def _severity(name: str, value: str) -> int:
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if number in SEVERITIES:
        return int(number)
    nearest = min(SEVERITIES, key=lambda severity: abs(severity - number))
    hint = f": did you mean '{name}:{nearest}'?" if number == number else ""
    raise UsageError(f"--perturb: unknown severity '{value}' of {name}{hint} (known: 1 to 5)")
