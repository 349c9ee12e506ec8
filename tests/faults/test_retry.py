"""Files that were cut short and fetched again, shortfalls, and what a dry run foresees."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.conftest import run_cli

FAKE = "manipulated_sequences/Deepfakes/c23/videos/071_054.mp4"
ORIGINAL = "original_sequences/youtube/c23/videos/953.mp4"


@pytest.fixture
def tree(demo: Path, tmp_path: Path) -> Path:
    root = tmp_path / "ffpp"
    shutil.copytree(demo, root)
    return root


def run(root: Path, out: Path, *more: str) -> int:
    common = ("--stages", "crop,mask", "--methods", "Deepfakes,NeuralTextures", "--frames", "4", "--shard-size", "30")
    part = ("--splits", "train,test", "--workers", "0")
    return run_cli("run", "ffpp", "--root", str(root), "--out", str(out), *common, *part, *more)


def sums(out: Path) -> dict[str, str]:
    return {row["path"]: row["sha256"] for row in pq.read_table(out / "meta/shards.pq").to_pylist()}


def cut(path: Path, bytes_left: int) -> bytes:
    data = path.read_bytes()
    path.write_bytes(data[:bytes_left])
    return data


@pytest.fixture(scope="module")
def undisturbed(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    assert run(demo, out) == 0
    return out


@pytest.mark.parametrize("broken", [pytest.param(FAKE, marks=pytest.mark.long), ORIGINAL])
def test_a_repaired_file_is_made_again_and_nothing_else(
    broken: str, undisturbed: Path, tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    whole = cut(tree / broken, 5000)
    assert run(tree, out) == 0
    before = sums(out)
    assert before != sums(undisturbed)
    (tree / broken).write_bytes(whole)
    assert run(tree, out) == 2
    untouched = {path: path.stat().st_mtime_ns for path in out.glob("shards/*/*")}
    assert run(tree, out, "--retry-failed") == 0
    assert sums(out) == sums(undisturbed)
    assert pq.read_table(out / "meta/drops.pq").equals(pq.read_table(undisturbed / "meta/drops.pq"))
    remade = {str(path.relative_to(out)) for path, then in untouched.items() if path.stat().st_mtime_ns != then}
    assert remade == {path for path, digest in before.items() if sums(out)[path] != digest}
    assert 0 < len(remade) < len(before)
    capsys.readouterr()
    assert run(tree, out, "--retry-failed", "--strict") == 0
    assert "nothing to retry" in capsys.readouterr().out


def test_a_retry_refuses_other_changes(tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    whole = cut(tree / FAKE, 5000)
    assert run(tree, out) == 0
    (tree / FAKE).write_bytes(whole)
    other = tree / ORIGINAL
    other.write_bytes(other.read_bytes() + b"\0" * 8)
    before = (out / "run.json").read_bytes()
    assert run(tree, out, "--retry-failed") == 2
    assert "more has changed than clips that failed (ffpp/c23/youtube/953)" in capsys.readouterr().err
    assert run(tree, out, "--retry-failed", "--enlarge", "2") == 2
    assert (out / "run.json").read_bytes() == before


def test_strict_turns_a_shortfall_into_an_exit_code(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tree, tmp_path / "whole", "--strict") == 0
    (tree / FAKE).write_bytes(b"")
    assert run(tree, tmp_path / "out") == 0
    assert run(tree, tmp_path / "out", "--strict") == 1
    printed = capsys.readouterr()
    assert "short of the plan (--strict): 4 samples were dropped, 1 clip gave none" in printed.err
    assert re.search(r"train\s+c23\s+Deepfakes\s+2\s+1\s+8\s+4\s+4", printed.out)


def test_a_dry_run_foresees_size_and_count(
    demo: Path, undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(demo, out, "--dry-run") == 0
    assert not out.exists()
    text = capsys.readouterr().out
    assert "manipulated_sequences/<method>/<compression>/videos/AAA_BBB.mp4" in text
    assert "fakes without their original: 0" in text
    samples = int(re.search(r"samples: about (\d+)", text)[1])  # type: ignore[index]
    size, unit = re.search(r"disk: +about ([\d.]+) (kB|MB)", text).groups()
    assert re.search(r"time: +about \d+ s", text)
    made = pq.read_table(undisturbed / "meta/shards.pq").to_pylist()
    assert samples == pytest.approx(sum(row["rows"] for row in made), rel=0.1)
    bytes_made = sum(row["bytes"] for row in made)
    assert float(size) * {"kB": 1e3, "MB": 1e6}[unit] == pytest.approx(bytes_made, rel=0.3)


def test_a_dry_run_names_what_is_missing(tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / ORIGINAL).unlink()
    (tree / FAKE).write_bytes(b"no video")
    assert run(tree, tmp_path / "out", "--dry-run") == 0
    text = capsys.readouterr().out
    assert "fakes without their original: 2: ffpp/c23/Deepfakes/953_974, ffpp/c23/NeuralTextures/953_974" in text
    assert f"clips that cannot be opened: 1: {FAKE}" in text
    for video in tree.glob("*_sequences/*/c23/videos/*.mp4"):
        video.write_bytes(b"no video")
    assert run(tree, tmp_path / "out", "--dry-run") == 0
    assert "no sample could be made" in capsys.readouterr().out


def test_a_cluster_that_is_not_there_is_one_line(
    demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(demo, tmp_path / "out", "--address", "127.0.0.1:1") == 2
    assert "--workers 0 works in this process" in capsys.readouterr().err
    place = ("--root", str(demo), "--out", str(tmp_path / "out"))
    assert run_cli("run", "ffpp", *place, "--address", "127.0.0.1:1") == 2
    error = capsys.readouterr().err.strip()
    assert "--address 127.0.0.1:1: no Ray cluster answers there" in error
    assert "defect" not in error
    assert json.loads((tmp_path / "out/run.json").read_text())["shards"] > 0
