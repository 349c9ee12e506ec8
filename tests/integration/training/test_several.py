"""One detector trained by several processes: a file of its own, since it takes longest of all and begins first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from forgeprep.errors import UsageError
from forgeprep.training.distributed import train_on_gpus
from forgeprep.training.inference.loaded import load_model
from forgeprep.training.trainer import train
from tests.integration.training.test_training import training


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Ray's own parts
def test_several_processes_train_one_detector_and_go_on(prepared: Path, tmp_path: Path) -> None:
    train(training("fn3-seg", prepared, tmp_path / "run", steps=3, limit=2), device="cpu")
    train_on_gpus(training("fn3-seg", prepared, tmp_path / "run", steps=3), 2, gpu=False)
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log if "loss" in entry] == list(range(1, 7))
    assert [entry["epoch"] for entry in log if "val_auc" in entry] == [1, 2]
    load_model(tmp_path / "run")
    with pytest.raises(UsageError, match="--batch 4 cannot be shared out to 3 processes"):
        train_on_gpus(training("fn3-seg", prepared, tmp_path / "run"), 3, gpu=False)
