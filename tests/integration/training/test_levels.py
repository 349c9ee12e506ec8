"""The label tree, from a dataset's folders to the confusion matrices of a training."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import cv2
import pytest

from forgeprep.datasets import get_dataset
from forgeprep.datasets.base import ScanOptions
from forgeprep.datasets.taxonomy import class_at
from tests.conftest import LaidOut, run_cli


def test_the_label_tree_comes_back_as_the_adapter_told_it(
    laid_out: LaidOut, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out, run = laid_out("genface"), tmp_path / "out", tmp_path / "run"
    where = ["--root", str(root), "--out", str(out)]
    assert run_cli("run", "genface", *where, "--stages", "crop", "--size", "64", "--workers", "0") == 0
    sets = ["--set", "size=32", "--set", "steps=1", "--set", "workers=0", "--epochs", "1", "--batch", "4"]
    more = ["--model-option", "weights={method: 0.5}", "--gpus", "0"]
    assert run_cli("train", "xception-levels", "--shards", str(out), "--run", str(run), *sets, *more) == 0
    assert run_cli("evaluate", str(run), "--shards", str(out), "--gpus", "0", "--workers", "0") == 0
    assert "recall by forgery " in capsys.readouterr().out
    found = json.loads((run / "evaluation/test-out/evaluation.json").read_text())[0]["sets"][str(out)]
    clips = [asdict(clip) for clip in get_dataset("genface").scan(root, ScanOptions()).clips]
    tested = [clip for clip in clips if clip["split"] == "test"]
    assert list(found["levels"]) == ["label", "forgery", "family", "method"]
    for level, figures in found["levels"].items():
        truth = Counter(class_at(level, clip) for clip in tested)
        counts = dict(zip(figures["classes"], map(sum, figures["confusion"]), strict=True))
        assert counts == truth
        assert figures["classes"][0] == "real"
        assert figures["unknown"] == 0
        assert cv2.imread(str(run / "evaluation/test-out" / f"confusion-{level}-run-out.png")).std() > 5
    names = json.loads((run / "config.json").read_text())["options"]["names"]
    assert names["method"] == ["real", "DDPM", "DiffFace", "Diffae", "FaceSwapper"]
