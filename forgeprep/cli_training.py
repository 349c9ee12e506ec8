"""The commands that need the extra ``train``: detectors, and how they are trained, judged and used."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from forgeprep.flags import LOCAL, Debug, Gpus, Shards, parse_local

app = typer.Typer()
models_app = typer.Typer(invoke_without_command=True)
app.add_typer(models_app, name="models")


@models_app.callback()
def models(context: typer.Context) -> None:
    """List the detectors that can be trained, or show one: options and recipe."""
    if context.invoked_subcommand is None:
        from forgeprep.report.training import print_models

        print_models()


@models_app.command("show")
def models_show(
    name: Annotated[str, typer.Argument(help="Detector, e.g. two-stream.")],
    debug: Debug = False,
) -> None:
    """Show a detector: parameters, options, and the recipe that trains it."""
    from forgeprep.report.training import show_model

    show_model(name)


@app.command()
def train(
    model: Annotated[str, typer.Argument(help="Detector; 'forgeprep models' lists them.")],
    shards: Shards,
    run_folder: Annotated[Path, typer.Option("--run", help="Folder to fill; give it again to go on.", **LOCAL)],
    config: Annotated[
        Path | None, typer.Option(help="YAML file of settings. [default: the protocol's]", **LOCAL)
    ] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE, a setting; 'forgeprep models show' lists them.")
    ] = None,
    model_option: Annotated[list[str] | None, typer.Option(help="NAME=VALUE, an option of the detector.")] = None,
    batch: Annotated[int | None, typer.Option(help="Images a step. [default: the protocol's]")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate. [default: the protocol's]")] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs at most. [default: the protocol's]")] = None,
    methods: Annotated[str | None, typer.Option(help="Learn from fakes of these alone, e.g. Deepfakes.")] = None,
    gpus: Gpus = None,
    weights: Annotated[
        Path | None, typer.Option(help="Pretrained weights of the backbone, a local file. [default: none]", **LOCAL)
    ] = None,
    init: Annotated[Path | None, typer.Option(help="A training to start from, e.g. a first step.", **LOCAL)] = None,
    debug: Debug = False,
) -> None:
    """Train a detector on shards; the same command goes on after a stop."""
    from forgeprep.report.training import train_on_console

    train_on_console(
        model,
        shards,
        run_folder,
        config=config,
        settings=setting or [],
        options=model_option or [],
        given={"batch": batch, "lr": lr, "epochs": epochs, "methods": methods},
        gpus=gpus,
        weights=weights,
        init=init,
    )


@app.command()
def evaluate(
    shards: Shards,
    runs: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Folders of trainings; several give a matrix. With --protocol: those to take for its rows.",
            parser=parse_local,
            metavar="RUNS",
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="The split to judge.")] = "test",
    to: Annotated[Path | None, typer.Option(help="Folder to write. [default: RUN/evaluation]", **LOCAL)] = None,
    gpus: Gpus = None,
    workers: Annotated[int | None, typer.Option(help="Threads that decode. [default: as in training]")] = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            help="Train on each class, test on each: cross-method, cross-generator, cross-family, cross-forgery, "
            "cross-dataset; takes --model and --to. [default: none]"
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(help="With --protocol: the detector to train.")] = None,
    config: Annotated[
        Path | None, typer.Option(help="With --protocol: YAML file of settings for the trainings.", **LOCAL)
    ] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="With --protocol: NAME=VALUE, a setting of the trainings.")
    ] = None,
    model_option: Annotated[
        list[str] | None, typer.Option(help="With --protocol: NAME=VALUE, an option of the detector.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="With --protocol: pretrained weights of the backbone.", **LOCAL)
    ] = None,
    debug: Debug = False,
) -> None:
    """Judge a split with trained detectors: figures by method, compression and dataset, as tables and plots.

    With --protocol: train a detector on each class of fakes, or each dataset, and test it on all; the same command
    goes on after a stop.
    """
    from forgeprep.report.training import evaluate_on_console, protocol_on_console

    trained: dict[str, Any] = {
        "config": config,
        "settings": setting or [],
        "options": model_option or [],
        "weights": weights,
    }
    if protocol is None:
        evaluate_on_console(runs or [], shards, split, to, gpus, workers, unused={"model": model, **trained})
    else:
        protocol_on_console(
            protocol, model, shards, to, runs=runs or [], split=split, gpus=gpus, workers=workers, **trained
        )


@app.command()
def predict(
    run_folder: Annotated[Path, typer.Argument(help="Folder of a training.", parser=parse_local, metavar="RUN")],
    files: Annotated[
        list[Path], typer.Argument(help="Pictures, videos or folders.", parser=parse_local, metavar="FILES")
    ],
    to: Annotated[Path, typer.Option(help="Folder for annotated copies and JSON.", **LOCAL)],
    every: Annotated[int, typer.Option(help="Judge every n-th frame of a video.", min=1)] = 5,
    enlarge: Annotated[
        float | None, typer.Option(help="Crop over face box, 1 to 4. [default: as in the shards]")
    ] = None,
    gpus: Gpus = None,
    debug: Debug = False,
) -> None:
    """Score the faces of pictures and videos, and draw what looks forged."""
    from forgeprep.report.training import predict_on_console

    sys.exit(predict_on_console(run_folder, files, to, every, enlarge, gpus))
