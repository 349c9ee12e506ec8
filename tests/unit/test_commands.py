"""The command line: flags made from the stages, names of earlier versions, help, completion, JSON, and the doctor."""

from __future__ import annotations

import importlib.metadata
import json
import re
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
from forgeprep.commands import terminal
from forgeprep.commands.stage_flags import HEADINGS, flag_of, help_of
from forgeprep.commands.terminal import add_cells, light_table, print_table
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


def test_every_old_flag_is_still_taken(capsys: pytest.CaptureFixture[str]) -> None:
    switches = {"dry-run", "overwrite", "retry-failed", "strict", "debug"}
    numbers = {"workers", "shard-size", "image-quality", "clip-timeout"}
    words = []
    for flag in OLD_FLAGS:
        words += [f"--{flag}"] if flag in switches else [f"--{flag}", "4" if flag in numbers else "a=b"]
    found = parsed("run", "ffpp", *words)
    unnamed = ["settings", "shards", "absent", "start_timeout", "as_json", "update", "keep_removed", "real_root"]
    unnamed += ["landmarks", "landmarks_file", "align", "align_per", "boxes_from"]
    unnamed += ["selfblend_per", "selfblend_seed", "selfblend_splits"]
    assert sorted(name for name, value in found.items() if not value) == sorted(unnamed)
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
        ("crop.siez=80", "unknown parameter of crop 'siez': did you mean 'size'?"),
        ("crop.size=big", "--set crop.size: must be a whole number"),
        ("crop.size=8", "--set crop.size: must be at least 16 (got 8)"),
        ("crop.detector=hog", "--set crop.detector: unknown face detector 'hog': did you mean 'dlib-hog'?"),
        ("similarity.side=3", "--set similarity.side belongs to the stage 'similarity', which is not among --stages"),
    ],
)
def test_a_wrong_setting_is_told_in_one_line(text: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli("run", "ffpp", "--root", "nowhere", "--out", "elsewhere", "--set", text) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line


def test_a_flag_and_set_that_contradict_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    where = ["run", "ffpp", "--root", "nowhere", "--out", "elsewhere", "--size", "64"]
    assert run_cli(*where, "--set", "crop.size=80") == 2
    assert "--size 64 and --set crop.size=80: two values for one parameter" in capsys.readouterr().err
    assert run_cli(*where, "--set", "crop.size=64") == 2
    assert "nowhere" in capsys.readouterr().err


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
    known = importlib.metadata.entry_points
    monkeypatch.setattr(registry, "entry_points", lambda group: [point] if group == point.group else known(group=group))
    params.all_params.cache_clear()


@pytest.fixture
def third_party(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    add_stage(monkeypatch, "blur", "tests.unit.test_commands:BLUR")
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
    assert make_config_error("blur.siz=1") == "unknown parameter of blur 'siz': did you mean 'size'?"


def make_config_error(text: str) -> str:
    with pytest.raises(UsageError) as caught:
        make_config("ffpp", {"set": [text]})
    return str(caught.value).partition(" (known")[0]


def test_a_stage_that_cannot_be_loaded_is_told_to_who_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    add_stage(monkeypatch, "lost", "no_such_module:STAGE")
    try:
        assert "lost" not in params.all_params()
        assert make_config_error("lost.x=1").startswith("stage 'lost' of no_such_module:STAGE cannot be loaded")
    finally:
        params.all_params.cache_clear()


def test_a_wrong_command_is_told_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli("inspct", "out") == 2
    assert "did you mean 'inspect'?" in capsys.readouterr().err


def test_names_in_tables_are_in_one_piece_at_any_width(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "folder/method with blanks/a-name-of-some-length_071_054"
    # The width that the variable had when the console was made.
    monkeypatch.setattr(terminal.console, "_width", None)
    for columns in ("200", "60", "30", None):
        if columns is None:
            monkeypatch.delenv("COLUMNS", raising=False)
        else:
            monkeypatch.setenv("COLUMNS", columns)
        table = light_table("lost", ["clip"], ["requested", "written"], ["error"])
        add_cells(table, name, "32", "29", "the clip ends before this frame, [as some do]")
        print_table(table)
        seen = capsys.readouterr().out
        assert name in seen
        assert ("requested 32, written 29" in seen) == (columns in ("60", "30"))
        if columns in ("200", None):
            assert "29  the clip ends before this frame, [as some do]" in seen
