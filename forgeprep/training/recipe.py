"""How a model is trained: the recipe of its record, and what the user changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from forgeprep.errors import UsageError, unknown_name
from forgeprep.io.settings import first_problem
from forgeprep.training.models import get_model


class Recipe(BaseModel):
    """The settings of a training. What a paper gives stands in the record of its model, the rest is as here."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    optimizer: Literal["adam", "adamw", "sgd"] = Field(default="adam", description="what makes a step of a gradient")
    lr: float = Field(default=1e-4, gt=0, description="learning rate, the largest one of a schedule")
    betas: tuple[float, float] = Field(default=(0.9, 0.999), description="running averages, the first sgd's momentum")
    weight_decay: float = Field(default=0.0, ge=0, description="L2 penalty; of adamw the decay of the weights")
    schedule: Literal["constant", "step", "cosine"] = Field(
        default="constant", description="how lr falls: not at all, in steps, or as a cosine until the last epoch"
    )
    warmup: int = Field(default=0, ge=0, description="steps in which lr rises from nothing to its schedule")
    step_every: int = Field(default=10, ge=1, description="epochs between two falls of schedule=step")
    step_factor: float = Field(default=0.1, gt=0, lt=1, description="what such a fall leaves of lr")
    min_lr: float = Field(default=0.0, ge=0, description="no schedule falls below this")
    ema: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="judge and keep a running average of the weights, e.g. 0.999",
    )
    sam: float | None = Field(
        default=None,
        gt=0,
        description="sharpness-aware: radius of the step up, e.g. 0.05; twice the time",
    )
    batch: int = Field(default=32, ge=1, description="images a step, over all GPUs")
    epochs: int = Field(default=20, ge=1, description="passes, or rounds of `steps`, at most")
    steps: int | None = Field(default=None, ge=1, description="steps an epoch; default: one pass over the samples")
    patience: int = Field(default=5, ge=1, description="epochs without a better state before it stops")
    select: Literal["auc", "loss"] = Field(default="auc", description="what of val makes a state the best")
    size: int | None = Field(default=None, ge=32, description="side of the input in pixels; default: the model's")
    view: Literal["resize", "crop"] = Field(
        default="resize",
        description="resize the whole crop to the input, or cut the input out of it at random and judge it whole",
    )
    enlarge: float | None = Field(
        default=None, ge=1, description="cut the middle out of crops that were made larger, e.g. 1.3 of 2.0"
    )
    methods: tuple[str, ...] | None = Field(default=None, description="learn from fakes of these alone; default: all")
    target: Literal["label", "visual_label", "audio_label"] = Field(
        default="label", description="the column that is learnt; samples of which it is null are left out"
    )
    flip: bool = Field(default=True, description="mirror half of the samples")
    real_repeat: float = Field(default=1.0, gt=0, description="how often a real comes in an epoch")
    balance: bool = Field(default=False, description="reals and fakes equally often, and all methods; over real_repeat")
    augment: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="random changes to samples: light, deepfakebench, none, or NAME: chance"
    )
    selfblend: float = Field(
        default=0.0, ge=0, le=1, description="share of the reals that come with a self-blended image of theirs, a fake"
    )
    pairs: bool = Field(default=False, description="a real and its fakes at the same frame in one batch, whole pairs")
    sigma: float | None = Field(default=None, gt=0, description="noise level; default 10 at c40, else 5")
    clip_norm: float = Field(default=5.0, gt=0, description="largest length of the gradient")
    precision: Literal["auto", "fp32", "bf16"] = Field(default="auto", description="auto: bf16 on a GPU, else fp32")
    compile: bool = Field(default=False, description="torch.compile the model")
    save_every: int = Field(default=500, ge=1, description="steps between two states, besides those after each epoch")
    workers: int = Field(default=2, ge=0, description="threads that decode samples")
    seed: int = Field(default=0, description="of weights, order and transforms")

    @field_validator("augment", mode="before")
    @classmethod
    def _read_augment(cls, value: Any) -> Any:
        if not value:
            return {}
        from forgeprep.training.augment import read_augment

        return read_augment(value)


def make_recipe(model: str, given: Mapping[str, Any]) -> Recipe:
    """A model's recipe, with what the user gave in its place; None stands for "not given".

    Raises:
        UsageError: an unknown setting or a value out of range.
    """
    record = get_model(model)
    values = {**record.recipe_values(), **{k: v for k, v in given.items() if v is not None}}
    _take_augment(values)
    for name in values:
        if name not in Recipe.model_fields:
            raise unknown_name("setting", name, Recipe.model_fields)
    if isinstance(values.get("methods"), str):
        told = values["methods"].strip()
        values["methods"] = [] if told.lower() == "none" else [part.strip() for part in told.split(",")]
    if values.get("pairs"):
        _without_repeats(values, given)
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        raise UsageError(": ".join(first_problem(error))) from None
    if record.takes == "features":
        base = Recipe.model_validate(record.recipe_values())
        drawn = next((name for name in _OF_PICTURES if getattr(recipe, name) != getattr(base, name)), None)
        if drawn is not None:
            raise UsageError(f"{drawn}: {model} learns from features of whole clips; leave it out")
    if recipe.pairs and record.takes == "sequence":
        raise UsageError(f"pairs: {model} learns from sequences, and pairs are made of single frames; leave it out")
    if record.fixed and recipe.size not in (None, record.size):
        raise UsageError(f"size: {model} takes images of {record.size} x {record.size} alone (got {recipe.size})")
    if record.fixed and recipe.view == "crop":
        raise UsageError(f"view: {model} takes images of {record.size} x {record.size} alone; give view=resize")
    return recipe


_OF_PICTURES = (
    "augment", "selfblend", "pairs", "flip", "view", "enlarge", "sigma", "real_repeat", "balance",
)  # fmt: skip
"""What changes pictures, or says which come; where a model's input is neither, each has to be as its recipe has it."""


def _take_augment(values: dict[str, Any]) -> None:
    """Put ``augment.NAME`` into ``augment``, in its place."""
    changes = {name: values.pop(name) for name in list(values) if name.startswith("augment.")}
    if changes:
        from forgeprep.training.augment import read_augment

        named = {name.partition(".")[2]: value for name, value in changes.items()}
        values["augment"] = read_augment(values.get("augment"), named)


def _without_repeats(values: dict[str, Any], given: Mapping[str, Any]) -> None:
    """In whole pairs no sample comes alone: what says how often some come is refused, and a recipe's is left out."""
    for name, neutral in (("balance", False), ("real_repeat", 1.0)):
        if given.get(name) not in (None, neutral):
            raise UsageError(f"{name}: pairs=true lets each real come with all of its fakes; leave one of them out")
        values[name] = neutral
