"""Runs with the stage perturb."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from forgeprep.ops.perturb.catalogue import CATALOGUE, Step, perturb
from forgeprep.ops.perturb.draw import seeded
from forgeprep.report.page import gather, render_page
from forgeprep.shards.check_sample import row_problems
from forgeprep.shards.read import iter_rows, shard_paths
from forgeprep.shards.verify import verify
from tests.conftest import run_cli
from tests.helpers.runs import checksums


@pytest.fixture(scope="module")
def perturbed(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("perturbed") / "out"
    assert run_cli(*flags(demo, out, "0")) == 0
    return out


def flags(demo: Path, out: Path, workers: str) -> list[str]:
    flags = "--stages crop,mask,perturb,noise,similarity --frames 2 --shard-size 10 --perturb mixed:0.6,single:0.2"
    more = ["--perturb-splits", "train,test", "--methods", "Deepfakes,NeuralTextures", "--workers", workers]
    return ["run", "ffpp", "--root", str(demo), "--out", str(out), *flags.split(), *more]


@pytest.mark.long
def test_a_perturbed_run_is_whole_and_the_same_on_any_number_of_workers(
    demo: Path, perturbed: Path, tmp_path: Path
) -> None:
    assert verify(perturbed) == []
    rows = [row for path in shard_paths(perturbed) for row in iter_rows(path)]
    assert all((row["perturbation"] is None) == (row["perturbation_params"] is None) for row in rows)
    by_split = {split: {row["perturbation"] for row in rows if row["split"] == split} for split in ("val", "test")}
    assert by_split["val"] == {None}
    assert len(by_split["test"]) > 2
    assert run_cli(*flags(demo, tmp_path / "out", "2")) == 0
    assert checksums(tmp_path / "out") == checksums(perturbed)


def test_a_sample_follows_from_its_record_and_the_noise_from_the_perturbed_crop(
    demo: Path, perturbed: Path, tmp_path: Path
) -> None:
    clean = tmp_path / "clean"
    command = ["run", "ffpp", "--root", str(demo), "--out", str(clean), "--stages", "crop,noise", "--frames", "2"]
    assert run_cli(*command, "--methods", "Deepfakes,NeuralTextures", "--workers", "0") == 0
    before = {row["sample_id"]: row for path in shard_paths(clean) for row in iter_rows(path)}
    changed = 0
    for path in shard_paths(perturbed):
        for row in iter_rows(path):
            names = [part.split(":") for part in (row["perturbation"] or "").split("+") if part]
            params: list[dict[str, Any]] = json.loads(row["perturbation_params"] or "[]")
            steps = [Step(name, int(severity), p) for (name, severity), p in zip(names, params, strict=True)]
            told, _ = perturb(before[row["sample_id"]]["image"], steps, seeded(0, "sample", row["sample_id"]))
            assert (told == row["image"]).all()
            changed += bool(steps)
            assert (row["noise"] == before[row["sample_id"]]["noise"]).all() == (not steps)
    assert changed > 10


def test_the_report_counts_what_was_done(perturbed: Path) -> None:
    rows = [row for path in shard_paths(perturbed) for row in iter_rows(path, decode=False)]
    expected = Counter(
        (row["label"], name) for row in rows for name in (row["perturbation"] or "").split("+") if name
    ) + Counter((row["label"], None) for row in rows if row["perturbation"] is None)
    found = gather(perturbed)
    assert found.measures.perturbations == expected
    page = render_page(found)
    assert all(f">{name.split(':')[0]}</th>" in page for _, name in expected if name)


def test_verify_sees_a_record_that_does_not_fit(perturbed: Path) -> None:
    row = next(iter_rows(shard_paths(perturbed, "train")[0], decode=False))
    assert list(row_problems(row)) == []
    for names, params in ((None, "[{}]"), ("jpeg:3", None), ("jpeg:3", "[{}, {}]"), ("jpeg:3", "["), ("jpeg:3", "[3]")):
        broken = {**row, "perturbation": names, "perturbation_params": params}
        assert any("perturbation" in what for what in row_problems(broken))


def test_bad_flags_end_with_exit_code_2(demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = ["run", "ffpp", "--root", str(demo), "--out", str(tmp_path / "out"), "--stages", "crop,perturb"]
    for flag, value, said in (
        ("--perturb", "gausian-blur:2", "did you mean 'gaussian-blur'?"),
        ("--perturb", "jpeg:7", "did you mean 'jpeg:5'?"),
        ("--perturb-splits", "tests", "did you mean 'test'?"),
        ("--perturb-pairing", "both", "'own' or 'shared'"),
        ("--perturb-seed", "-1", "--perturb-seed"),
    ):
        assert run_cli(*run, flag, value) == 2
        assert said in capsys.readouterr().err
    assert run_cli(*run[:-1], "crop", "--perturb", "jpeg") == 2
    assert "belongs to the stage 'perturb'" in capsys.readouterr().err
    assert run_cli("perturbations") == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in CATALOGUE)
