"""The line from the first page as it stands: beside the dataset, inside it, and with a file of settings."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import run_cli

QUICK = ("--frames", "1", "--workers", "0")


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("FORGEPREP_FFPP_ROOT", raising=False)


def names_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_the_line_works_beside_the_dataset_inside_it_and_with_its_settings(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = names_in(tree)
    monkeypatch.chdir(tree.parent)
    assert run_cli("run", "FF++", "--stages", "crop", *QUICK) == 0
    out = tree.parent / "shards/ffpp"
    told = capsys.readouterr().out.splitlines()
    assert told[:3] == [
        "dataset:  ffpp ('FF++')",
        f"root:     {tree} (found in this folder)",
        f"out:      {out} (default)",
    ]
    assert json.loads((out / "run.json").read_text())["config"]["dataset"] == "ffpp"

    # From inside it is the same run, which is finished.
    monkeypatch.chdir(tree / "original_sequences")
    assert run_cli("run", "ffpp", "--stages", "crop", *QUICK) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[:2] == [f"root:     {tree} (found above this folder)", f"out:      {out} (default)"]
    assert names_in(tree) == before

    # A folder above the run, or one in it, is no run: the message names the one that is meant.
    for wrong in (out / "shards", out / "shards/train", out.parent):
        assert run_cli("verify", str(wrong)) == 2
        assert f"did you mean {out}?" in capsys.readouterr().err
    monkeypatch.chdir(tree.parent)
    assert run_cli("inspect") == 2
    assert "OUT is missing; runs that are here: forgeprep inspect shards/ffpp" in capsys.readouterr().err
    assert run_cli("run", "ffpp", "--out", str(out / "shards"), *QUICK) == 2
    assert f"lies inside another run, {out}" in capsys.readouterr().err


def test_a_project_file_says_it_all(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    work = tmp_path / "project/deep"
    work.mkdir(parents=True)
    file = work.parent / "forgeprep.yaml"
    file.write_text(
        f"roots: {{ffpp: '../{tree.name}'}}\nout: made/{{dataset}}\nstages: [crop]\nframes: 1\nworkers: 0\n"
    )
    monkeypatch.chdir(work)
    assert run_cli("run", "ffpp") == 0
    out = work.parent / "made/ffpp"
    assert capsys.readouterr().out.splitlines()[:3] == [
        f"root:     {tree} ({file})",
        f"out:      {out} ({file})",
        f"settings: stages, frames, workers ({file})",
    ]
    config = json.loads((out / "run.json").read_text())["config"]
    assert (config["stages"], config["params"]["frames"]["frames"]) == (["frames", "crop"], "1")
    # What is wrong in the file is told of the file, not of a flag that nobody gave.
    for line, told in (
        ("shard_size: 0", f"{file}: shard_size: must be at least 1"),
        ("workers: -1", f"{file}: workers: must be"),
        ("methods: FaceSwop", "did you mean 'FaceSwap'? (known: "),
        ("enlarge: .5", f"{file}: enlarge: must be"),
    ):
        file.write_text(f"roots: {{ffpp: '../{tree.name}'}}\n{line}\n")
        assert run_cli("run", "ffpp") == 2
        error = capsys.readouterr().err
        assert told in error
        assert str(file) in error
        assert "--" not in error


def test_a_dataset_is_kept_listed_used_and_forgotten(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "else/where").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "else/where")
    kept = tmp_path / "config/forgeprep/settings.yaml"
    assert run_cli("datasets", "add", "FF++", f"../../{tree.name}") == 0
    assert capsys.readouterr().out == f"ffpp: {tree}, 4 clips; kept in {kept}\n"
    assert run_cli("datasets", "add", "dfd", str(tree)) == 2
    assert "looks like ffpp" in capsys.readouterr().err
    assert run_cli("datasets", "roots", "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed == [{"dataset": "ffpp", "root": str(tree), "origin": str(kept), "there": True}]
    assert run_cli("datasets", "show", "ffpp", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["root"] == str(tree)
    assert {one["method"]: one["found"] for one in shown["methods"]}["Deepfakes"] == {"c23": 2}
    # What is kept is used; flags of the file system's own kind are taken too.
    monkeypatch.setenv("HOME", str(tmp_path))
    flags = ("--stages", "crop", "--splits", "validation,training", "--out", f"file://{tmp_path}/made")
    assert run_cli("run", "ffpp", *flags, *QUICK) == 0
    assert f"out:      {tmp_path}/made (--out)" in capsys.readouterr().out
    assert run_cli("verify", "~/made") == 0
    assert run_cli("datasets", "remove", "ffpp") == 0
    assert run_cli("run", "ffpp", *QUICK) == 2
    assert "no FaceForensics++ found" in capsys.readouterr().err


def test_the_module_runs_as_a_program(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "forgeprep", "run", "ffpp"], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("forgeprep: error: no FaceForensics++ found: ")
    assert "/videos/AAA.mp4: forgeprep run ffpp --root DIR; " in done.stderr
