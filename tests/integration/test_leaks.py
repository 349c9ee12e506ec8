"""A run leaves nothing behind but its folder: no open files, no temporary ones. Sessions of Ray: test_on_ray."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.helpers.runs import run


@pytest.fixture
def temp(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for temporary files, of this process and those that it starts."""
    # Short: Ray puts sockets there, whose paths have 107 bytes at most.
    with tempfile.TemporaryDirectory(prefix="fp") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", None)
        yield Path(folder)


def test_two_runs_in_a_process_leave_no_files(demo: Path, tmp_path: Path, temp: Path) -> None:
    process = psutil.Process()

    def once(name: str) -> tuple[int, int]:
        given: dict[str, Any] = {"stages": "crop,mask,noise", "frames": "2", "splits": "test", "format": "both"}
        assert run(demo, tmp_path / name, **given).failed == []
        gc.collect()
        return process.num_fds(), len(process.children())

    run(demo, tmp_path / "warm", stages="crop", frames="1", splits="test")
    assert once("a") == once("b") == once("b")
    assert list(temp.iterdir()) == []
    assert not list(tmp_path.rglob("*.tmp"))
