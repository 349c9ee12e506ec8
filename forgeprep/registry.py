"""Things that other packages add through entry points: find them by name, and say whose they are.

A registry is a plain dict of what is built in, name to ``module:attribute`` (a string, so that listing names imports
nothing), and an entry-point group for what others add.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from forgeprep.errors import UsageError, unknown_name

T = TypeVar("T")


@dataclass(frozen=True)
class Registry(Generic[T]):
    """Named things of one kind.

    Attributes:
        kind: what they are, in messages: "shard format".
        group: the entry-point group.
        built_in: name -> ``module:attribute``, in the order in which they are listed.
        type: their class, and ``module:attribute`` where importing it costs something.
    """

    kind: str
    group: str
    built_in: Mapping[str, str]
    type: str

    def names(self) -> list[str]:
        """All names, the built-in ones first, then those of other packages, sorted; imports none of them."""
        return [*self.built_in, *sorted({point.name for point in self._points()} - self.built_in.keys())]

    def broken(self) -> dict[str, str]:
        """Name -> why, of what other packages add and cannot be used here; loads what they add."""
        found = {}
        for name in sorted({point.name for point in self._points()}):
            try:
                self.get(name)
            except UsageError as error:
                found[name] = str(error)
        return found

    def usable(self) -> dict[str, T]:
        """Name -> thing, of all that are not broken, which is the affair of those who name it."""
        broken = self.broken()
        return {name: self.get(name) for name in self.names() if name not in broken}

    def get(self, name: str, made_with: Mapping[str, str] | None = None) -> T:
        """The thing of that name.

        Args:
            name: its name.
            made_with: name -> package and version, of things that a run was made with and that may be missing here.

        Raises:
            UsageError: the name is unknown, stands for two things, or its package cannot be loaded.
        """
        points = [point for point in self._points() if point.name == name]
        # No order of precedence: which of two packages wins would depend on what else is installed.
        if len(points) + (name in self.built_in) > 1:
            owners = ["forgeprep"] * (name in self.built_in) + sorted(_owner(point) for point in points)
            raise UsageError(f"{self.kind} '{name}' is defined by {' and '.join(owners)}: uninstall all but one")
        if name in self.built_in:
            found: T = load(self.built_in[name])
            return found
        if not points:
            if made_with and name in made_with:
                raise UsageError(missing(self.kind, name, made_with[name]))
            raise unknown_name(self.kind, name, self.names())
        return self._loaded(name, points[0])

    def packages(self, names: Collection[str]) -> dict[str, str]:
        """Of these names those that other packages add: name -> package and version, e.g. ``mine 1.0``."""
        points = [point for point in self._points() if point.name in names and point.name not in self.built_in]
        return {point.name: _package(point) for point in points}

    def _loaded(self, name: str, point: EntryPoint) -> T:
        owner = _owner(point)
        try:
            found = point.load()
        # Whatever a third party's module does at import: the user is told whose it is.
        except (Exception, SystemExit) as error:
            problem = f"{type(error).__name__}: {error}"
            raise UsageError(f"{self.kind} '{name}' of {owner} cannot be loaded ({problem})") from error
        wanted = load(self.type)
        if not isinstance(found, wanted):
            raise UsageError(f"{self.kind} '{name}' of {owner} is a {type(found).__name__}, not a {wanted.__name__}")
        if found.name != name:
            raise UsageError(f"{self.kind} '{name}' of {owner} has another name of its own: both have to be the same")
        result: T = found
        return result

    def _points(self) -> tuple[EntryPoint, ...]:
        # The search reads the metadata of all packages, and a format is asked for at every picture that is read.
        return _search(entry_points, self.group, tuple(sys.path))


@cache
def _search(search: Callable[..., Iterable[EntryPoint]], group: str, places: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    return tuple(search(group=group))


def whose(error: BaseException) -> str | None:
    """What another package adds in whose code an error arose, e.g. ``stage 'mine' of my-stages``; None for forgeprep's.

    Of a package that adds several things, those of the same module.
    """
    modules = {str(frame.f_globals.get("__name__")) for frame, _ in traceback.walk_tb(error.__traceback__)}
    roots = {name.partition(".")[0] for name in modules} - {"forgeprep", "__main__"}
    groups = [group for group in entry_points().groups if group.startswith("forgeprep.")]
    added = [point for group in groups for point in entry_points(group=group)]
    points = [point for point in added if point.module.partition(".")[0] in roots]
    exact = [point for point in points if point.module in modules]
    kinds = {group: group.partition(".")[2].rstrip("s").replace("_", " ") for group in groups}
    named = [f"{kinds[point.group]} '{point.name}'" for point in exact or points]
    return f"{' or '.join(named[:3])} of {_owner(points[0])}" if points else None


def missing(kind: str, name: str, package: str) -> str:
    """What to say of a thing whose package, ``NAME VERSION``, is not installed."""
    return (
        f"the {kind} '{name}' is of the package {package}, which is not installed here: pip install '{pinned(package)}'"
    )


def made_with(run: Mapping[str, Any], part: str) -> dict[str, str]:
    """Name -> package and version, of the ``stages`` or ``formats`` of a run that other packages add (``run.json``)."""
    packages = run.get("packages") or {}
    return {name: f"{title} {facts['version']}" for title, facts in packages.items() for name in facts.get(part) or ()}


def pinned(package: str) -> str:
    """``mine 1.0`` as pip takes it: ``mine==1.0``."""
    return "==".join(package.rsplit(" ", 1))


def load(place: str) -> Any:
    """What ``module:attribute`` names."""
    module, attribute = place.split(":")
    return getattr(importlib.import_module(module), attribute)


def _owner(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else f"{point.module} 0"
