"""What is wrong with a command line, in one line and in our words: typer's own take five."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from forgeprep.commands.groups import given_words
from forgeprep.errors import nearest
from forgeprep.io.settings import first_problem

_KINDS = {
    "integer": "a whole number",
    "integer range": "a whole number",
    "float": "a number",
    "float range": "a number",
    "boolean": "true or false",
}
_EXTRA = re.compile(r"Got unexpected extra arguments?(?:\(s\))? \((?P<words>.*)\)")
_UNKNOWN = re.compile(r"No such command '(?P<name>[^']*)'")
_REFUSED = re.compile(r"^'?(?P<value>.*?)'? is not (?P<what>a valid|in the range)")


def words_of(error: Any) -> str:
    """The line for a usage error of typer, which has several classes by version: they are told apart by their names."""
    told = _WORDS.get(type(error).__name__, _told)(error, error.ctx)
    command = error.ctx.command_path.partition(" ")[2] if error.ctx is not None else ""
    return f"{command}: {told}" if command else told


def _missing(error: Any, context: Any) -> str:
    """All that is missing, not the first alone."""
    missing = [param for param in context.command.params if param.required and param.name not in context.params]
    names = [_name(param) for param in missing or [error.param]]
    listed = " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)
    runs = _runs_here() if names == ["OUT"] else []
    command = shlex.join(given_words(context) or [context.command_path])
    example = f"runs that are here: {', '.join(f'{command} {run}' for run in runs)}" if runs else _example(context)
    return f"{listed} {'are' if names[1:] else 'is'} missing; {example}"


def _runs_here() -> list[str]:
    from forgeprep.shards.records import runs_near

    return [run for folder in ("shards", ".") if Path(folder).is_dir() for run in runs_near(Path(folder))][:3]


def _no_option(error: Any, context: Any) -> str:
    flags = [flag for param in context.command.params for flag in (*param.opts, *param.secondary_opts)]
    # Without the dashes, in which all flags are alike.
    near = nearest(error.option_name[2:], [flag[2:] for flag in flags if flag.startswith("--")], 0.6)
    hint = f": did you mean --{near}?" if near else ""
    return f"there is no {error.option_name}{hint} ({_help(context)})"


def _bad_use(error: Any, context: Any) -> str:
    return f"{error.option_name} {'takes no value' if 'not take' in error.message else 'needs a value'}"


def _bad_value(error: Any, context: Any) -> str:
    name = _name(error.param) if error.param is not None else str(error.param_hint or "")
    return f"{name}: {_refused(error)}"


def _refused(error: Any) -> str:
    """Why a value is refused: later versions of typer ask pydantic, earlier ones have types and texts of their own."""
    if hasattr(error.__cause__, "errors"):
        return first_problem(error.__cause__)[1]
    kind = getattr(error.param, "type", None)
    wanted = _KINDS.get(getattr(kind, "name", ""))
    found = _REFUSED.match(error.message)
    if wanted is None or found is None:
        return str(error.message)
    if found["what"] == "a valid":
        return f"must be {wanted} (got {found['value']!r})"
    low, value = getattr(kind, "min", None), float(found["value"])
    limit = f"at least {low}" if low is not None and value < low else f"at most {getattr(kind, 'max', None)}"
    return f"must be {limit} (got {found['value']!r})"


def _told(error: Any, context: Any) -> str:
    """Words in excess, a command that is missing or unknown, and what else typer may tell."""
    extra = _EXTRA.match(error.message)
    if extra:
        words = given_words(context)
        joined = _without_spaces(words)
        if joined != words:
            return f"'{extra['words']}' is too much; lists have no space after a comma: {shlex.join(joined)}"
        return f"'{extra['words']}' is too much; {_example(context)}"
    commands = context.command.list_commands(context) if hasattr(context.command, "list_commands") else []
    if commands and error.message.startswith("Missing command"):
        return f"give a command: {', '.join(commands)}"
    unknown = _UNKNOWN.match(error.message)
    if unknown:
        near = nearest(unknown["name"], commands)
        hint = f": did you mean '{near}'?" if near else ""
        return f"there is no command '{unknown['name']}'{hint} ({_help(context)})"
    return str(error.format_message())


_WORDS = {
    "MissingParameter": _missing,
    "NoSuchOption": _no_option,
    "BadOptionUsage": _bad_use,
    "BadParameter": _bad_value,
}


def _without_spaces(words: Sequence[str]) -> list[str]:
    """The words with those joined that a comma ends or begins.

    >>> _without_spaces(["--stages", "crop,", "mask", ",noise", "--size", "80"])
    ['--stages', 'crop,mask,noise', '--size', '80']
    """
    found: list[str] = []
    for word in words:
        apart = found and not word.startswith("-") and (found[-1].endswith(",") or word.startswith(","))
        if apart:
            found[-1] += word
        else:
            found.append(word)
    return found


def _name(param: Any) -> str:
    if param.param_type_name == "argument":
        return str(param.metavar or param.human_readable_name)
    return str(param.opts[0])


def _example(context: Any) -> str:
    """The first example of the command's help."""
    lines = (context.command.epilog or context.command_path).strip().splitlines()
    return f"for example: {lines[0].strip()}"


def _help(context: Any) -> str:
    return f"'{context.command_path} --help' lists all"
