"""Bad input: one line that says what is wrong and what to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import run_cli


def call(*arguments: object) -> int:
    return run_cli(*map(str, arguments))


def refused(capsys: pytest.CaptureFixture[str], code: int, *arguments: object) -> str:
    """Run a command that must fail with ``code``; returns its one line."""
    assert call(*arguments) == code
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("forgeprep: error: ")
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("run", "ffp", "--root", "ROOT", "--out", "OUT"), "unknown dataset 'ffp': did you mean 'ffpp'?"),
        (("run", "ffpp", "--root", "ROOT", "--out", "OUT", "--stages", "crop,mas"), "did you mean 'mask'?"),
        (("run", "ffpp", "--root", "ROOT", "--out", "OUT", "--methods", "FaceSwop"), "did you mean 'FaceSwap'?"),
        (("run", "ffpp", "--root", "ROOT", "--out", "OUT", "--compression", "c32"), "did you mean 'c23'?"),
        (("run", "ffpp", "--root", "ROOT", "--out", "OUT", "--format", "parket"), "did you mean 'parquet'?"),
        (("run", "ffpp", "--root", "ROOT", "--out", "OUT", "--preset", "twostream"), "did you mean 'two-stream'?"),
        (("run", "ffpp", "--root", "ROOT", "--out", "OUT", "--detector", "hog"), "--detector: "),
        (("run", "ffpp", "--root", "ROOT", "--out", "OUT", "--frames", "0"), "--frames: "),
        (("run", "ffpp", "--root", "ROOT", "--out", "OUT", "--frames", "half"), "'all' or 'every:N'"),
        (("run", "ffpp", "--root", "ROOT", "--out", "OUT", "--enlarge", "0.5"), "--enlarge: "),
        (("run", "ffpp", "--root", "ROOT", "--out", "OUT", "--workers", "-1"), "--workers: "),
        (
            ("run", "ffpp", "--root", "ROOT", "--out", "OUT", "--literal-threshold", "9"),
            "--literal-threshold: masks are by",
        ),
        (("run", "ffpp", "--root", "ROOT", "--out", "OUT", "--splits", "holdout"), "--splits"),
        (("run", "ffpp", "--root", "ROOT", "--out", "OUT", "--stages", "crop", "--side", "7"), "belongs to the stage"),
        (("run", "ffpp", "--root", "nowhere/at/all", "--out", "OUT"), "nowhere/at/all"),
        (("run", "ffpp", "--root", "", "--out", "OUT"), "a path is empty"),
        (("run", "dfd", "--root", "ROOT", "--out", "OUT"), "looks like ffpp: did you mean ffpp instead of dfd?"),
        (("run", "ffpp", "--root", "ROOT", "--out", "OUT", "--compression", "c24"), "did you mean 'c23'?"),
        (("run", "ffpp", "--root", "EMPTY", "--out", "OUT"), "original_sequences"),
        (("run", "ffpp", "--root", "ROOT", "--out", "EMPTY/file.txt/out"), "file.txt"),
        (("run", "ffpp", "--root", "ROOT", "--out", "ROOT"), "is the dataset's own folder"),
        (("run", "ffpp", "--root", "ROOT", "--out", "OUT", "--config", "nowhere.yaml"), "nowhere.yaml"),
        (("verify", "EMPTY"), "EMPTY"),
        (("inspect", "nowhere"), "nowhere"),
        (("demo", "ROOT"), "not an empty folder"),
        (("demo", "OUT", "--people", "7"), "--people: must be even"),
        (("demo", "OUT", "--people", "2"), "at least 6, for a pair in each split"),
    ],
)
def test_wrong_usage_is_told_in_one_line(
    tree: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    expected: str,
) -> None:
    (tmp_path / "EMPTY").mkdir()
    places = {"ROOT": str(tree), "OUT": str(tmp_path / "out"), "EMPTY": str(tmp_path / "EMPTY")}
    if any("file.txt" in argument for argument in arguments):
        (tmp_path / "EMPTY" / "file.txt").write_text("in the way")
    filled = [places.get(a, a.replace("EMPTY/", f"{tmp_path}/EMPTY/")) for a in arguments]
    code = 1 if "file.txt" in expected else 2
    assert expected in refused(capsys, code, *filled)
    assert not (tmp_path / "out").exists()


@pytest.mark.filterwarnings("default::forgeprep.errors.ForgeprepWarning")
def test_an_output_in_the_dataset_is_refused_but_for_a_run_that_is_there(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "link").symlink_to(tree)
    words = ["run", "ffpp", "--root", tree, "--stages", "crop", "--frames", "1", "--workers", "0"]
    for out in (tree / "out", tmp_path / "link" / "out"):
        assert "lies inside the dataset's own folder" in refused(capsys, 2, *words, "--out", out)
    assert call(*words, "--out", tmp_path / "out") == 0
    (tmp_path / "out").rename(tree / "out")
    capsys.readouterr()
    assert call(*words, "--out", tree / "out") == 0
    seen = capsys.readouterr()
    assert "there already" in seen.out
    assert "lies inside the dataset's own folder" in seen.err


@pytest.mark.parametrize("command", ["status", "verify", "inspect", "report", "drop --samples IDS", "run"])
def test_a_folder_of_runs_names_the_runs_in_it(
    command: str, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "shards" / "ffpp").mkdir(parents=True)
    (tmp_path / "shards" / "ffpp" / "run.json").touch()
    (tmp_path / "IDS").write_text("a\n")
    monkeypatch.chdir(tmp_path)
    if command != "run":
        assert "did you mean shards/ffpp?" in refused(capsys, 2, *command.split(), "shards")
        return
    words = ["run", "ffpp", "--root", tree, "--dry-run", "--workers", "0"]
    assert call(*words, "--out", "shards") == 2
    assert f"did you mean {tmp_path / 'shards/ffpp'}?" in capsys.readouterr().err
    assert call(*words, "--out", "shards/shards", "--stages", "crop", "--frames", "1") == 0
    assert f"'shards' twice; without --out a run goes to shards/DATASET; runs that are there: {tmp_path}" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("framse: 3\n", "unknown option 'framse': did you mean 'frames'?"),
        ("[1, 2\n", "not valid YAML"),
        ("- a\n", "must be a mapping"),
        ("frames: 2020-13-01\n", "not valid YAML (month must be in 1..12)"),
        ("frames: &a [1]\nsize: [*a, *a]\n", "aliases (*name) are not supported"),
        ("frames: " + "[" * 5000 + "\n", "not valid YAML"),
        ("workers: .inf\n", "my run.yaml: workers: must be a whole number from 0 to"),
        ("clip_timeout: .nan\n", "my run.yaml: clip_timeout: must be a number of seconds from 1"),
        ("frames: {train: 3, val: 2}\n", "frames for each split needs exactly train, val, test"),
        ("enlarge: wide\n", "my run.yaml: enlarge: "),
        ("!!python/object/apply:os.system ['true']\n", "not valid YAML"),
    ],
)
def test_a_wrong_configuration_file(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, expected: str
) -> None:
    file = tmp_path / "my run.yaml"
    file.write_text(text)
    line = refused(capsys, 2, "run", "ffpp", "--root", tree, "--out", tmp_path / "out", "--config", file)
    assert expected in line


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("run", "run: DATASET is missing; for example: forgeprep run ffpp"),
        ("train", "train: --run is missing; for example: forgeprep train two-stream --shards"),
        ("verify", "verify: OUT is missing; for example: forgeprep verify shards"),
        ("run ffpp --framez 3", "run: there is no --framez: did you mean --frames?"),
        ("run ffpp --workers", "--workers needs a value"),
        ("run ffpp --strict=3", "--strict takes no value"),
        ("run ffpp --workers many", "run: --workers: must be a whole number (got 'many')"),
        ("run ffpp --clip-timeout 0", "--clip-timeout: must be at least 1 (got '0"),
        ("splice ffpp --crf 99", "--crf: must be at most 51 (got '99')"),
        ("run ffpp --stages crop, mask", "no space after a comma: forgeprep run ffpp --stages crop,mask"),
        ("verify a b", "verify: 'b' is too much"),
        ("datasets shwo", "datasets: there is no command 'shwo': did you mean 'show'?"),
        ("datasets --json show ffpp", "--json goes behind the command"),
        ("datasets remove ffpp", "no folder is kept for 'ffpp'"),
    ],
)
def test_what_typer_refuses_is_told_in_one_line_in_our_words(
    words: str, expected: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert expected in refused(capsys, 2, *words.split())


def test_unknown_flags_exit_with_2_and_debug_shows_the_traceback(tree: Path, tmp_path: Path) -> None:
    assert call("run", "ffpp", "--framez", "3") == 2
    assert call("run", "ffpp", "--side", "many") == 2
    command = [sys.executable, "-m", "forgeprep.cli", "run", "ffpp", "--root", "no/where", "--out", str(tmp_path / "o")]
    plain = subprocess.run(command, capture_output=True, text=True, check=False)
    debug = subprocess.run([*command, "--debug"], capture_output=True, text=True, check=False)
    assert (plain.returncode, len(plain.stderr.strip().splitlines())) == (2, 1)
    assert "Traceback" in debug.stderr


def test_a_dry_run_writes_nothing(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("run", "ffpp", "--root", tree, "--out", tree.parent / "out", "--dry-run") == 0
    assert "originals c23/train: 2 of 720" in capsys.readouterr().out
    assert not (tree.parent / "out").exists()


def test_detectors_without_weights_say_where_they_belong(
    tree: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("face_alignment", reason="the extra 'align' is not installed")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    line = refused(capsys, 1, "run", "ffpp", "--root", tree, "--out", tmp_path / "o", "--detector", "face-alignment")
    assert "s3fd-619a316812.pth" in line
    assert "forgeprep weights fetch s3fd" in line
