"""The tasks, by what a model takes."""

from __future__ import annotations

from collections.abc import Callable

import torch

from forgeprep.training.image_task import images_task
from forgeprep.training.models import get_model
from forgeprep.training.models.record import Takes
from forgeprep.training.run_folder import Training
from forgeprep.training.task import Task
from forgeprep.training.temporal.task import features_task

_TASKS: dict[Takes, Callable[[Training, torch.device], Task]] = {
    "image": images_task,
    "sequence": images_task,
    "features": features_task,
}


def make_task(training: Training, device: torch.device) -> Task:
    """The task of a training's model.

    Raises:
        UsageError: shards and options do not fit the model.
        VerifyError: a shard is damaged.
    """
    return _TASKS[get_model(training.model).takes](training, device)
