"""Shards and a training that the tests of this folder share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import made_once, run_cli


@pytest.fixture(scope="session")
def prepared(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of the demo, small crops with masks and noise."""

    def make(folder: Path) -> None:
        flags = [
            "--stages",
            "crop,mask,noise",
            "--frames",
            "6",
            "--size",
            "96",
            "--workers",
            "0",
            "--boxes-from",
            "own",
        ]
        assert run_cli("run", "ffpp", "--root", str(demo), "--out", str(folder / "c23"), *flags) == 0

    return made_once(tmp_path_factory, "prepared", make) / "c23"


@pytest.fixture(scope="session")
def trained(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector of pixels after a minute of training."""

    def make(folder: Path) -> None:
        settings = ["size=96", "workers=0", "steps=50", "epochs=2", "flip=true", "batch=8"]
        flags = [part for setting in settings for part in ("--set", setting)]
        where = ["--shards", str(prepared), "--run", str(folder / "fn3")]
        assert run_cli("train", "fn3-seg", *where, *flags, "--gpus", "0") == 0

    return made_once(tmp_path_factory, "trained", make) / "fn3"
