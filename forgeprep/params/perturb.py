"""Parameters of the stage ``perturb``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from forgeprep.errors import unknown_name
from forgeprep.params import StageParams
from forgeprep.schemas.splits import SPLITS, split_name


class PerturbParams(StageParams):
    """Parameters of the stage ``perturb``."""

    perturb: str = Field(
        default="forgerynet",
        description="NAME:SEVERITY,… for all, in this order (severity 1 to 5, drawn if left out); or shares of the "
        "clips, mixed:0.5,single:0.2; or forgerynet, which is mixed:0.98,single:0.01,clean:0.01",
    )
    perturb_pairing: Literal["own", "shared"] = Field(
        default="own",
        description="who shares a draw: own (each clip has one), or shared (a fake gets what its original gets)",
    )
    perturb_seed: int = Field(default=0, ge=0, description="another seed draws differently")
    perturb_splits: str = Field(
        default="train,val,test", description="splits that are perturbed; the others stay clean"
    )

    @field_validator("perturb", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        # A configuration file may hold a list.
        return ",".join(map(str, value)) if isinstance(value, list | tuple) else value

    @field_validator("perturb")
    @classmethod
    def _check_perturb(cls, value: str) -> str:
        from forgeprep.ops.perturb.draw import parse

        parse(value)
        return value

    @field_validator("perturb_splits", mode="before")
    @classmethod
    def _check_splits(cls, value: Any) -> str:
        return split_names(value, "--perturb-splits")


def split_names(value: Any, flag: str) -> str:
    """Names of splits, in a text with commas or a list, as a text in the usual order.

    Raises:
        UsageError: a name is no split.
        ValueError: there is none.
    """
    # A configuration file may hold a list.
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    names = [split_name(part.strip()) for part in text.split(",") if part.strip()]
    for name in names:
        if name not in SPLITS:
            raise unknown_name(f"split of {flag}", name, SPLITS)
    if not names:
        raise ValueError(f"name at least one of {', '.join(SPLITS)}")
    return ",".join(split for split in SPLITS if split in names)


PARAMS = PerturbParams
