"""``forgeprep models``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import typer

from forgeprep.commands.flags import Debug, Json, complete_models
from forgeprep.commands.groups import Command, refuse_json_before

if TYPE_CHECKING:
    from forgeprep.training.models.record import ModelRecord

app = typer.Typer(invoke_without_command=True, add_completion=False, rich_markup_mode=None)


@app.callback()
def models(context: typer.Context, as_json: Json = False) -> None:
    """List the forgery models, or show one.

    How many numbers each trains, and the recipe. With --json their options too, which takes a moment.
    """
    if context.invoked_subcommand is not None:
        refuse_json_before(context, as_json)
        return
    from forgeprep.commands.terminal import (
        add_cells,
        broken_facts,
        console,
        light_table,
        print_broken,
        print_json,
        print_table,
    )
    from forgeprep.commands.training import require_training

    require_training()
    from forgeprep.training.models import REGISTRY, parameters_of

    found, broken = list(REGISTRY.usable().values()), REGISTRY.broken()
    if as_json:
        print_json([*map(_facts, found), *broken_facts(broken)])
        return
    # Nothing here imports torch: the list is there at once.
    table = light_table("forgery models", ["model", "recipe"], ["parameters", "input"])
    for one in found:
        add_cells(table, one.name, one.recipe_name, f"{parameters_of(one):,}", str(one.size or "clip"))
    print_table(table)
    for recipe, source in {one.recipe_name: one.source for one in found}.items():
        console.print(f"{recipe}: {source}", markup=False)
    print_broken(broken)


@app.command("show", cls=Command, epilog="forgeprep models show two-stream")
def models_show(
    name: Annotated[
        str, typer.Argument(help="Forgery model, e.g. two-stream.", metavar="NAME", autocompletion=complete_models)
    ],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show a forgery model: parameters, options, and the recipe that trains it."""
    from forgeprep.commands.terminal import console, print_json
    from forgeprep.commands.training import require_training

    require_training()
    from forgeprep.training.augment import summary
    from forgeprep.training.models import get_model
    from forgeprep.training.recipe import Recipe, make_recipe

    facts, recipe = _facts(get_model(name)), make_recipe(name, {}).model_dump(mode="json")
    if as_json:
        print_json({**facts, "settings": recipe})
        return
    takes = f"{facts['size']} x {facts['size']}" if facts["size"] else "features of a clip"
    console.print(f"[bold]{facts['name']}[/bold]: {facts['parameters']:,} parameters, input {takes}")
    console.print(f"    {facts['source']}", markup=False)
    console.print(f"    learns from: {', '.join(facts['learns_from'])}")
    for option, told in facts["options"].items():
        one_of = f"one of {', '.join(told['choices'])}; " if told["choices"] else ""
        console.print(f"    --model-option {option}=… ({one_of}default {told['default']!r})", markup=False)
    console.print(f"the recipe {facts['recipe']}; --config FILE and --set NAME=VALUE change it:")
    for setting, value in {**recipe, "augment": summary(recipe["augment"])}.items():
        described = Recipe.model_fields[setting].description
        console.print(f"    {setting:<14} {value!s:<14} {described}", markup=False)


def _facts(model: ModelRecord) -> dict[str, Any]:
    from forgeprep.training.models import FILLED, options_of, parameters_of, without_weights

    network = without_weights(model.name)
    options = {
        option: {
            "choices": [str(one) for one in get_args(kind)] if get_origin(kind) is Literal else [],
            "default": default,
        }
        for option, (kind, default) in options_of(model.name).items()
        if option not in FILLED
    }
    return {
        "name": model.name,
        "recipe": model.recipe_name,
        "source": model.source,
        "parameters": parameters_of(model),
        "takes": model.takes,
        "size": model.size,
        "learns_from": ["image", "label", *network.needs],
        "options": options,
    }
