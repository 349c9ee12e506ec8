"""``forgeprep train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forgeprep.commands.flags import INPUT, LOCAL, OUTPUT, Debug, Gpus, Shards, complete_models
from forgeprep.commands.groups import single

RECIPE, MODEL = "Recipe", "Model"
EXAMPLES = """
forgeprep train two-stream --shards shards --run runs/two-stream
forgeprep train fn3-seg --shards shards --run runs/small --set workers=4
forgeprep train two-stream --shards ffpp --shards dfd --run runs/both --gpus 4
"""


def train(
    model: Annotated[
        str,
        typer.Argument(
            help="Detector; 'forgeprep models' lists them.", metavar="MODEL", autocompletion=complete_models
        ),
    ],
    shards: Shards,
    run_folder: Annotated[
        Path, typer.Option("--run", help="Folder to fill; give it again to go on.", rich_help_panel=OUTPUT, **LOCAL)
    ],
    methods: Annotated[
        str | None,
        typer.Option(
            help="Learn from fakes of these alone, e.g. Deepfakes. [default: all]",
            metavar="TEXT",
            rich_help_panel=INPUT,
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="YAML file of settings. [default: the recipe's]", rich_help_panel=RECIPE, **LOCAL),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="A setting; 'forgeprep models show' lists them. May be repeated. [default: the recipe's]",
            metavar="NAME=VALUE",
            rich_help_panel=RECIPE,
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(help="Images a step. [default: the recipe's]", metavar="INTEGER", rich_help_panel=RECIPE),
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option(help="Learning rate. [default: the recipe's]", metavar="NUMBER", rich_help_panel=RECIPE),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(help="Epochs at most. [default: the recipe's]", metavar="INTEGER", rich_help_panel=RECIPE),
    ] = None,
    model_option: Annotated[
        list[str] | None,
        typer.Option(
            help="An option of the detector. May be repeated. [default: the detector's]",
            metavar="NAME=VALUE",
            rich_help_panel=MODEL,
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="Pretrained weights of the backbone, a local file. [default: none]", rich_help_panel=MODEL, **LOCAL
        ),
    ] = None,
    init: Annotated[
        Path | None,
        typer.Option(
            help="A training to start from, e.g. a first step. [default: none]", rich_help_panel=MODEL, **LOCAL
        ),
    ] = None,
    gpus: Gpus = None,
    debug: Debug = False,
) -> None:
    """Train a forgery detector on shards.

    The same command goes on after a stop.
    """
    from forgeprep.commands.terminal import console
    from forgeprep.commands.training import refuse_file, require_training, train_with_bar, training_of

    require_training()
    refuse_file("--run", run_folder)
    given = {"batch": batch, "lr": lr, "epochs": epochs, "methods": methods}
    training = training_of(model, shards, run_folder, config, setting or [], model_option or [], given, weights, init)
    best = train_with_bar(training, gpus)
    if best:
        figure = f"mAP {best['val_map']:.4f}" if "val_map" in best else f"AUC {best['val_auc']:.4f}"
        console.print(f"best: val {figure} at step {best['step']}; {run_folder / 'best.json'}", markup=False)


app = single(train, examples=EXAMPLES)
