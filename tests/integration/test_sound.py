"""What is seen and what is heard: from the dataset's folders to shards, exports and what a training learns."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from forgeprep.errors import UsageError
from forgeprep.shards.read import iter_rows, shard_paths
from tests.conftest import LaidOut, run_cli
from tests.helpers.shards_run import make_run


def rows_of(out: Path) -> list[dict[str, Any]]:
    return [row for path in shard_paths(out) for row in iter_rows(path)]


@pytest.fixture(scope="module")
def heard(laid_out: LaidOut, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in which a forged sound makes a fake, in both formats."""
    out = tmp_path_factory.mktemp("heard") / "out"
    flags = ["--stages", "crop,mask", "--frames", "2", "--size", "64", "--format", "parquet,webdataset"]
    flags += ["--option", "sound-fakes=fake", "--workers", "0"]
    root = str(laid_out("fakeavceleb"))
    assert run_cli("run", "fakeavceleb", "--root", root, "--out", str(out), *flags) == 0
    return out


def test_a_forged_sound_makes_a_fake_with_an_empty_mask_if_that_is_wanted(
    heard: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_cli("verify", str(heard)) == 0
    assert run_cli("inspect", str(heard)) == 0
    assert "seen and heard" in capsys.readouterr().out
    kinds: dict[str, tuple[Any, ...]] = {
        "RealVideo-RealAudio": (0, 0, 0, "real", None, False),
        "RealVideo-FakeAudio": (1, 0, 1, "audio", "rtvc", False),
        "FakeVideo-RealAudio": (1, 1, 0, "identity_replaced", None, True),
        "FakeVideo-FakeAudio": (1, 1, 1, "identity_remained", "wav2lip", True),
    }
    seen: Counter[str] = Counter()
    for row in rows_of(heard):
        kind = row["clip_id"].split("/")[1]
        label, visual, audio, forgery, method, masked = kinds[kind]
        assert (row["label"], row["visual_label"], row["audio_label"], row["forgery"]) == (
            label,
            visual,
            audio,
            forgery,
        )
        assert method is None or row["method"] == method
        assert row["mask"].any() == masked
        assert (row["mask_source"] == "pristine") != masked
        seen[kind] += 1
    assert seen.keys() == kinds.keys()
    tars = [row for path in heard.glob("shards/*/*.tar") for row in iter_rows(path)]
    told = {row["sample_id"]: (row["visual_label"], row["audio_label"]) for row in tars}
    assert told == {row["sample_id"]: (row["visual_label"], row["audio_label"]) for row in rows_of(heard)}
    clips = pq.read_table(heard / "meta/clips.pq").to_pylist()
    assert {clip["clip_id"].split("/")[1]: (clip["visual_label"], clip["audio_label"]) for clip in clips} == {
        kind: facts[1:3] for kind, facts in kinds.items()
    }


def test_exports_say_what_is_heard(heard: Path, tmp_path: Path) -> None:
    assert run_cli("export", "imagefolder", str(heard), "--to", str(tmp_path / "pictures")) == 0
    with (tmp_path / "pictures/train/metadata.csv").open() as file:
        told = Counter((row["label"], row["visual_label"], row["audio_label"]) for row in csv.DictReader(file))
    assert told.keys() == {("0", "0", "0"), ("1", "0", "1"), ("1", "1", "0"), ("1", "1", "1")}


def test_a_training_learns_what_is_asked_for(heard: Path, tmp_path: Path, face_photo: Any) -> None:
    pytest.importorskip("torch")
    from forgeprep.training.data import Samples
    from forgeprep.training.sample_index import load_index

    truth = {row["sample_id"]: row for row in rows_of(heard)}
    for target in ("label", "visual_label", "audio_label"):
        index = load_index([heard], "train", target=target)
        samples = Samples(index).read(range(len(index)))
        assert len(index) == sum(row["split"] == "train" for row in truth.values())
        assert [row["label"] for row in samples] == [truth[row["sample_id"]][target] for row in samples]
        assert index.label.tolist() == [row["label"] for row in samples]
        assert all((row["method"] is None) == (row["forgery"] == "real") == (row["label"] == 0) for row in samples)
        assert [index.methods[number] for number in index.method] == [row["method"] for row in samples]
    out = make_run(tmp_path / "silent", face_photo)
    with pytest.raises(UsageError, match="of no sample of the split 'train' the audio_label is known"):
        load_index([out], "train", target="audio_label")


def test_a_sound_of_a_manifest(laid_out: LaidOut, tmp_path: Path) -> None:
    source = laid_out("fakeavceleb")
    real, voice = (next(source.glob(f"RealVideo-{kind}Audio/*/*/*/*.mp4")) for kind in ("Real", "Fake"))
    root = tmp_path / "in"
    root.mkdir()
    (root / "real.mp4").write_bytes(real.read_bytes())
    (root / "voice.mp4").write_bytes(voice.read_bytes())
    lines = ["path,label,original,method,forgery,split,audio_label", "real.mp4,0,,,,train,0"]
    (root / "manifest.csv").write_text("\n".join([*lines, "voice.mp4,1,real.mp4,clone,audio,train,"]) + "\n")
    flags = ("--frames", "2", "--stages", "crop,mask", "--size", "64", "--workers", "0", "--out", str(tmp_path / "out"))
    assert run_cli("run", "manifest", "--root", str(root), *flags) == 0
    assert run_cli("verify", str(tmp_path / "out")) == 0
    told = [(row["label"], row["visual_label"], row["audio_label"]) for row in rows_of(tmp_path / "out")]
    assert told == [(0, 0, 0)] * 2 + [(1, 0, 1)] * 2
