"""A run takes in what is new, and no byte of what it holds already changes."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from forgeprep.errors import ConfigMismatch, UsageError
from forgeprep.export.run import ask
from forgeprep.pipeline.configure import make_config, shard_keys
from forgeprep.pipeline.run import Result, execute, prepare_run
from forgeprep.report.compare import compare
from forgeprep.report.status import gather
from forgeprep.shards.records import iter_records, read_record, write_record
from forgeprep.shards.verify import verify
from tests.conftest import LaidOut, run_cli
from tests.helpers.runs import VAL, checksums
from tests.helpers.shards_run import dying

GIVEN: dict[str, Any] = {"stages": "crop,mask", "frames": "2", "splits": "val", "shard_size": 4}
REALS, FAKES = "original_sequences/youtube/{}/videos", "manipulated_sequences/{}/{}/videos"


def add_pair(demo: Path, root: Path, *names: str, methods: tuple[str, ...] = ("Deepfakes",), kind: str = "c23") -> None:
    """Copy originals (071) and fakes (071_054) of the demo into a dataset."""
    for name in names:
        for folder in [FAKES.format(method, kind) for method in methods] if "_" in name else [REALS.format(kind)]:
            (root / folder).mkdir(parents=True, exist_ok=True)
            shutil.copy(demo / folder / f"{name}.mp4", root / folder)


def grow(root: Path, out: Path, *, keep_removed: bool = False, **more: Any) -> tuple[Result, str]:
    prepared = prepare_run(make_config("ffpp", {**GIVEN, **more}), root, out, update=True, keep_removed=keep_removed)
    return execute(prepared, workers=0, report=lambda *_: None), prepared.told or ""


def shards(out: Path) -> dict[str, str]:
    return {name: digest for name, digest in checksums(out).items() if name.startswith("shards/")}


def test_new_clips_methods_and_compressions_are_added_and_old_shards_stay(
    demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = tmp_path / "ffpp", tmp_path / "out"
    add_pair(demo, root, "720", "720_672")
    assert grow(root, out)[1] == ""
    first = shards(out)
    # A fake of an old original, a new original with its fakes, and another compression.
    add_pair(demo, root, "720_672", methods=("NeuralTextures",))
    add_pair(demo, root, "672", "672_720", methods=("Deepfakes", "NeuralTextures"))
    words = ["run", "ffpp", "--root", str(root), "--out", str(out), "--workers", "0"]
    words += [part for name, value in GIVEN.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    assert run_cli(*words) == 2
    assert "4 new clips (e.g. ffpp/c23/Deepfakes/672_720)); --update makes what is new" in capsys.readouterr().err
    assert shards(out) == first
    result, told = grow(root, out)
    assert told.endswith("2 new shards, 0 made again, 1 kept as they are")
    assert len(result.kept) == 1
    add_pair(demo, root, "720", "720_672", kind="c40")
    # The refusal counts what the update then plans: of what the run asked for before, too.
    (missed := root / FAKES.format("NeuralTextures", "c23") / "672_720.mp4").rename(tmp_path / "held.mp4")
    told = "2 new clips (e.g. ffpp/c40/Deepfakes/720_672), 1 removed clip (e.g. ffpp/c23/NeuralTextures/672_720)"
    with pytest.raises(ConfigMismatch, match=re.escape(told)):
        prepare_run(make_config("ffpp", {**GIVEN, "compression": "c40"}), root, out)
    (tmp_path / "held.mp4").rename(missed)
    update = prepare_run(make_config("ffpp", {**GIVEN, "compression": "c40"}), root, out, update=True)
    with pytest.raises(UsageError, match="the run is not finished"):
        ask(out, "pictures")
    assert "2 new clips" in (update.told or "")
    execute(update, workers=0, report=lambda *_: None)
    assert first.items() <= shards(out).items()
    assert verify(out) == []
    fresh = prepare_run(make_config("ffpp", {**GIVEN, "compression": "c23,c40"}), root, tmp_path / "fresh")
    execute(fresh, workers=0, report=lambda *_: None)
    found = compare(out, tmp_path / "fresh")
    assert (found.same, found.common, found.settings) == (True, 16, [])
    # As a run of all of it from the start, it goes on without --update.
    assert prepare_run(fresh.config, root, out).fingerprint == fresh.fingerprint
    assert grow(root, out)[1].startswith("update: no clip is new or changed; the plan of")
    with pytest.raises(ConfigMismatch, match="size: not given -> 96"):
        grow(root, out, size=96)


def test_what_is_removed_or_changed_is_made_again_or_kept(demo: Path, tmp_path: Path) -> None:
    root, out = tmp_path / "ffpp", tmp_path / "out"
    add_pair(demo, root, "720", "720_672", "672", "672_720")
    grow(root, out)
    before = shards(out)
    assert len(before) == 2
    gone = root / FAKES.format("Deepfakes", "c23") / "672_720.mp4"
    gone.rename(tmp_path / "held.mp4")
    kept, told = grow(root, out, keep_removed=True)
    assert (kept.made, shards(out)) == ([], before)
    assert told.startswith("update: 1 removed clip (e.g. ffpp/c23/Deepfakes/672_720)")
    # An original that is another file now takes its fakes along, which are no longer there.
    changed = root / REALS.format("c23") / "672.mp4"
    shutil.copy(demo / REALS.format("c40") / "672.mp4", changed)
    with pytest.raises(UsageError, match="1 of its clips are gone"):
        grow(root, out, keep_removed=True)
    result, told = grow(root, out)
    assert "1 changed clip (e.g. ffpp/c23/youtube/672), 1 removed clip" in told
    assert len(result.made) == len(result.kept) == 1
    changed.unlink()
    assert grow(root, out)[1].endswith("0 new shards, 0 made again, 1 kept as they are, 1 taken away")
    assert shards(out).items() < before.items()
    assert verify(out) == []
    # A fake comes before its original, which then joins it.
    (tmp_path / "held.mp4").rename(gone)
    grow(root, out)
    shutil.copy(demo / REALS.format("c23") / "672.mp4", changed)
    assert "1 new clip" in grow(root, out)[1]
    assert sorted(shards(out).values()) == sorted(before.values()) or compare_to_fresh(root, out, tmp_path)


def compare_to_fresh(root: Path, out: Path, tmp_path: Path) -> bool:
    execute(prepare_run(make_config("ffpp", GIVEN), root, tmp_path / "new"), workers=0, report=lambda *_: None)
    return compare(out, tmp_path / "new").same


def test_old_sources_keep_their_split_when_new_ones_come(laid_out: LaidOut, tmp_path: Path) -> None:
    root, out = laid_out("folder", to=tmp_path / "mine"), tmp_path / "out"
    given = {"stages": "crop", "frames": "1", "detector": "whole", "shard_size": 3}
    for part in ("masks", "fake/Face2Face", "fake/FaceSwap", "fake/NeuralTextures"):
        shutil.rmtree(root / part)
    held = [path for path in root.rglob("*.mp4") if "071" in path.stem or "054" in path.stem]
    assert len(held) == 4
    for path in held:
        path.rename(tmp_path / path.name)
    execute(prepare_run(make_config("folder", given), root, out), workers=0, report=lambda *_: None)
    before, splits = shards(out), splits_of(out)
    for path in held:
        (tmp_path / path.name).rename(path)
    grown = prepare_run(make_config("folder", given), root, out, update=True)
    execute(grown, workers=0, report=lambda *_: None)
    after = splits_of(out)
    assert {name: after[name] for name in splits} == splits
    assert len(after) == len(splits) + 4
    assert before.items() < shards(out).items()
    assert verify(out) == []


def test_shards_whose_keys_told_the_selection_too_are_kept(demo: Path, val_run: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(val_run, tmp_path / "out"))
    prepared = prepare_run(make_config("ffpp", VAL), demo, out)
    for brief in prepared.shards:
        record = read_record(out, brief.name)
        assert record is not None
        now, before = shard_keys(prepared.settings, brief.name, brief.inputs)
        assert record["key"] == now
        write_record(out, {**record, "key": before})
    result = execute(prepare_run(make_config("ffpp", VAL), demo, out), workers=0, report=lambda *_: None)
    assert (len(result.kept), result.made) == (2, [])
    assert gather(out).state == "finished"


def splits_of(out: Path) -> dict[str, str]:
    return {clip["clip_id"]: clip["split"] for _, r in iter_records(out) if r is not None for clip in r["clips"]}


def test_an_update_that_dies_at_any_moment_goes_on(demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "ffpp"
    add_pair(demo, root, "720", "720_672", "672", "672_720")
    whole = tmp_path / "whole"
    grow(root, whole)
    (root / FAKES.format("Deepfakes", "c23") / "672_720.mp4").unlink()
    add_pair(demo, root, "720_672", methods=("NeuralTextures",))
    quiet = Path(shutil.copytree(whole, tmp_path / "quiet"))
    grow(root, quiet)
    given = make_config("ffpp", GIVEN)

    def claim(out: Path) -> Callable[[], object]:
        return lambda: prepare_run(given, root, out, update=True)

    for turn in range(1, 20):
        out = Path(shutil.copytree(whole, tmp_path / f"died{turn}"))
        died = dying(claim(out), turn, monkeypatch)
        prepared = prepare_run(given, root, out, update=True)
        assert [brief.inputs for brief in prepared.shards] == [b.inputs for b in prepare_run(given, root, quiet).shards]
        if not died:
            break
    assert turn > 4
    execute(prepared, workers=0, report=lambda *_: None)
    assert checksums(out) == checksums(quiet)


@pytest.mark.parametrize(
    ("changed", "column", "value"),
    [
        ("f.mp4,1,r.mp4,y,train", "method", "y"),
        ("f.mp4,0,,,train", "label", 0),
        ("f.mp4,1,s.mp4,x,train", "original_id", "manifest/s"),
    ],
)
def test_what_a_list_says_of_the_same_files_may_not_change_unseen(
    changed: str, column: str, value: object, demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    root.mkdir()
    for name, stem in (("r", "720"), ("s", "672")):
        shutil.copy(demo / REALS.format("c23") / f"{stem}.mp4", root / f"{name}.mp4")
    shutil.copy(demo / FAKES.format("Deepfakes", "c23") / "720_672.mp4", root / "f.mp4")
    head = "path,label,original,method,split\nr.mp4,0,,,train\ns.mp4,0,,,train\n"
    words = ["run", "manifest", "--root", str(root), "--out", str(out), "--stages", "crop", "--frames", "2"]
    for line, flags, code in (
        ("f.mp4,1,r.mp4,x,train", [], 0),
        ("f.mp4,1,r.mp4,x,train", [], 0),
        (changed, [], 2),
        (changed, ["--overwrite"], 0),
    ):
        (root / "manifest.csv").write_text(f"{head}{line}\n")
        assert run_cli(*words, "--workers", "0", *flags) == code
    assert "(the dataset has changed since: 1 changed clip (e.g. manifest/f))" in capsys.readouterr().err
    (clip,) = (one for one in pq.read_table(out / "meta/clips.pq").to_pylist() if one["clip_id"] == "manifest/f")
    assert clip[column] == value
