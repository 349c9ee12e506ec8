"""Splicing on workers: what kills them costs its own clips alone, and what is on remote storage is the same."""

from __future__ import annotations

import csv
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from forgeprep.io.storage import to_path
from tests.conftest import run_cli
from tests.helpers.sabotage import sabotage
from tests.integration.test_remote import bucket, endpoint

__all__ = ["bucket", "endpoint"]

RULES = ["--spans", "1", "--length", "6-10", "--gap", "2", "--compression", "c23", "--methods", "Deepfakes"]


@pytest.fixture
def root(demo: Path, tmp_path: Path) -> Path:
    """The pairs of val, to and fro, in one source group each."""
    for folder in ("original_sequences/youtube", "manipulated_sequences/Deepfakes"):
        for video in (demo / folder / "c23/videos").glob("*.mp4"):
            if set(video.stem.split("_")) <= {"720", "672"}:
                (tmp_path / "in" / folder / "c23/videos").mkdir(parents=True, exist_ok=True)
                shutil.copy(video, tmp_path / "in" / folder / "c23/videos")
    return tmp_path / "in"


def splice(root: Path, out: object, workers: int) -> None:
    """In this process, unless others share the work."""
    words = ["splice", "ffpp", "--root", str(root), "--out", str(out), *RULES, "--workers", str(workers)]
    if workers == 1:
        assert run_cli(*words) == 0
        return
    done = subprocess.run([sys.executable, "-m", "forgeprep.cli", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def made(out: Path) -> set[str]:
    return {row["path"].split("/")[-1] for row in csv.DictReader((out / "manifest.csv").read_text().splitlines())}


@pytest.mark.long
def test_a_clip_that_kills_its_worker_is_skipped_and_tried_again(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its header can be read, so that a worker dies of it; then a process that reads it alone does."""
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        sabotage(tmp_path / "site", {"720_672.mp4": "crash"}, patch, function="sha256_of")
        splice(root, out, 2)
    [skipped] = csv.DictReader((out / "skipped.csv").read_text().splitlines())
    assert (skipped["clip_id"], skipped["reason"]) == ("ffpp/c23/Deepfakes/720_672", "worker_died")
    assert skipped["detail"] == "it kills the decoder (SIGSEGV)"
    assert made(out) == {"672.mp4", "672_720.mp4"}
    splice(root, out, 1)
    assert not list(csv.DictReader((out / "skipped.csv").read_text().splitlines()))
    assert made(out) == {"672.mp4", "672_720.mp4", "720.mp4", "720_672.mp4"}


def test_remote_storage_gets_the_same_files(root: Path, tmp_path: Path, bucket: str) -> None:
    splice(root, tmp_path / "out", 1)
    there = to_path(f"{bucket}/spliced")
    for _ in range(2):  # The second time, all is there.
        splice(root, there, 1)
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file() and path.name != ".lock"]
    assert len(files) > 10
    for path in files:
        other = there / path.relative_to(tmp_path / "out").as_posix()
        if path.parent.name == "state":
            assert other.is_file()
        else:
            assert hashlib.sha256(other.read_bytes()).digest() == hashlib.sha256(path.read_bytes()).digest(), path
