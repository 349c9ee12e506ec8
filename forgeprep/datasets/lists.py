"""Reading the lists that come with datasets: a line that is off is told by file and line number."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from forgeprep.errors import UsageError
from forgeprep.io.safe_files import LINE_BYTES, LIST_BYTES, open_regular, parse_json, read_bytes, read_text

JSON_BYTES = 256 << 20
"""The metadata of DFDC's largest part are a megabyte."""
JSON_LIST_BYTES = 2 << 30
"""AV-Deepfake1M's metadata are half a gigabyte."""


def refuse(path: Path, line: int | None, problem: str) -> NoReturn:
    """Raise a :class:`UsageError` for a list's file and line, counted from 1."""
    raise UsageError(f"{path}{'' if line is None else f':{line}'}: {problem}")


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a text file that are not blank, with their numbers, from 1.

    Raises:
        UsageError: the file cannot be read, or is no text.
    """
    try:
        for number, line in text_lines(path):
            if text := line.strip():
                yield number, text
    except OSError as error:
        refuse(path, None, f"cannot be read ({error.strerror})")


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """All lines of a text file without their ends, with their numbers; raises OSError where it cannot be read."""
    with open_regular(path, LIST_BYTES) as file:
        number = 0
        while raw := file.readline(LINE_BYTES + 1):
            number += 1
            if len(raw) > LINE_BYTES:
                refuse(path, number, f"is longer than {LINE_BYTES >> 20} MB, no line of a list")
            try:
                yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError:
                refuse(path, number, "is no text in UTF-8")


def refuse_entry(path: Path, name: str, problem: str) -> NoReturn:
    """Raise a :class:`UsageError` for an entry of a JSON file, with the line where its name stands."""
    lines = read_bytes(path, JSON_BYTES).decode("utf-8-sig", "replace").splitlines()
    found = next((number for number, line in enumerate(lines, 1) if json.dumps(name) in line), None)
    refuse(path, found, f"'{name[:100]}': {problem}")


def read_json_object(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object of objects; a name that stands twice is refused.

    Raises:
        UsageError: the file cannot be read, or is no such JSON.
    """
    try:
        value = parse_json(read_text(path, JSON_BYTES, "utf-8-sig"), object_pairs_hook=_no_doubles)
    except OSError as error:
        refuse(path, None, f"cannot be read ({error.strerror})")
    except json.JSONDecodeError as error:
        refuse(path, error.lineno, f"not valid JSON ({error.msg})")
    except _DoubleError as error:
        refuse_entry(path, str(error), "stands there twice; keep one")
    except ValueError:  # no UTF-8, a number of thousands of digits, nested thousands of levels deep
        refuse(path, None, "not valid JSON")
    if not isinstance(value, dict):
        refuse(path, None, "must hold an object, name by name")
    for name, entry in value.items():
        if not isinstance(entry, dict):
            refuse_entry(path, name, f"must hold an object, got {json.dumps(entry)[:40]}")
    return value


def read_json_value(path: Path) -> Any:
    """A JSON file, whatever it holds; raises UsageError where it cannot be read or is no JSON."""
    try:
        return parse_json(read_text(path, JSON_LIST_BYTES, "utf-8-sig"))
    except OSError as error:
        refuse(path, None, f"cannot be read ({error.strerror})")
    except json.JSONDecodeError as error:
        refuse(path, error.lineno, f"not valid JSON ({error.msg})")
    except ValueError:
        refuse(path, None, "not valid JSON")


def read_json_list(path: Path, *, single: bool = False) -> list[dict[str, Any]]:
    """A JSON file that holds a list of objects, or an object of such by name; what else is in it is left out.

    With ``single`` an object is one entry.

    Raises:
        UsageError: the file cannot be read, or is no such JSON.
    """
    value = read_json_value(path)
    if isinstance(value, dict) and single:
        value = [value]
    elif isinstance(value, dict):
        value = [{"file": name, **entry} if isinstance(entry, dict) else entry for name, entry in value.items()]
    if not isinstance(value, list):
        refuse(path, None, "must hold a list of objects")
    return [entry for entry in value if isinstance(entry, dict)]


class _DoubleError(Exception):
    pass


def _no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _DoubleError(next(name for name in names if names.count(name) > 1))
    return found
