"""``forgeprep weights``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from forgeprep.commands.flags import Debug, completing
from forgeprep.commands.groups import Command

if TYPE_CHECKING:
    from forgeprep.faces.weights import Weights


def _names() -> Iterable[str]:
    return [name for name, file in _known().items() if file.by_hand is None]


def _known() -> dict[str, Weights]:
    from forgeprep.faces.detectors import known_weights
    from forgeprep.faces.landmarkers import landmark_weights
    from forgeprep.training.fetched import PRETRAINED, VITS

    return known_weights() | landmark_weights() | PRETRAINED | VITS


app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)


@app.callback()
def weights() -> None:
    """Fetch weights of face detectors, of landmarkers and of trainings.

    No run and no training ever fetches anything.
    """


@app.command("fetch", cls=Command, epilog="forgeprep weights fetch dlib-cnn\nforgeprep weights fetch xception")
def weights_fetch(
    name: Annotated[
        str,
        typer.Argument(
            help="Of faces: dlib-cnn, s3fd, dlib-5, fan, or those of another package. Of trainings: xception, vgg16, "
            "resnet50, efficientnet_b0 for --weights; clip-vit-l14, dinov2-b14 for foundation-vit.",
            metavar="NAME",
            autocompletion=completing(_names),
        ),
    ],
    debug: Debug = False,
) -> None:
    """Fetch optional weights and check them. This command uses the network; no other does."""
    from forgeprep.faces.weights import fetch

    print(f"{fetch(name, _known(), lambda line: print(line, flush=True))}: ready")
