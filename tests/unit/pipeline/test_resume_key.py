"""What a shard's key is made of: the packages and the weights that its stages and its detector really use."""

from __future__ import annotations

import hashlib
import importlib.util
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from forgeprep import __version__
from forgeprep.errors import ForgeprepError
from forgeprep.faces import weights
from forgeprep.faces.detectors import detector_names, get_detector, known_weights
from forgeprep.ops.evidence_net import network_sha256
from forgeprep.pipeline.configure import _VERSIONED, make_config, settings_of, versions
from forgeprep.stages import resolve_stages

# Of `forgeprep run ffpp --stages crop,noise` at version 0.1.0, before detectors had versions of their own.
PACKAGES = {"forgeprep": __version__, **{name: version(name) for name in _VERSIONED}}
COMMON = PACKAGES | {"mask network": network_sha256(), "onnxruntime": version("onnxruntime")}


def settings(**given: Any) -> tuple[dict[str, str], str]:
    config = make_config("ffpp", given)
    found = versions(resolve_stages(config.stages), config.params)
    return found, settings_of({"config": config.model_dump(mode="json"), "versions": found})[1]


@pytest.mark.parametrize("detector", ["libfacedetection", "dlib-hog", "whole"])
def test_a_run_that_uses_nothing_more_keeps_the_key_that_it_had(detector: str) -> None:
    found, key = settings(detector=detector)
    config = make_config("ffpp", {"detector": detector})
    assert found == COMMON
    assert key == settings_of({"config": config.model_dump(mode="json"), "versions": COMMON})[1]
    # Masks of another network are other masks; what has none does not mind.
    assert settings(detector=detector, stages="crop,noise")[0] == PACKAGES


def test_settings_that_came_later_leave_the_keys_of_older_runs() -> None:
    config = make_config("ffpp", {}).model_dump(mode="json")
    older = {name: value for name, value in config.items() if name not in ("shards", "absent", "boxes_from")}
    assert len(older) == len(config) - 3
    keys = [settings_of({"config": c, "versions": {}}) for c in (config, older, {**config, "shards": 3})]
    assert keys[0] == keys[1] != keys[2]


def test_other_weights_are_another_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = set()
    for number, content in enumerate((b"first", b"second")):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "mmod_human_face_detector.dat").write_bytes(content)
        monkeypatch.setenv("FORGEPREP_WEIGHTS", str(folder))
        found, key = settings(detector="dlib-cnn")
        assert len(found["weights dlib-cnn"]) == 64
        keys.add(key)
    assert len(keys) == 2


def test_torch_and_the_weights_count_for_face_alignment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("torch", "face_alignment"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ForgeprepError, match="forgeprep weights fetch s3fd"):
        settings(detector="face-alignment")
    place = weights.weights_path("s3fd")
    place.parent.mkdir(parents=True)
    place.write_bytes(b"weights")
    found, _ = settings(detector="face-alignment")
    assert found["torch"] == version("torch")
    assert found["face-alignment"] == version("face-alignment")
    assert found["weights s3fd"] == hashlib.sha256(b"weights").hexdigest()


def test_every_detector_says_what_it_is() -> None:
    assert detector_names()[:5] == ["libfacedetection", "dlib-hog", "dlib-cnn", "face-alignment", "whole"]
    for name in detector_names():
        entry = get_detector(name)
        assert entry.score_range[0] <= entry.score_range[1]
        assert (entry.least_pixels is None) == (name == "whole")
    assert known_weights().keys() >= {"dlib-cnn", "s3fd"}
