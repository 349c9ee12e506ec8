"""Runs of earlier schema versions are read, those of later ones are refused in one line."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forgeprep import __version__
from forgeprep.errors import UsageError, VerifyError
from forgeprep.pipeline.add import prepare_added
from forgeprep.pipeline.configure import make_config, shard_keys, versions
from forgeprep.pipeline.plan import open_plan
from forgeprep.pipeline.run import execute, prepare_run
from forgeprep.schemas import version
from forgeprep.schemas.clips import CLIP_SCHEMA
from forgeprep.schemas.config import RunConfig
from forgeprep.shards.encode import UInt8
from forgeprep.shards.formats import format_of
from forgeprep.shards.random_access import index_shard, iter_tables, read_at
from forgeprep.shards.read import iter_rows, iter_sequences, shard_paths
from forgeprep.shards.records import read_record, read_run, record_path, write_record
from forgeprep.shards.verify import verify
from forgeprep.stages import resolve_stages
from tests.conftest import run_cli
from tests.helpers.runs import VAL, run, with_first_names
from tests.helpers.shards_run import make_run

DATA = Path(__file__).parents[1] / "data"
RUNS = sorted(path.name for path in DATA.glob("run-schema-*"))


@pytest.mark.parametrize("name", RUNS)
def test_an_older_run_is_verified_and_shown(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = Path(shutil.copytree(DATA / name, tmp_path / "out"))
    assert verify(out) == []
    assert run_cli("inspect", str(out), "--sheet", str(tmp_path / "sheet.png")) == 0
    assert run_cli("report", str(out)) == 0
    assert (out / "report/index.html").stat().st_size > 10_000
    assert "Deepfakes" in capsys.readouterr().out


@pytest.mark.parametrize("name", RUNS)
def test_an_older_run_is_read_the_same_from_both_formats(name: str) -> None:
    (path,) = shard_paths(DATA / name)
    rows = list(iter_rows(path, decode=False))
    assert len(rows) == 4
    assert rows == list(iter_rows(path.with_suffix(".tar"), decode=False))
    for shard in (path, path.with_suffix(".tar")):
        assert [read_at(place) for _, place in index_shard(shard)] == rows
    assert {row["label"] for row in rows} == {0, 1}
    assert {row["family"] for row in rows} == {None, "autoencoder"}
    assert not {"generator", "segments"} & {*rows[0]}
    for shard in (path, path.with_suffix(".tar")):
        known = [{"sample_id": row["sample_id"], "family": row["family"]} for row in rows]
        assert list(iter_rows(shard, ["sample_id", "family"])) == known
        assert pa.concat_tables(iter_tables(shard, ["sample_id", "family"])).select([0, 1]).to_pylist() == known
        assert [read_at(place, ("family",)) for _, place in index_shard(shard)] == [
            {"family": k["family"]} for k in known
        ]
        with pytest.warns(FutureWarning, match="the column 'generator' is now 'family'"):
            assert [row["generator"] for row in iter_rows(shard, ["generator"])] == [k["family"] for k in known]
    for row in iter_rows(path):
        assert isinstance(row["similarity"], bytes | list)
        images = row["image"] if isinstance(row["image"], list) else [row["image"]]
        assert all(image.shape == (32, 32, 3) for image in images)
    if "sequences" in name:
        assert all(arrays.images.shape == (2, 32, 32, 3) for _, arrays in iter_sequences(path))


@pytest.mark.parametrize("name", RUNS)
def test_an_older_run_goes_on_as_one_of_today(name: str, demo: Path, tmp_path: Path) -> None:
    """Its finished shards are brought to the version of today from themselves."""
    out = Path(shutil.copytree(DATA / name, tmp_path / "out"))
    before = list(iter_rows(out / "shards/train/00000.parquet", decode=False))
    given = {
        "splits": "train",
        "methods": "Deepfakes",
        "frames": "1",
        "size": 32,
        "format": "both",
        "boxes_from": "own",
    }
    given |= {"stages": "crop,mask,noise,similarity", "sequence_length": 2 if "sequences" in name else None}
    config = make_config("ffpp", given)
    today = prepare_run(config, demo, tmp_path / "never", write=False)
    # As if the run had been made by the libraries that are installed here.
    found, record = read_run(out), read_record(out, "train/00000")
    assert record is not None
    found |= {"fingerprint": today.fingerprint, "versions": versions(resolve_stages(config.stages), config.params)}
    record["key"] = shard_keys(today.settings, "train/00000", open_plan(out / "plan.parquet").briefs[0].inputs)[0]
    (out / "run.json").write_text(json.dumps(found))
    write_record(out, record)
    assert _go_on(config, demo, out) == (["train/00000"], [])
    now = list(iter_rows(out / "shards/train/00000.parquet", decode=False))
    assert [{name: row[name] for name in old} for row, old in zip(now, before, strict=True)] == before
    for path in out.glob("shards/train/*"):
        assert "family" in {*next(format_of(path).rows(path, None))}
        assert format_of(path).metadata(path)["forgeprep_schema"] == str(version.SCHEMA_VERSION)
    assert pq.read_schema(out / "clips.parquet").names == CLIP_SCHEMA.names
    assert read_run(out)["schema_version"] == version.SCHEMA_VERSION
    assert verify(out) == []
    assert _go_on(config, demo, out) == ([], ["train/00000"])


def _go_on(config: RunConfig, demo: Path, out: Path) -> tuple[list[str], list[str]]:
    result = execute(prepare_run(config, demo, out), workers=0, report=lambda *_: None)
    return result.made, result.kept


@pytest.mark.parametrize("name", RUNS)
def test_an_older_run_is_trained_on(name: str) -> None:
    pytest.importorskip("torch", reason="the extra 'train' is not installed")
    from forgeprep.training.data import KEPT, Samples
    from forgeprep.training.sample_index import load_index

    index = load_index([DATA / name], "train", kind=("family", "autoencoder"))
    assert index.classes["family"] == ("real", "autoencoder")
    rows = Samples(index, KEPT).read(range(len(index)))
    assert [row["family"] for row in rows] == ["autoencoder" if row["label"] else None for row in rows]


def test_every_version_that_is_read_has_a_run_that_is_kept() -> None:
    kept = {int(name.split("-")[2]) for name in RUNS}
    assert kept >= set(range(version.SCHEMA_VERSION))
    for name in RUNS:
        assert read_run(DATA / name).get("schema_version", 0) == int(name.split("-")[2])


def test_a_run_with_names_of_before_goes_on_with_them(demo: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    given = {**VAL, "stages": "crop,mask", "frames": "2", "methods": "Deepfakes", "shard_size": 4}
    first, second = run(demo, out, **given).made
    assert (first, second) == ("val/ffpp-val-00000", "val/ffpp-val-00001")
    assert not list(out.glob("*.parquet"))
    with_first_names(out)
    record_path(out, "val/00001").unlink()
    again = run(demo, out, **given)
    assert (again.kept, again.made) == (["val/00000"], ["val/00001"])
    assert verify(out) == []
    execute(prepare_added(out, ["noise"], {}), workers=0, report=lambda *_: None)
    (out / "plan.parquet").unlink()
    assert run(demo, out, **{**given, "stages": "crop,mask,noise"}).kept == ["val/00000", "val/00001"]
    assert verify(out) == []
    assert sorted(path.name for path in out.rglob("*.parquet") if path.parent != out) == [
        "00000.parquet",
        "00001.parquet",
    ]
    prepare_run(make_config("ffpp", given), demo, out, overwrite=True)
    assert sorted(path.name for path in out.rglob("*") if path.is_file()) == [".lock", "plan.pq", "run.json"]


def test_shards_say_their_version(tmp_path: Path, face_photo: UInt8) -> None:
    out = make_run(tmp_path, face_photo, size=32)
    expected = {"forgeprep_schema": str(version.SCHEMA_VERSION), "forgeprep_version": __version__, "forgeprep": "k"}
    for path in out.glob("shards/*/*"):
        assert format_of(path).metadata(path) == expected
    metadata = pq.read_schema(out / "shards/train/ffpp-train-00000.parquet").metadata
    assert metadata[b"forgeprep_schema"] == b"2"
    with tarfile.open(out / "shards/train/ffpp-train-00000.tar") as tar:
        assert not tar.pax_headers
        for name in tar.getnames():
            content = tar.extractfile(name)
            assert content is not None
            if name.endswith(".json"):
                assert json.loads(content.read())["_forgeprep"] == expected


def test_newer_runs_and_shards_are_refused_with_the_version_to_install(
    tmp_path: Path, face_photo: UInt8, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as newer:
        newer.setattr(version, "SCHEMA_VERSION", 7)
        newer.setattr(version, "__version__", "9.1.0")
        out = make_run(tmp_path / "out", face_photo, size=32)
    run = json.loads((out / "run.json").read_bytes())
    known = f"forgeprep {__version__} knows those up to {version.SCHEMA_VERSION}"
    told = f"has schema version 7, and {known}; install forgeprep 9.1.0 or newer"
    for path in out.glob("shards/train/*"):
        with pytest.raises(VerifyError, match=told):
            list(iter_rows(path))
        with pytest.raises(VerifyError, match=told):
            list(index_shard(path))
    assert sorted(problem.what for problem in verify(out)) == [told] * 4
    newer_run = {**run, "schema_version": 7, "versions": {"forgeprep": "9.1.0"}}
    (out / "run.json").write_text(json.dumps(newer_run))
    with pytest.raises(UsageError, match=told):
        read_run(out)
    for command in ("verify", "inspect", "report"):
        assert run_cli(command, str(out)) == 2
        assert capsys.readouterr().err == f"forgeprep: error: {out}/run.json: {told}\n"
    (out / "run.json").write_text(json.dumps({**run, "schema_version": "x"}))
    with pytest.raises(UsageError, match="schema version is 'x', which is no number"):
        read_run(out)


def test_what_a_newer_minor_release_adds_is_no_obstacle(tmp_path: Path, face_photo: UInt8) -> None:
    """Names in run.json that are not known, and columns that the run tells of."""
    out = make_run(tmp_path, face_photo, size=32)
    run = json.loads((out / "run.json").read_bytes())
    (out / "run.json").write_text(json.dumps({**run, "schema_version": 2, "mood": "good"}))
    assert verify(out) == []
    (path, *_) = shard_paths(out)
    assert all(np.any(row["image"]) for row in iter_rows(path))
