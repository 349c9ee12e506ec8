"""``evaluate`` and ``score`` as a user runs them: the same figures from the scores that are written, and no torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from forgeprep.training.evaluation.document import evaluation_parts, markdown
from forgeprep.training.evaluation.evaluate import find_verdicts
from forgeprep.training.evaluation.perturbed import changing
from forgeprep.training.evaluation.truth import ClipFacts, clip_facts
from forgeprep.training.inference.loaded import LoadedModel, load_model
from forgeprep.training.reproduce.plan import holdings
from forgeprep.training.run_folder import read_config
from forgeprep.training.sample_index import SampleIndex, load_index
from forgeprep.training.seen import _names, note_sources, seen, seen_line
from tests.conftest import made_once, read_picture, run_cli


@pytest.fixture(scope="module")
def noisy(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shards of ``prepared``, of one method, with crops that are changed at one severity."""

    def make(folder: Path) -> None:
        flags = [
            "--boxes-from",
            "own",
            "--stages",
            "crop,mask,perturb",
            "--perturb",
            "gaussian-noise:4",
            "--methods",
            "Deepfakes",
        ]
        where = ["--root", str(demo), "--out", str(folder / "noisy"), "--frames", "6", "--size", "96", "--workers", "0"]
        assert run_cli("run", "ffpp", *where, *flags) == 0

    return made_once(tmp_path_factory, "noisy", make) / "noisy"


@pytest.fixture(scope="module")
def evaluated(trained: Path, prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clean samples of train, which has the most people, judged also after perturbing them."""
    to = tmp_path_factory.mktemp("evaluated") / "to"
    flags = ["--split", "train", "--gpus", "0", "--bootstrap", "60", "--perturb", "jpeg:1", "--perturb-samples", "9"]
    assert run_cli("evaluate", str(trained), "--shards", str(prepared), "--to", str(to), *flags) == 0
    return to


def sets_of(folder: Path) -> dict[str, Any]:
    [found] = json.loads((folder / "evaluation.json").read_text())
    return dict(found["sets"])


def test_figures_on_what_a_training_has_seen_say_so(
    evaluated: Path, trained: Path, prepared: Path, tmp_path: Path
) -> None:
    [found] = sets_of(evaluated).values()
    sources = found["seen"]["sources"]
    assert found["seen"].items() >= {"train": sources, "val": 0}.items()
    told = f"{sources} of {sources} sources were in this training"
    assert told in (evaluated / "evaluation.md").read_text()
    config = read_config(trained)
    val, test = (list(clip_facts(prepared, split)[0].values()) for split in ("val", "test"))
    assert (seen(trained, config, val) or {}).items() >= {"train": 0, "val": len({one.group for one in val})}.items()
    # A training of an earlier version has no list: its shards tell, while they are there.
    unlisted = {name: seen(tmp_path, config, clips) for name, clips in (("val", val), ("test", test))}
    assert unlisted == {"val": seen(trained, config, val), "test": seen(trained, config, test)}
    assert seen_line(unlisted["test"]).startswith("0 of ")
    gone = {**config, "shards": [str(tmp_path / "gone")]}
    assert seen(tmp_path, gone, test) is None
    note_sources(tmp_path, {**config, "shards": [], "init": str(trained)})
    assert seen(tmp_path, gone, val) == unlisted["val"]  # It began from one that knows them.
    # Two people's folders may each have a real/1, of another size.
    ours, theirs = (ClipFacts("folder/real/1", size=size) for size in (5, 6))
    assert _names([ours]) != _names([theirs])
    assert _names([ClipFacts("dfd/01", ("01",))])["people"].isdisjoint(_names([ClipFacts("ffpp/1", ("01",))])["people"])


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_score_gives_the_figures_of_evaluate(suffix: str, evaluated: Path, prepared: Path, tmp_path: Path) -> None:
    file = evaluated / f"scores-fn3-c23.{suffix}"
    flags = ["--shards", str(prepared), "--bootstrap", "60", "--to", str(tmp_path / "to")]
    assert run_cli("score", str(file), *flags) == 0
    [ours], [theirs] = sets_of(evaluated).values(), sets_of(tmp_path / "to").values()
    for part in (
        "frames",
        "clips",
        "undefined",
        "intervals",
        "operating",
        "calibration",
        "absent",
        "lost",
        "curve",
        "seen",
    ):
        assert theirs[part] == ours[part], part
    for method, figures in theirs["methods"].items():
        assert figures.items() <= ours["methods"][method].items()
    clips = evaluated / f"scores-fn3-c23-clips.{suffix}"
    assert run_cli("score", str(clips), *flags[:-1], str(tmp_path / "clips")) == 0
    [of_clips] = sets_of(tmp_path / "clips").values()
    assert of_clips["clips"] == ours["clips"]
    assert of_clips["operating"] == {"clips": ours["operating"]["clips"]}


def test_what_is_written_names_model_and_data_and_is_drawn(evaluated: Path) -> None:
    table = pq.read_table(evaluated / "scores-fn3-c23.parquet")
    facts = json.loads(table.schema.metadata[b"forgeprep"])
    assert (facts["model"], facts["split"], facts["level"], facts["score"]) == (
        "fn3-seg", "train", "sample", "mean of a map",
    )  # fmt: skip
    assert (len(facts["checkpoint"]), len(facts["data"])) == (64, 64)
    assert table.column_names[:3] == ["id", "score", "status"]
    assert set(table["status"].to_pylist()) == {"ok"}
    text = (evaluated / "scores-fn3-c23.csv").read_text().splitlines()
    assert f'# checkpoint: "{facts["checkpoint"]}"' in text
    assert read_picture(evaluated / "robustness.png").std() > 5
    [found] = sets_of(evaluated).values()
    assert found["calibration"]["frames"] == {"undefined": "the score is the mean of a map, not a probability"}


def test_perturbing_on_the_way_gives_what_perturbed_shards_give(
    trained: Path, prepared: Path, noisy: Path, evaluated: Path, tmp_path: Path
) -> None:
    flags = ["--split", "train", "--gpus", "0", "--bootstrap", "0"]
    shards = ["--shards", str(noisy), "--shards", str(prepared)]
    assert run_cli("evaluate", str(trained), *shards, "--to", str(tmp_path / "to"), *flags) == 0
    [one] = json.loads((tmp_path / "to" / "evaluation.json").read_text())
    [row] = one["robustness"]["rows"]
    assert (row["perturbation"], row["severity"], one["robustness"]["unpaired"]) == ("gaussian-noise", 4, 0)
    assert "intervals" not in (tmp_path / "to" / "evaluation.md").read_text().lower()
    # No paper speaks of perturbed samples: its figures stand beside the clean ones alone.
    parts = {name: markdown(evaluation_parts([{**one, "model": "two-stream", "sets": {name: found}}]))
             for name, found in one["sets"].items()}  # fmt: skip
    assert {name: "Published, c23, frames" in text for name, text in parts.items()} == {
        str(noisy): False, str(prepared): True,
    }  # fmt: skip
    # Nor does one of a training that knew some of the fakes alone.
    some = {**one, "model": "two-stream", "learned": ["Deepfakes"]}
    assert "Published" not in markdown(evaluation_parts([some]))
    assert (holdings(noisy, ["train"]), holdings(prepared, ["train"])) == (
        {("perturbed ffpp", "c23")}, {("ffpp", "c23")},
    )  # fmt: skip
    # The same by `score`, from the files.
    scores = {name: tmp_path / "to" / f"scores-fn3-{name}.csv" for name in ("c23", "noisy")}
    pair = ["--perturbed", f"{scores['noisy']}={noisy}", "--bootstrap", "0", "--to", str(tmp_path / "scored")]
    assert run_cli("score", str(scores["c23"]), "--shards", str(prepared), *pair) == 0
    [again] = json.loads((tmp_path / "scored" / "evaluation.json").read_text())
    assert again["robustness"] == one["robustness"]
    # On the way: the very scores of the samples that lie in the shards.
    loaded = load_model(trained, "cpu").with_workers(0)
    index, stored = (load_index([out], "train") for out in (prepared, noisy))
    kept = _scores(loaded, stored, None)
    assert kept == _scores(loaded, index, changing("gaussian-noise", 4))
    assert len(kept) == 24


def _scores(loaded: LoadedModel, index: SampleIndex, change: Any) -> dict[str, float]:
    """Of reals and of Deepfakes alone."""
    names = [number for number, name in enumerate(index.methods) if name in (None, "Deepfakes")]
    found = find_verdicts(loaded, index, numbers=np.flatnonzero(np.isin(index.method, names)), change=change)
    return {row["sample_id"]: score for row, score in zip(found.rows, found.scores.tolist(), strict=True)}


def test_score_needs_no_torch(evaluated: Path, prepared: Path, tmp_path: Path) -> None:
    code = (
        "import atexit, sys\n"
        "from forgeprep.cli import main\n"
        "atexit.register(lambda: print('torch' in sys.modules))\n"
        f"main(['score', {str(evaluated / 'scores-fn3-c23.csv')!r}, '--shards', {str(prepared)!r}, '--bootstrap', '9',"
        f" '--to', {str(tmp_path / 'to')!r}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "written to" in done.stdout
    assert done.stdout.splitlines()[-1] == "False"


def test_what_perturb_cannot_do_is_told(trained: Path, noisy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", str(trained), "--shards", str(noisy), "--split", "train", "--gpus", "0", "--perturb"]
    assert run_cli(*command, "mixed:0.5") == 2
    assert "--perturb mixed:0.5: give names of perturbations, or all" in capsys.readouterr().err
    protocol = ["--protocol", "cross-method", "--model", "fn3-seg", "--to", "x"]
    assert run_cli("evaluate", "--shards", str(noisy), *protocol, "--perturb", "jpeg") == 2
    assert "--perturb goes with trainings that are there" in capsys.readouterr().err
    assert run_cli(*command, "jpeg:9") == 2
    assert "unknown severity '9' of jpeg" in capsys.readouterr().err


def test_an_evaluation_with_other_options_takes_no_place_of_another(
    trained: Path, prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["evaluate", str(trained), "--shards", str(prepared), "--gpus", "0", "--workers", "0"]
    first = [*given, "--to", str(tmp_path / "one"), "--perturb", "jpeg:1", "--perturb-samples", "4", "--bootstrap", "0"]
    assert run_cli(*first) == 0
    assert run_cli(*given, "--to", str(tmp_path / "one")) == 2
    told = capsys.readouterr().err
    assert "bootstrap 0, perturb jpeg:1, perturb_samples 4; give another --to" in told
    assert run_cli(*first) == 0
    assert run_cli(*given, "--split", "validtion") == 2
    assert "unknown split 'validtion': did you mean 'val'?" in capsys.readouterr().err
