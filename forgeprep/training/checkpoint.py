"""A training's state on disk: tensors as safetensors, all else as JSON. Nothing is unpickled.

A state is two files. The tensors are written first, under a name of their own; the JSON, which names them, replaces the
old one in one step. So a state is whole or the one before.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from forgeprep.errors import UsageError, VerifyError
from forgeprep.io.atomic import storage_errors
from forgeprep.io.json_files import write_json
from forgeprep.io.safe_files import check_regular, read_json
from forgeprep.schemas.files import StateFile, problem_of
from forgeprep.schemas.renamed import current_name
from forgeprep.text import counted
from forgeprep.training.models.base import SCALES


def save_state(
    folder: Path,
    name: str,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    facts: dict[str, Any],
    average: nn.Module | None = None,
) -> None:
    """Write ``name.json`` and its tensors; ``average`` is a running average of the model's.

    Raises:
        StorageError: the folder cannot be written.
    """
    tensors = {f"model/{key}": value for key, value in model.state_dict().items()}
    if optimizer is not None:
        for number, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{number}/{key}": torch.as_tensor(value) for key, value in state.items()}
    if average is not None:
        tensors |= {f"average/{key}": value for key, value in average.state_dict().items()}
    file = f"{name}-{facts['step']:08d}.safetensors"
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{file}.tmp"
        # safetensors writes for the owner alone; a file of ours shows what the umask grants.
        temporary.touch()
        mode = temporary.stat().st_mode
        save_file({key: value.detach().cpu().contiguous() for key, value in tensors.items()}, temporary)
        temporary.chmod(mode)
        temporary.replace(folder / file)
    write_json(folder / f"{name}.json", {**facts, "tensors": file})
    for old in folder.glob(f"{name}-*.safetensors"):
        if old.name != file:
            old.unlink(missing_ok=True)


def drop_optimizer(folder: Path) -> None:
    """Let the last state share the tensors of the best one, where both are of the same step and the same weights.

    What the optimizer knew is gone: a training that goes on from there begins with a fresh one.
    """
    last, best = (read_facts(folder, name) for name in ("last", "best"))
    if last is None or best is None or (last["step"], last["tensors"]) == (best["step"], best["tensors"]):
        return
    own = folder / last["tensors"]
    with safe_open(own, "pt") as opened:
        averaged = any(key.startswith("average/") for key in opened.keys())  # noqa: SIM118 -- it is no dict
    if last["step"] == best["step"] and not averaged:
        write_json(folder / "last.json", {**last, "tensors": best["tensors"]})
        own.unlink()


def read_facts(folder: Path, name: str) -> dict[str, Any] | None:
    """What the JSON of a state says; None if there is none that can be read."""
    try:
        facts = read_json(folder / f"{name}.json")
    except (OSError, ValueError):
        return None
    return dict(facts) if problem_of(StateFile, facts) is None else None


def load_state(
    folder: Path,
    name: str,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    average: nn.Module | None = None,
) -> dict[str, Any] | None:
    """Fill the model, the optimizer and the running average with a state; returns its facts, or None if there is none.

    Without an optimizer the model is to judge: it becomes the running average, where the state has one.

    Raises:
        VerifyError: a file is damaged, or missing.
        UsageError: the state is of another model.
    """
    try:
        facts: dict[str, Any] = read_json(folder / f"{name}.json")
        problem = problem_of(StateFile, facts)
        if problem is not None:
            raise _damaged(folder / f"{name}.json", problem)
        check_regular(folder / facts["tensors"])
        tensors = load_file(folder / facts["tensors"])
    except FileNotFoundError:
        if not (folder / f"{name}.json").exists():
            return None
        file = folder / facts["tensors"]
        raise VerifyError(f"{file}: no such file, but {name}.json names it; copy the training's folder whole") from None
    except (OSError, ValueError, MemoryError, SafetensorError) as error:
        raise _damaged(folder / name, str(error)) from None
    source, averaged = str(folder / name), _below(tensors, "average/")
    own = _below(averaged, "module.") if averaged and optimizer is None else _below(tensors, "model/")
    fill(model, own, source)
    if average is not None:
        fill(average, averaged, source)
    if optimizer is not None:
        states: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith("optimizer/"):
                _, number, what = [*key.split("/"), "", ""][:3]
                if not number.isdecimal() or len(number) > 9:
                    raise _damaged(folder / name, f"{key[:80]} is no tensor of an optimizer")
                states.setdefault(int(number), {})[what] = value
        try:
            optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
        except (ValueError, KeyError, RuntimeError) as error:
            raise _damaged(folder / name, str(error)) from None
    return facts


def _damaged(path: Path, problem: str) -> VerifyError:
    text = " ".join(problem.split())[:120]
    return VerifyError(f"{path}: damaged checkpoint ({text}); train again in another folder")


def _below(tensors: dict[str, Tensor], begin: str) -> dict[str, Tensor]:
    return {key.removeprefix(begin): value for key, value in tensors.items() if key.startswith(begin)}


def fill(model: nn.Module, tensors: dict[str, Tensor], source: str) -> None:
    """Load tensors by name, all of them.

    Raises:
        UsageError: names or shapes are not the model's.
    """
    own = model.state_dict()
    # Layers that are named after a column may have its older name.
    tensors = {name if name in own else ".".join(map(current_name, name.split("."))): t for name, t in tensors.items()}
    # Earlier versions had the scale of the input built in, as it is where nothing else was pretrained.
    tensors = {name: value for name, value in own.items() if name.rpartition(".")[2] in SCALES} | tensors
    odd = [name for name in own if name not in tensors or tensors[name].shape != own[name].shape]
    odd += [name for name in tensors if name not in own]
    if odd:
        raise UsageError(
            f"{source}: is of another model ({counted(len(odd), 'tensor differs', 'tensors differ')}, the first is "
            f"{odd[0]}); give the model and the options that it was trained with"
        )
    model.load_state_dict(tensors)
