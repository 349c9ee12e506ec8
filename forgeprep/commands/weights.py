"""``forgeprep weights``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from forgeprep.commands.flags import Debug, completing
from forgeprep.commands.groups import Command


def _names() -> Iterable[str]:
    from forgeprep.faces.detectors import known_weights

    return known_weights()


app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)


@app.callback()
def weights() -> None:
    """Fetch the weights of optional face detectors.

    They are never fetched during a run.
    """


@app.command("fetch", cls=Command)
def weights_fetch(
    name: Annotated[
        str,
        typer.Argument(
            help="dlib-cnn, s3fd, or those of another package's detector.",
            metavar="NAME",
            autocompletion=completing(_names),
        ),
    ],
    debug: Debug = False,
) -> None:
    """Fetch the weights of an optional detector and check them. This command uses the network; no other does."""
    from forgeprep.faces.detectors import known_weights
    from forgeprep.faces.weights import fetch

    print(f"{fetch(name, known_weights())}: ready")
