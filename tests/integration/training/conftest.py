"""Shards and a training that the tests of this folder share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import run_cli


@pytest.fixture(scope="module")
def prepared(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of the demo, small crops with masks and noise."""
    out = tmp_path_factory.mktemp("shards") / "c23"
    flags = ["--stages", "crop,mask,noise", "--frames", "6", "--size", "96", "--workers", "0"]
    assert run_cli("run", "ffpp", "--root", str(demo), "--out", str(out), *flags) == 0
    return out


@pytest.fixture(scope="module")
def trained(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector of pixels after a minute of training."""
    run = tmp_path_factory.mktemp("runs") / "fn3"
    settings = ["size=96", "workers=0", "steps=60", "epochs=3", "flip=true", "batch=8"]
    flags = [part for setting in settings for part in ("--set", setting)]
    assert run_cli("train", "fn3-seg", "--shards", str(prepared), "--run", str(run), *flags, "--gpus", "0") == 0
    return run
