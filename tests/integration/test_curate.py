"""Runs that are made of others hold each row once, account for all of it, and can be made again after any stop."""

from __future__ import annotations

import functools
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from forgeprep.pipeline.plan import open_plan
from forgeprep.report.compare import compare
from forgeprep.report.status import gather
from forgeprep.shards.names import table_path
from forgeprep.shards.read import iter_rows, shard_paths
from forgeprep.shards.records import STAGED, iter_records, read_run
from forgeprep.shards.verify import verify
from tests.conftest import run_cli
from tests.helpers.runs import VAL, checksums, run
from tests.helpers.shards_run import dying


def rows_of(out: Path) -> dict[str, dict[str, Any]]:
    return {row["sample_id"]: row for path in shard_paths(out) for row in iter_rows(path, decode=False)}


def good(*words: str | Path) -> None:
    assert run_cli(*map(str, words)) == 0


def check(out: Path) -> None:
    """The run is whole, by its own account too."""
    assert verify(out) == []
    assert gather(out).state == "finished"
    assert not list(out.rglob("*.tmp"))
    assert not (out / STAGED).exists()


def left_out(out: Path) -> dict[str, int]:
    return dict(read_run(out)["derived"][-1]["left_out"])


@pytest.fixture
def copy(val_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(val_run, tmp_path / "copy"))


def test_json_is_one_document_and_the_text_is_apart(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def document(*words: str | Path) -> Any:
        good(*words, "--json")
        # NaN and infinity are no JSON.
        return json.loads(capsys.readouterr().out, parse_constant=pytest.fail)

    for command in ("status", "verify", "inspect"):
        assert document(command, copy)["out"] == str(copy)
    fakes = document("select", copy, "--where", "method = 'Deepfakes'", "--out", tmp_path / "fakes")
    reals = document("select", copy, "--where", "label = 0", "--out", tmp_path / "reals")
    both = document("merge", tmp_path / "fakes", tmp_path / "reals", "--out", tmp_path / "both")
    assert both["samples"] == fakes["samples"] + reals["samples"] == len(rows_of(tmp_path / "both"))
    assert [document("reshard", tmp_path / "both", "--shard-size", "3")["changed"] for _ in range(2)] == [True, False]
    counts = document("export", "imagefolder", tmp_path / "both", "--to", tmp_path / "to", "--dry-run")
    assert sum(kind["samples"] for kind in counts) == both["samples"]
    page = document("report", tmp_path / "both")
    assert Path(page["report"]).is_file()
    assert page["well"]
    assert run_cli("select", str(copy), "--where", "no = 1", "--out", str(tmp_path / "no"), "--json") == 2
    assert capsys.readouterr().out == ""


def test_select_keeps_what_fulfils_the_condition_and_counts_the_rest(
    val_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    every, out = rows_of(val_run), tmp_path / "sure"
    good("select", val_run, "--where", "mask_fraction > .05 and method = 'Deepfakes' -- the large ones", "--out", out)
    wanted = {n: r for n, r in every.items() if r["method"] == "Deepfakes" and r["mask_fraction"] > 0.05}
    assert wanted
    assert rows_of(out) == wanted
    check(out)
    clips = [clip for _, record in iter_records(out) for clip in (record or {})["clips"]]
    assert {clip["clip_id"] for clip in clips} == {row["clip_id"] for row in wanted.values()}
    assert sum(clip["written"] for clip in clips) == len(wanted)
    assert left_out(out)["samples"] == len(every) - len(wanted)
    assert "left out: " in capsys.readouterr().out
    # A shard of which all is chosen is the same file; the same command again finds all of it there.
    good("select", val_run, "--where", "label in (0, 1)", "--out", tmp_path / "all")
    for path in shard_paths(tmp_path / "all"):
        assert path.stat().st_nlink > 1
    good("select", val_run, "--where", "label in (0, 1)", "--out", tmp_path / "all")
    assert "2 there already" in capsys.readouterr().out
    assert compare(val_run, tmp_path / "all").same


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["select", "RUN", "--where", "mask_confidence >", "--out", "OUT"], "--where: syntax error at"),
        (
            ["select", "RUN", "--where", "mask_jumps > 1", "--out", "OUT"],
            "did you mean mask_jump?",
        ),
        (["select", "RUN", "--where", "method = Deepfakes", "--out", "OUT"], "needs single quotes: 'Deepfakes'"),
        (["select", "RUN", "--where", "label = 7", "--out", "OUT"], "none of the 30 samples"),
        (["select", "RUN", "--where", "label in (select a from read_csv('/etc/passwd'))", "--out", "OUT"], "disabled"),
        (["select", "RUN", "--where", "label = 0", "--out", "RUN"], "is a run that is read from"),
        (["select", "RUN", "--where", "label = 0", "--out", "FULL"], "not empty, and no run of forgeprep"),
        (["select", "FULL", "--where", "label = 0", "--out", "OUT"], "holds no run of forgeprep"),
        (["merge", "RUN", "--out", "OUT"], "give two runs or more"),
        (["merge", "RUN", "RUN", "--out", "OUT"], "is given twice"),
        (["reshard", "RUN"], "give --shard-size, --format or both"),
        (["reshard", "RUN", "--format", "zip"], "unknown shard format 'zip'"),
        (["drop", "RUN", "--samples", "missing.txt"], "missing.txt: cannot be read"),
        (["drop", "RUN", "--samples", "IDS"], "holds none of the 1 samples"),
        (["drop", "FULL", "--samples", "IDS"], "holds no run of forgeprep"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(
    words: list[str], told: str, val_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = checksums(val_run)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    (tmp_path / "ids").write_text("nobody/0/000000\n")
    places = {"RUN": val_run, "OUT": tmp_path / "out", "FULL": tmp_path / "full", "IDS": tmp_path / "ids"}
    assert run_cli(*(str(places.get(word, word)) for word in words)) == 2
    error = capsys.readouterr().err.strip()
    assert told in error
    assert len(error.splitlines()) == 1
    assert checksums(val_run) == before
    assert not (tmp_path / "out" / "run.json").exists()
    assert sorted(path.name for path in (tmp_path / "full").iterdir()) == ["file"]


def test_without_duckdb_select_says_what_to_install(
    val_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    assert run_cli("select", str(val_run), "--where", "label = 0", "--out", str(tmp_path / "out")) == 2
    assert "pip install 'forgeprep[select]'" in capsys.readouterr().err


def test_parts_merge_to_the_whole_and_no_row_comes_twice(
    val_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = {"a": "method is null", "b": "method is not null", "early": "frame_index < 15"}
    for name, where in parts.items():
        good("select", val_run, "--where", where, "--out", tmp_path / name)
    good("merge", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "ab")
    assert compare(val_run, tmp_path / "ab").same
    assert "4 as they were" in capsys.readouterr().out
    # Some rows of each clip, then all of them: what is new joins the clip that is there.
    good("merge", tmp_path / "early", tmp_path / "ab", "--out", tmp_path / "again")
    assert f"{len(rows_of(tmp_path / 'early'))} samples in more than one run" in capsys.readouterr().out
    assert rows_of(tmp_path / "again") == rows_of(val_run)
    whole = {c["clip_id"]: c for _, r in iter_records(val_run) for c in (r or {})["clips"]}
    clips = {c["clip_id"]: c for _, r in iter_records(tmp_path / "again") for c in (r or {})["clips"]}
    names = ("written", "dropped", "split", "sha256")
    assert {n: [c[k] for k in names] for n, c in clips.items()} == {n: [c[k] for k in names] for n, c in whole.items()}
    for name in ("ab", "again"):
        check(tmp_path / name)
        planned = {
            clip.clip_id
            for s in open_plan(table_path(tmp_path / name, "plan")).shards()
            for g in s.groups
            for clip in g.clips
        }
        assert planned == whole.keys()


def test_runs_that_do_not_go_together_are_refused(
    demo: Path, val_run: Path, copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good("add", copy, "--stages", "similarity", "--workers", "0")
    assert run_cli("merge", str(copy), str(val_run), "--out", str(tmp_path / "out")) == 2
    assert f"{val_run} lacks similarity" in capsys.readouterr().err
    run(demo, tmp_path / "long", **{**VAL, "frames": "4", "sequence_length": 2, "methods": "Deepfakes"})
    assert run_cli("merge", str(tmp_path / "long"), str(val_run), "--out", str(tmp_path / "out")) == 2
    assert "samples of" in capsys.readouterr().err
    # The same clips in another split.
    other = Path(shutil.copytree(val_run, tmp_path / "other"))
    for record in [r for _, r in iter_records(other) if r is not None]:
        move_split(other, record)
    assert run_cli("merge", str(val_run), str(other), "--out", str(tmp_path / "out")) == 2
    error = capsys.readouterr().err
    assert "4 source videos or people would stand in more than one split" in error
    assert not (tmp_path / "out").exists() or not (tmp_path / "out/run.json").exists()


def move_split(out: Path, record: dict[str, Any]) -> None:
    """Say of a shard that it is of another split."""
    from forgeprep.shards.records import write_record

    clips = [{**clip, "split": "test"} for clip in record["clips"]]
    write_record(out, {**record, "split": "test", "clips": clips})


@pytest.mark.parametrize("sequences", [False, True])
def test_other_packing_changes_no_sample(sequences: bool, demo: Path, val_run: Path, tmp_path: Path) -> None:
    source = val_run
    if sequences:
        source = tmp_path / "sequences"
        run(demo, source, **{**VAL, "frames": "4", "sequence_length": 2, "methods": "Deepfakes", "shard_size": 2})
    good("reshard", source, "--shard-size", "1000", "--format", "webdataset", "--out", tmp_path / "tar")
    assert [path.suffix for path in shard_paths(tmp_path / "tar")] == [".tar"]
    good("reshard", tmp_path / "tar", "--shard-size", "1", "--format", "parquet", "--out", tmp_path / "back")
    assert len(shard_paths(tmp_path / "back")) == 2
    assert rows_of(tmp_path / "back") == rows_of(source)
    good("reshard", source, "--format", "parquet,webdataset", "--out", tmp_path / "both")
    for name in ("tar", "back", "both"):
        check(tmp_path / name)
    assert compare(tmp_path / "tar", tmp_path / "both").same


def test_dropped_samples_are_gone_and_other_shards_untouched(
    val_run: Path, copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = shard_paths(copy)
    ids = [row["sample_id"] for row in iter_rows(first, decode=False)][:2]
    (tmp_path / "worst.csv").write_text("\n".join(["rank,sample_id", *(f"1,{one}" for one in ids), "2,nobody"]))
    before = second.stat()
    good("drop", copy, "--samples", tmp_path / "worst.csv")
    assert "1 of them are not in" in capsys.readouterr().out
    assert (second.stat().st_ino, second.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert rows_of(copy).keys() == rows_of(val_run).keys() - set(ids)
    check(copy)
    assert left_out(copy) == {"samples": 2, "clips": 0, "drops": 0}
    good("drop", copy, "--samples", tmp_path / "worst.csv")
    assert "taken out already" in capsys.readouterr().out
    good("drop", val_run, "--samples", tmp_path / "worst.csv", "--out", tmp_path / "out")
    assert compare(copy, tmp_path / "out").same
    # A run of others takes stages, and no videos.
    good("add", copy, "--stages", "similarity", "--workers", "0")
    check(copy)
    assert [step["command"] for step in read_run(copy)["derived"]] == ["drop"]
    assert gather(copy).left_out == 2
    assert run_cli("inspect", str(copy)) == run_cli("report", str(copy)) == 0


@pytest.mark.parametrize("command", ["drop", "reshard"])
def test_a_change_in_place_that_dies_at_any_moment_goes_on(
    command: str, val_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = [row["sample_id"] for row in iter_rows(shard_paths(val_run)[0], ["sample_id"], decode=False)][:1]
    (tmp_path / "ids").write_text(ids[0])
    flags = {"drop": ["--samples", str(tmp_path / "ids")], "reshard": ["--shard-size", "1000"]}[command]
    quiet = Path(shutil.copytree(val_run, tmp_path / "quiet"))
    good(command, quiet, *flags)
    whole, turn, died = rows_of(val_run), {"drop": 0, "reshard": 1}[command], True
    while died:
        turn += 3
        out = Path(shutil.copytree(val_run, tmp_path / "out"))
        died = dying(functools.partial(run_cli, command, str(out), *flags), turn, monkeypatch)
        # Until the new run takes its place, the old one is whole; from then on, none is there.
        if (out / "run.json").is_file() and not (out / STAGED / "ready").is_file():
            assert rows_of(out).keys() in (whole.keys(), rows_of(quiet).keys())
        good(command, out, *flags)
        assert checksums(out) == checksums(quiet)
        assert not (out / STAGED).exists()
        shutil.rmtree(out)
    assert turn > 30
    check(quiet)
    capsys.readouterr()
