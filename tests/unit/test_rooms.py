"""The rooms of the package: imports go one way, no modules import each other in a circle, and nothing is too long.

Imports are read from the source, those inside functions and for types alone too.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from forgeprep.report.machine import MODULES

HERE = Path(__file__).resolve().parents[2]

LEVELS = (
    ("errors", "text"),
    ("registry",),
    ("schemas",),
    ("io",),
    ("media",),
    ("ops",),
    ("faces",),
    ("params",),
    ("datasets", "shards", "stages"),
    ("pipeline",),
    ("splice", "demo", "export", "curate"),
    ("training",),
    ("reader",),
    ("torch", "report"),
    ("commands",),
    ("cli",),
    ("__main__",),
)
"""Rooms and single modules, from low to high: each may import those of lower levels."""
MOST_LINES, MOST_OF_FUNCTION, MOST_OF_CLASS = 400, 60, 150
LONGER: dict[str, int] = {}
"""What is longer for now, and how long it may be; anything else fails."""


@cache
def modules() -> dict[str, list[ast.AST]]:
    """What each module of the package consists of."""
    found = {}
    for file in sorted((HERE / "forgeprep").rglob("*.py")):
        name = ".".join(file.relative_to(HERE).with_suffix("").parts).removesuffix(".__init__")
        found[name] = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    return found


@cache
def imports(module: str) -> frozenset[str]:
    """The modules of the package that a module imports by name."""
    found = set()
    for node in modules()[module]:
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports by full names only"
            full = [f"{node.module}.{name.name}" for name in node.names]
            found |= {name if name in modules() else str(node.module) for name in full}
    return frozenset(name for name in found if name in modules() and name != module)


def room(module: str) -> str | None:
    """The room of a module; None for the package itself, which holds nothing but its version."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else None


def test_every_room_has_a_level() -> None:
    rooms = {room(module) for module in modules()} - {None}
    assert rooms <= {name for level in LEVELS for name in level}


def test_imports_go_from_high_to_low() -> None:
    level = {name: number for number, names in enumerate(LEVELS) for name in names}
    upwards = [
        f"{module} imports {other}"
        for module in modules()
        for other in sorted(imports(module))
        if (a := room(module)) and (b := room(other)) and a != b and level[b] >= level[a]
    ]
    assert upwards == []


def test_only_training_needs_torch() -> None:
    allowed = {"training", "commands", "torch"}
    found = set()
    for module, nodes in modules().items():
        for node in nodes:
            names = [n.name for n in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] == "torch" for name in names) and room(module) not in allowed:
                found.add(module)
    # What finds faces and points with torch, and what is told of a machine.
    assert found <= {
        "forgeprep.faces.detectors.face_alignment",
        "forgeprep.faces.landmarkers.face_alignment",
        "forgeprep.report.machine",
    }


def test_only_commands_print() -> None:
    found = set()
    for module, nodes in modules().items():
        for node in nodes:
            printed = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
            names = [n.name for n in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            if printed or {name.split(".")[0] for name in names} & {"rich", "typer"}:
                found.add(room(module))
    assert found <= {"commands", "cli"}


def test_the_core_depends_on_what_it_imports_and_on_nothing_else() -> None:
    project = tomllib.loads((HERE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = [re.split(r"[^\w-]", line)[0].lower() for line in project["dependencies"]]
    modules_of = {
        "dlib-bin": "dlib", "opencv-python": "cv2", "pillow": "PIL", "pywavelets": "pywt", "pyyaml": "yaml",
        "scikit-image": "skimage",
    }  # fmt: skip
    needed = {modules_of.get(name, name.replace("-", "_")) for name in names}
    imported = {
        name.split(".")[0]
        for nodes in modules().values()
        for node in nodes
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([n.name for n in node.names] if isinstance(node, ast.Import) else [str(node.module)])
    }
    assert needed - imported == set()
    # `doctor` tries each of them.
    assert set(MODULES) == needed
    # Of extras, and psutil, which Ray brings.
    optional = "duckdb face_alignment peft psutil safetensors scipy sklearn torch transformers wandb"
    others = imported - set(sys.stdlib_module_names) - needed - {"forgeprep"}
    assert others == set(optional.split())


def test_no_modules_import_each_other_in_a_circle() -> None:
    left = {module: set(imports(module)) for module in modules()}
    while free := [module for module, others in left.items() if not others & left.keys()]:
        for module in free:
            del left[module]
    # What is left lies on circles, or above them: the latter go now.
    while above := [module for module in left if not any(module in others for others in left.values())]:
        for module in above:
            del left[module]
    assert sorted(left) == []


@pytest.mark.parametrize("room_name", [name for level in LEVELS for name in level])
def test_nothing_is_too_long(room_name: str) -> None:
    long = []
    for module, nodes in modules().items():
        if room(module) == room_name:
            file = HERE.joinpath(*module.split("."))
            source = file / "__init__.py" if file.is_dir() else file.with_suffix(".py")
            lines = len(source.read_text(encoding="utf-8").splitlines())
            long += [f"{module}: {lines} lines"] if lines > MOST_LINES else []
            long += [
                f"{name}: {length} lines"
                for name, length, most in _parts(module, nodes)
                if length > LONGER.get(name, most)
            ]
    assert long == []


def _parts(module: str, nodes: list[ast.AST]) -> Iterator[tuple[str, int, int]]:
    """Functions and classes: full name, lines, and how many it may have."""
    for node in nodes:
        if isinstance(node, ast.ClassDef):
            yield f"{module}.{node.name}", _span(node, node), MOST_OF_CLASS
        elif isinstance(node, ast.FunctionDef):
            # The parameters of a command are its flags: a table, however long.
            first = node.body[0] if room(module) == "commands" else node
            yield f"{module}.{node.name}", _span(first, node), MOST_OF_FUNCTION


def _span(first: ast.stmt, last: ast.stmt) -> int:
    assert last.end_lineno is not None
    return last.end_lineno - first.lineno + 1
