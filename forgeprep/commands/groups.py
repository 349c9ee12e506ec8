"""How commands are found and how their help looks: modules imported on demand, flags under headings, examples."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, ClassVar, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup


class Entry(NamedTuple):
    """A command in the list of ``forgeprep --help``: the heading it stands under, and one line."""

    heading: str
    summary: str


class LazyGroup(TyperGroup):
    """A group whose commands lie in modules of their own, which are imported when they are called.

    A subclass sets ``entries``, command -> :class:`Entry`, and ``package``; the module of a command has its name and
    holds it as ``app``.
    """

    entries: ClassVar[Mapping[str, Entry]] = {}
    package: ClassVar[str] = ""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names, in the order of the list."""
        return list(self.entries)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name, None where there is none."""
        if cmd_name not in self.entries:
            return None
        app = importlib.import_module(f"{self.package}.{cmd_name}").app
        command = typer.main.get_command(app)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The list of commands, from their entries alone."""
        headings: dict[str, list[tuple[str, str]]] = {}
        for name, entry in self.entries.items():
            headings.setdefault(entry.heading, []).append((name, entry.summary))
        for heading, rows in headings.items():
            with formatter.section(heading):
                formatter.write_dl(rows)


class Command(TyperCommand):
    """A command whose help has its flags under headings (``rich_help_panel``), and examples in the epilog.

    ``renamed`` are flags of earlier versions: they still work, and one line tells the new name.
    """

    renamed: ClassVar[Mapping[str, str]] = {}
    as_given: Mapping[str, str] = {}

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments, those of earlier versions under their new names."""
        if ctx.resilient_parsing:
            return super().parse_args(ctx, args)
        given = {argument.partition("=")[0] for argument in args}
        self.as_given = {new: old for old, new in self.renamed.items() if old in given}
        args = current_flags(args, self.renamed)
        ctx.meta[_WORDS] = [*ctx.command_path.split(), *args]
        with self._told_as_given():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Call the command."""
        with self._told_as_given():
            return super().invoke(ctx)

    @contextmanager
    def _told_as_given(self) -> Iterator[None]:
        """Let errors name a flag as the user gave it, by the name of an earlier version where it was that."""
        from forgeprep.errors import UsageError

        try:
            yield
        except UsageError as error:
            text = str(error)
            for new, old in self.as_given.items():
                text = re.sub(rf"(?<![\w-]){re.escape(new)}(?![\w-])", old, text)
            raise type(error)(text) from error

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments and flags, each under its heading."""
        headings: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                argument = param.param_type_name == "argument"
                usual = "Arguments" if argument else "Options"
                row = plain_name(record[0], argument), record[1]
                headings.setdefault(getattr(param, "rich_help_panel", None) or usual, []).append(row)
        for heading in sorted(headings, key=lambda heading: (heading == "Options") - (heading == "Arguments")):
            with formatter.section(heading):
                formatter.write_dl(headings[heading])

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """The examples, as they are written."""
        if self.epilog:
            with formatter.section("Examples"):
                for line in self.epilog.strip().splitlines():
                    formatter.write(f"  {line}\n")


def plain_name(name: str, argument: bool) -> str:
    """What takes a value without Python's names of types: a flag has the word that others have, an argument has none.

    >>> plain_name("OUT <Path>", True), plain_name("--seed <int range>", False), plain_name("--log <a|b>", False)
    ('OUT', '--seed INTEGER', '--log <a|b>')
    """
    if argument:
        return name.partition(" <")[0]
    return re.sub(r"<([\w ]+)>$", lambda found: _TYPES.get(found[1].removesuffix(" range"), found[0]), name)


_TYPES = {"int": "INTEGER", "float": "NUMBER", "str": "TEXT", "Path": "PATH"}
_WORDS = "forgeprep.words"


def given_words(context: Any) -> list[str]:
    """The command as it was given, word by word, from ``forgeprep`` on."""
    return list(context.meta.get(_WORDS, ()))


def current_flags(args: Sequence[str], renamed: Mapping[str, str]) -> list[str]:
    """The arguments with the names of today; says on stderr which name has changed.

    >>> current_flags(["--size", "80", "--sigma=3"], {"--size": "--side"})
    ['--side', '80', '--sigma=3']
    """
    found = []
    for argument in args:
        name, equals, value = argument.partition("=")
        if name in renamed:
            tell_renamed(name, renamed[name])
            argument = renamed[name] + equals + value
        found.append(argument)
    return found


def refuse_json_before(context: Any, as_json: bool) -> None:
    """Raise UsageError for a ``--json`` before a subcommand, which would not reach it."""
    if as_json:
        from forgeprep.errors import UsageError

        command = f"{context.command_path} {context.invoked_subcommand}"
        raise UsageError(f"--json goes behind the command: {command} … --json")


def tell_renamed(old: str, new: str, where: str = "") -> None:
    """One line on stderr: a name of an earlier version has changed."""
    with suppress(OSError):  # The terminal may be gone.
        print(f"forgeprep: {where}{old} is now {new}", file=sys.stderr)


def single(function: Callable[..., Any], *, examples: str | None = None, cls: type[Command] = Command) -> typer.Typer:
    """The app of a module that holds one command; ``examples`` are lines shown below its help."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(cls=cls, epilog=examples)(function)
    return app
