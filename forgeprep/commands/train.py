"""``forgeprep train``."""

from __future__ import annotations

import importlib.util
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from forgeprep.commands.flags import ANY, INPUT, LOCAL, OUTPUT, Debug, Gpus, Json, complete_models
from forgeprep.commands.groups import single

Board = Literal["tensorboard", "wandb"]
RECIPE, MODEL = "Recipe", "Model"
EXAMPLES = """
forgeprep train two-stream --shards shards --run runs/two-stream
forgeprep train fn3-seg --shards shards --run runs/small --set workers=4
forgeprep train --run runs/small
forgeprep train two-stream --shards ffpp --shards dfd --run runs/both --gpus 4
"""


def train(
    run_folder: Annotated[
        Path, typer.Option("--run", help="Folder to fill; give it again to go on.", rich_help_panel=OUTPUT, **LOCAL)
    ],
    model: Annotated[
        str | None,
        typer.Argument(
            help="Forgery model; 'forgeprep models' lists them. To go on with a training, --run alone is enough.",
            metavar="MODEL",
            autocompletion=complete_models,
            show_default=False,
        ),
    ] = None,
    shards: Annotated[
        list[Path] | None,
        typer.Option(
            "--shards",
            help="Folder of a finished run; may be given more than once. [default: those of a training that goes on]",
            rich_help_panel=INPUT,
            **ANY,
        ),
    ] = None,
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
            help="An option of the forgery model. May be repeated. [default: the model's]",
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
    also: Annotated[
        list[str] | None,
        typer.Option(
            help="Judge the test split of another run after each epoch too, for the log alone. May be repeated.",
            metavar="NAME=DIR",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    log: Annotated[
        Board | None,
        typer.Option(help="Where curves are drawn besides curves.png. [default: tensorboard]", rich_help_panel=OUTPUT),
    ] = None,
    show_batch: Annotated[
        Path | None,
        typer.Option(
            help="Draw the first batch into this PNG, with masks and landmarks, and train nothing. [default: none]",
            rich_help_panel=RECIPE,
            **LOCAL,
        ),
    ] = None,
    gpus: Gpus = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train a forgery detector on shards.

    The same command goes on after a stop, and so does --run alone.
    """
    from forgeprep.commands.terminal import console, document
    from forgeprep.commands.training import old_training, refuse_file, require_training, train_with_bar, training_of
    from forgeprep.errors import UsageError
    from forgeprep.io.storage import to_path

    require_training()
    if log == "wandb" and importlib.util.find_spec("wandb") is None:
        raise UsageError("--log wandb: wandb is not installed: pip install 'forgeprep[wandb]'")
    refuse_file("--run", run_folder)
    old = old_training(run_folder)
    if old is None and not (model and shards):
        lacking = " and ".join(what for what, there in (("a MODEL", model), ("--shards", shards)) if not there)
        raise UsageError(f"{run_folder}: holds no training to go on with; give {lacking} to begin one")
    shards = shards or [to_path(text) for text in (old or {})["shards"]]
    given = {"batch": batch, "lr": lr, "epochs": epochs, "methods": methods}
    # With a model it is a whole command, whose settings have to be those of the folder.
    told = {} if model else old or {}
    training = training_of(
        model or str(told["model"]), shards, run_folder, config, setting or [], model_option or [], given, weights,
        init, told, also=also or [], log=log,
    )  # fmt: skip
    if show_batch is not None:
        from forgeprep.training.show_batch import draw_batch

        console.print(f"{show_batch}: {draw_batch(training, show_batch)} samples of the first batch", markup=False)
        return
    with document(as_json) as found:
        best = train_with_bar(training, gpus, f"go on with: forgeprep train --run {shlex.quote(str(run_folder))}")
        found |= {"run": str(run_folder), "model": training.model, "shards": [str(out) for out in shards], "best": best}
        if best:
            console.print(_told(best), markup=False)
            console.print(f"next: {_next(run_folder, shards)}", markup=False)


def _told(best: Mapping[str, Any]) -> str:
    """The best state in words: by what it is the best, and which epoch gave it."""
    name, title = ("val_map", "mAP") if "val_map" in best else ("val_auc", "AUC")
    figure = f"{title} {best[name]:.4f}" if best.get(name) is not None and best[name] == best[name] else None
    if figure is None and best.get("val_loss") is not None:
        figure = f"loss {best['val_loss']:.4f}, for AUC is not defined there"
    place = f"epoch {best['epoch']}, step {best['step']:,}"
    return f"best: {place}, val {figure}" if figure else f"kept: {place}; nothing can be compared on val"


def _next(run: Path, shards: Sequence[Path]) -> str:
    """The command that judges the training, ready to be pasted."""
    where = [part for out in shards for part in ("--shards", str(out))]
    return shlex.join(["forgeprep", "evaluate", str(run), *where])


app = single(train, examples=EXAMPLES)
