from __future__ import annotations

import re

import pytest

from forgeprep.pipeline.configure import make_config
from forgeprep.schemas.config import PRESETS, RunConfig
from forgeprep.stages import all_stages
from tests.conftest import run_cli

OPTIONS = tuple(
    "root out stages preset compression methods splits frames enlarge size detector mask-source perturb "  # noqa: SIM905
    "perturb-pairing perturb-seed perturb-splits sigma side "
    "format image-format image-quality shard-size workers address config dry-run overwrite debug".split()
)


def help_of(command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Option -> its help text on one line."""
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv("TERMINAL_WIDTH", "300")
    assert run_cli(command, "--help") == 0
    found: dict[str, str] = {}
    for line in capsys.readouterr().out.splitlines():
        match = re.match(r"\s+--([a-z-]+)\s+(.*)", line)
        if match:
            found[match[1]] = match[2]
        elif found and line.strip():
            found[list(found)[-1]] += " " + line.strip()
    # A long word is broken at its hyphen.
    return {option: text.replace("- ", "-") for option, text in found.items()}


def test_every_option_of_run_has_a_help_line_with_its_default(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    helps = help_of("run", capsys, monkeypatch)
    for option in OPTIONS:
        assert re.search(r"\[(default|required)", helps[option]), option
    defaults = {
        name: field.default for stage in all_stages().values() for name, field in stage.params.model_fields.items()
    }
    for name in ("frames", "enlarge", "detector", "mask_source", "side", "perturb", "perturb_seed", "perturb_splits"):
        assert f"[default: {defaults[name]}]" in helps[name.replace("_", "-")]
    fields = RunConfig.model_fields
    for name in ("image_format", "image_quality", "shard_size"):
        assert f"[default: {fields[name].default}]" in helps[name.replace("_", "-")]


def test_stages_and_datasets_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli("stages") == 0
    text = capsys.readouterr().out
    for stage in all_stages().values():
        assert stage.name in text
        assert all(column.name in text for column in stage.adds)
        assert all("--" + name.replace("_", "-") in text for name in stage.params.model_fields)
    assert run_cli("datasets") == 0
    text = capsys.readouterr().out
    assert "ffpp" in text
    assert "FaceShifter" in text


@pytest.mark.parametrize("name", list(PRESETS))
def test_presets_are_valid_and_give_way_to_flags(name: str) -> None:
    config = make_config("ffpp", {"preset": name})
    assert set(PRESETS[name]["stages"]) <= set(config.stages)
    assert config.params["crop"]["enlarge"] == PRESETS[name]["enlarge"]
    assert make_config("ffpp", {"preset": name, "enlarge": 1.7}).params["crop"]["enlarge"] == 1.7
    assert make_config("ffpp", {"preset": name, "detector": "whole"}).params["crop"]["enlarge"] == 1.0


def test_needed_stages_are_added() -> None:
    assert make_config("ffpp", {"stages": "similarity"}).stages == ("frames", "crop", "mask", "similarity")
