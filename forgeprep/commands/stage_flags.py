"""Flags made from the parameters of the stages, so that a stage of another package has its own."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import typer

from forgeprep.commands.flags import complete_detectors, complete_landmarkers, completing
from forgeprep.commands.groups import Command

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from forgeprep.params import StageParams

HEADINGS = {"crop": "Faces", "mask": "Masks", "selfblend": "Self-blended images", "perturb": "Perturbations"}
"""Stage -> the heading of its flags where that is not its own name."""
_NAMED = {"detector": complete_detectors, "landmarks": complete_landmarkers}
"""Parameters that name something which other packages can add to."""
_WORDED_DEFAULT = re.compile(r"; default:? (?P<default>.*)$")
_METAVARS = {bool: "BOOLEAN", int: "INTEGER", float: "NUMBER"}


class StageCommand(Command):
    """A command with the flags of stages; of an unknown flag it says if the package of a stage is missing."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments."""
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            # Some versions of typer raise click's errors, others their own.
            if getattr(error, "option_name", None) is None:
                raise
            _tell_missing_stages(str(error.format_message()), given)  # type: ignore[attr-defined]
            raise


def _tell_missing_stages(problem: str, args: Sequence[str]) -> None:
    """Raise UsageError if a stage is not known that ``--stages`` names, or that the run named here was made with."""
    from forgeprep.errors import UsageError
    from forgeprep.params import STAGES
    from forgeprep.registry import made_with
    from forgeprep.shards.records import read_run

    made: dict[str, str] = {}
    asked: list[str] = []
    for number, text in enumerate(args):
        name, _, value = text.partition("=") if text.startswith("-") else ("", "", text)
        if name == "--stages":
            asked += (value or "".join(args[number + 1 : number + 2])).split(",")
        with suppress(UsageError):
            made |= made_with(read_run(Path(value)), "stages") if value else {}
    for stage in (*made, *filter(None, map(str.strip, asked))):
        if stage not in STAGES.built_in:
            try:
                STAGES.get(stage, made)
            except UsageError as error:
                raise UsageError(f"{problem}; {error}") from None


def takes_stage_flags(
    function: Callable[..., Any], models: Mapping[str, type[StageParams]], behind: str
) -> Callable[..., Any]:
    """The function with a flag for each parameter of the stages; it gets them by ``**given``, None if not given.

    Args:
        function: takes ``**given``; its other parameters keep their flags. A stage's parameter of the same name as one
            of them, or as one of an earlier stage, has no flag; it is set by ``--set``.
        models: stage -> the model of its parameters.
        behind: the parameter after which the flags stand in the help.
    """
    signature = inspect.signature(function, eval_str=True)
    own = [one for one in signature.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
    at = [one.name for one in own].index(behind) + 1
    # By keyword all of them: typer gives them so, and a flag may stand before one that is required.
    parameters = [*own[:at], *stage_flags(models, {one.name for one in own}), *own[at:]]
    function.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in parameters]
    )
    return function


def stage_flags(models: Mapping[str, type[StageParams]], taken: Collection[str] = ()) -> list[inspect.Parameter]:
    """A parameter for typer for each field of the models, but for names that are taken."""
    found: dict[str, inspect.Parameter] = {}
    for stage, model in models.items():
        for name, info in model.model_fields.items():
            if name not in taken and name not in found:
                found[name] = _flag(name, info, HEADINGS.get(stage, stage.capitalize()))
    return list(found.values())


def _flag(name: str, info: FieldInfo, heading: str) -> inspect.Parameter:
    flag = flag_of(name)
    kinds = _kinds(info.annotation)
    choices = [str(choice) for kind in kinds if get_origin(kind) is Literal for choice in get_args(kind)]
    switch = set(kinds) == {bool}
    option = typer.Option(
        f"{flag}/--no-{flag[2:]}" if switch else flag,
        help=help_of(info),
        metavar=None if switch else next((_METAVARS[kind] for kind in kinds if kind in _METAVARS), "TEXT"),
        rich_help_panel=heading,
        autocompletion=_NAMED.get(name) or (completing(lambda: choices) if choices else None),
    )
    # All but switches come as text: the stage's model reads it, and says in one line what is wrong.
    annotation = Annotated[bool | None, option] if switch else Annotated[str | None, option]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def flag_of(name: str) -> str:
    """The flag of a parameter.

    >>> flag_of("min_face")
    '--min-face'
    """
    return "--" + name.replace("_", "-")


def _kinds(annotation: Any) -> tuple[Any, ...]:
    """The types that an annotation allows, but for None."""
    parts = (annotation,) if get_origin(annotation) is Literal else get_args(annotation) or (annotation,)
    return tuple(part for part in parts if part is not type(None))


def help_of(info: FieldInfo) -> str:
    """The help of a parameter: its description, its limits and its default.

    >>> from pydantic.fields import Field
    >>> help_of(Field(default=14, ge=1, le=256, description="cells along an edge"))
    'Cells along an edge (1 to 256). [default: 14]'
    """
    text, default = _split(info)
    limits = _limits(info.metadata)
    return f"{text[:1].upper()}{text[1:]}{f' ({limits})' if limits else ''}. [default: {default}]"


def _split(info: FieldInfo) -> tuple[str, str]:
    """The description without what it says of the default, and the default in words."""
    text = (info.description or "").rstrip(".")
    worded = _WORDED_DEFAULT.search(text)
    if worded:
        return text[: worded.start()], worded["default"]
    if info.is_required():
        return text, "none, must be given"
    value = info.get_default(call_default_factory=False)
    if value is None:
        return text, "none"
    if isinstance(value, bool):
        return text, "on" if value else "off"
    return text, ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _limits(metadata: Iterable[Any]) -> str:
    """The limits of a number in words: ``1 to 256``, ``above 0``."""
    found = {name: getattr(one, name) for one in metadata for name in ("ge", "gt", "le", "lt") if hasattr(one, name)}
    low = f"{found['ge']:g}" if "ge" in found else f"above {found['gt']:g}" if "gt" in found else ""
    high = f"{found['le']:g}" if "le" in found else f"below {found['lt']:g}" if "lt" in found else ""
    if low and high:
        return f"{low} to {high}" if "ge" in found else f"{low}, up to {high}"
    if low:
        return f"{low} or more" if "ge" in found else low
    return f"up to {high}" if "le" in found else high
