"""The command line: puts the commands of :mod:`forgeprep.commands` together, and turns errors into one line."""

from __future__ import annotations

import io
import logging
import sys
import warnings
from contextlib import suppress
from typing import Annotated, Any, NoReturn

import typer

from forgeprep import __version__
from forgeprep.commands.groups import Entry, LazyGroup

# The class of all errors in how a command is written: its module is typer's own in some versions, click's in others.
_TyperError: Any = typer.BadParameter.__mro__[1]

SHARDS, LOOK, TRAIN, LISTS = "Make shards", "Look at a run", "Train and use forgery detectors", "What there is"

COMMANDS = {
    "run": Entry(SHARDS, "Turn a raw dataset into shards."),
    "add": Entry(SHARDS, "Add stages to a finished run, without the videos."),
    "merge": Entry(SHARDS, "Put runs together: each sample once."),
    "select": Entry(SHARDS, "Make a run of the samples that fulfil a condition."),
    "reshard": Entry(SHARDS, "Pack a run into shards of another size or format."),
    "drop": Entry(SHARDS, "Take samples out of a run."),
    "splice": Entry(SHARDS, "Make clips that are forged in random spans."),
    "demo": Entry(SHARDS, "Write a small dataset to try things with."),
    "status": Entry(LOOK, "Tell how far a run is, also while it works."),
    "inspect": Entry(LOOK, "Show counts per split, method and drop reason."),
    "verify": Entry(LOOK, "Check every shard against its records."),
    "report": Entry(LOOK, "Write one HTML page to judge a run by."),
    "export": Entry(LOOK, "Write a run's samples as other programs read them."),
    "compare": Entry(LOOK, "Tell whether two runs are the same data."),
    "train": Entry(TRAIN, "Train a forgery detector on shards."),
    "evaluate": Entry(TRAIN, "Judge a split with forgery detectors."),
    "score": Entry(TRAIN, "Make the figures of score files, forgeprep's own or other people's."),
    "reproduce": Entry(TRAIN, "Make a table of a paper, beside what was published."),
    "predict": Entry(TRAIN, "Score the faces of pictures and videos."),
    "datasets": Entry(LISTS, "List the datasets, or show one."),
    "stages": Entry(LISTS, "List the stages: what they need, add and take."),
    "perturbations": Entry(LISTS, "List the perturbations and their severities."),
    "models": Entry(LISTS, "List the forgery models, or show one."),
    "weights": Entry(LISTS, "Fetch weights of face detectors, of landmarkers and of trainings."),
    "doctor": Entry(LISTS, "Tell what works on this machine, and what is missing."),
}
"""Command -> how it is listed; each lies in a module of ``forgeprep.commands`` that has its name."""


class _Commands(LazyGroup):
    entries = COMMANDS
    package = "forgeprep.commands"


app = typer.Typer(
    name="forgeprep",
    cls=_Commands,
    help="Raw face-forgery datasets in, verified training shards out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(asked: bool) -> None:
    if asked:
        print(f"forgeprep {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Raw face-forgery datasets in, verified training shards out."""


def main(arguments: list[str] | None = None) -> NoReturn:
    """The entry point: run a command and turn errors into one line and an exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    from forgeprep.commands.stopping import stoppable
    from forgeprep.errors import ForgeprepError

    code: Any = 0
    _speak_plainly()
    try:
        with stoppable():
            # Not as typer would: it writes five lines about a wrong flag.
            code = app(args=arguments, prog_name="forgeprep", standalone_mode=False)
    except _TyperError as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()
            sys.exit(2)
        if "--debug" in arguments:
            raise
        from forgeprep.commands.usage import words_of

        _fail(words_of(error), 2)
    except typer.Abort:
        _fail("stopped", 130)
    except ForgeprepError as error:
        if "--debug" in arguments:
            raise
        _fail(error, error.exit_code)
    except (OSError, MemoryError) as error:
        if "--debug" in arguments:
            raise
        memory = "out of memory; a file may claim more than it holds: 'forgeprep verify' tells for a run's folder"
        _fail(memory if isinstance(error, MemoryError) else error, 1)
    except Exception as error:
        if "--debug" in arguments:
            raise
        from forgeprep.registry import whose

        owner = whose(error)
        told = f"{type(error).__name__}: {error}"
        if owner is not None:
            _fail(f"{owner} failed: {told} (--debug shows where)", 1)
        _fail(f"{told} (a defect of forgeprep; --debug shows where)", 1)
    sys.exit(code if isinstance(code, int) else 0)


def _speak_plainly() -> None:
    """Warnings of forgeprep's own are one line each; what a terminal's encoding lacks is spelled out, as ``\\xfc``."""
    from forgeprep.errors import ForgeprepWarning, one_line

    def show(message: Any, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, ForgeprepWarning):
            with suppress(OSError):
                print(f"forgeprep: warning: {one_line(message)}", file=sys.stderr)
        else:
            show_others(message, category, *place, **more)

    show_others = warnings.showwarning
    warnings.showwarning = show
    # Without a home to keep its list of fonts in, it says so each time, at length; it works all the same.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _fail(message: Any, code: int) -> NoReturn:
    from forgeprep.errors import one_line

    with suppress(OSError):  # The terminal may be gone.
        print(f"forgeprep: error: {one_line(message)}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
