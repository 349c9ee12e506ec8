"""Settings from the command line (``NAME=VALUE``) and from YAML files, which may come from somebody else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from forgeprep.errors import UsageError
from forgeprep.io.safe_files import read_text

if TYPE_CHECKING:
    from pydantic import ValidationError

SETTINGS_BYTES = 1 << 20
"""Limit of a settings file: nobody writes more by hand, and YAML takes a hundred times its bytes in memory."""


def name_and_value(flag: str, text: str) -> tuple[str, str]:
    """The two sides of ``NAME=VALUE``, the name with underscores for dashes; raises UsageError, naming the flag."""
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"{flag} must be NAME=VALUE, got '{text}'")
    return name.strip().replace("-", "_"), value.strip()


def first_problem(error: ValidationError) -> tuple[str, str]:
    """The setting that a model refuses first, and why in words with the value; the name is empty for no single one.

    The value is left out where it is the whole model's.
    """
    problem = error.errors()[0]
    text = _in_words(problem["type"], problem.get("ctx") or {}) or problem["msg"].removeprefix("Value error, ")
    name = str(problem["loc"][0]) if problem["loc"] else ""
    return name, f"{text[0].lower()}{text[1:]} (got {problem['input']!r})" if name or not isinstance(
        problem["input"], dict
    ) else text


_KINDS = {
    "bool": "must be true or false",
    "dict": "must be a mapping of names to values",
    "extra": "is no name that is known here",
    "finite": "must be a number that is not infinite",
    "float": "must be a number",
    "int": "must be a whole number",
    "list": "must be a list",
    "missing": "must be given",
    "model": "must be a mapping of names to values",
    "set": "must be a list without repeats",
    "string": "must be a text",
    "tuple": "must be a list",
}
"""What pydantic calls a problem, up to the first underscore -> our words."""
_LIMITS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}


def _in_words(kind: str, context: dict[str, Any]) -> str | None:
    """What a model asks for; None for what it says in words of its own."""
    for limit, words in _LIMITS.items():
        if limit in context:
            return f"must be {words} {context[limit]:g}"
    if kind in ("literal_error", "enum"):
        return f"must be {context['expected']}"
    if kind in ("too_short", "too_long"):
        words, limit = ("at least", "min_length") if kind == "too_short" else ("at most", "max_length")
        return f"must have {words} {context[limit]} of them"
    if kind in ("string_too_short", "string_too_long", "string_pattern_mismatch", "value_error"):
        return None
    return _KINDS.get(kind.partition("_")[0])


class _Loader(yaml.SafeLoader):
    """Refuses aliases, of which nine lines can stand for a billion values, and names that are given twice."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "aliases (*name) are not supported", mark)
        return super().compose_node(parent, index)

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        names = set()
        for key, _ in node.value:
            if key.value in names:
                raise yaml.composer.ComposerError(None, None, f"'{key.value}' is given twice", key.start_mark)
            names.add(key.value if isinstance(key, yaml.ScalarNode) else None)
        return node


def read_settings_file(path: Path) -> dict[str, Any]:
    """The names, with underscores for dashes, and their values; an empty file has none.

    Raises:
        UsageError: it cannot be read, or is not a YAML mapping.
    """
    try:
        values = yaml.load(read_text(path, SETTINGS_BYTES), _Loader)  # noqa: S506 -- a SafeLoader
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not valid YAML ({' '.join(str(error).split())[:300]})") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UsageError(f"{path}: must be a mapping of names to values, got {type(values).__name__}")
    return {str(name).replace("-", "_"): value for name, value in values.items()}
