"""``evaluate --protocol``: the matrix, its marks, and that nothing done is done again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from forgeprep.training.evaluation.document import published_cross
from forgeprep.training.evaluation.tables import evaluate_run
from forgeprep.training.inference.loaded import load_model
from forgeprep.training.protocols import fill as cells_of
from forgeprep.training.protocols.crosstable import cross_markdown, document
from forgeprep.training.protocols.layout import PROTOCOLS, Plan, lay_out, slug
from forgeprep.training.recipe import make_recipe
from forgeprep.training.run_folder import Training
from forgeprep.training.trainer import Loop
from tests.conftest import UInt8, run_cli
from tests.helpers.shards_run import make_row, write_shard, write_tables

KINDS = {
    "Deepfakes": ("identity_replaced", "autoencoder"),
    "FaceSwap": ("identity_replaced", "graphics"),
    "NeuralTextures": ("identity_remained", None),
}
ALL = (None, *KINDS)
STAGES = ("crop",)
SETTINGS = ["size=32", "batch=4", "steps=3", "epochs=1", "workers=0", "save_every=1"]


def make_shards(
    out: Path, photo: UInt8, methods: Mapping[str, tuple[str | None, ...]] | None = None, dataset: str = "ffpp"
) -> Path:
    """Shards of two source groups a split, with a real (None) and these methods; the first real is darker."""
    records = []
    for split, source in (("train", 0), ("val", 10), ("test", 20)):
        rows = []
        for number in (source, source + 3):
            for method in (methods or {}).get(split, ALL):
                forgery, family = KINDS.get(method or "", ("real", None))
                for frame in (0, 12, 24):
                    row = make_row(photo, split, number, method, frame, 48)
                    kind = {"dataset": dataset, "forgery": forgery, "family": family}
                    names = {k: row[k].replace("ffpp", dataset, 1) for k in ("sample_id", "clip_id")}
                    image = 255 - row["image"] if method == "NeuralTextures" else row["image"]
                    rows.append({**row, **kind, **names, "image": image // (1 + number % 2)})
        records.append(write_shard(out, f"{split}/ffpp-{split}-00000", rows, formats=("parquet",), stages=STAGES))
    write_tables(out, records, STAGES)
    return out


@pytest.fixture(scope="module")
def shards(face_photo: UInt8, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shards(tmp_path_factory.mktemp("shards") / "ffpp", face_photo)


@pytest.fixture(scope="module")
def whole(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A matrix that was made in one go."""
    to = tmp_path_factory.mktemp("matrix") / "whole"
    assert evaluate("cross-method", to, shards) == 0
    return to


def evaluate(protocol: str, to: Path, *shards: Path, runs: tuple[Path, ...] = (), settings: Any = ()) -> int:
    flags = [part for out in shards for part in ("--shards", str(out))]
    flags += [part for setting in (*SETTINGS, *settings) for part in ("--set", setting)]
    flags += ["--model", "fn3-cls", "--to", str(to), "--gpus", "0", "--workers", "0"]
    return run_cli("evaluate", *map(str, runs), "--protocol", protocol, *flags)


def matrix(to: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((to / "matrix.json").read_text())
    return found


def cell(to: Path, row: str, column: str) -> dict[str, Any]:
    (found,) = [c for c in matrix(to)["cells"] if (c["row"], c["column"]) == (row, column)]
    return dict(found)


def times(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_cells_are_what_each_training_gives_by_itself(whole: Path, shards: Path) -> None:
    found = matrix(whole)
    assert found["columns"] == [row["name"] for row in found["rows"]] == sorted(KINDS)
    assert len({c["auc"] for c in found["cells"]}) > 3
    for row in KINDS:
        run = whole / "trainings" / row
        assert json.loads((run / "config.json").read_text())["methods"] == [None, row]
        apart = evaluate_run(load_model(run, "cpu").with_workers(0), [shards])["sets"][str(shards)]["methods"]
        scores = pq.read_table(whole / "scores" / row / "ffpp.parquet").to_pylist()
        for column in KINDS:
            one = cell(whole, row, column)
            assert (one["auc"], one["clip_auc"]) == (apart[column]["auc"], apart[column]["clip_auc"])
            own = [sample for sample in scores if sample["method"] in (None, column)]
            assert (one["fakes"], one["reals"], one["clips"]) == (6, 6, 4)
            assert one["acc"] == np.mean([(sample["score"] > 0.5) == sample["label"] for sample in own])
        means = {m["over"]: m for m in found["averages"] if m["row"] == row}
        assert means["all"]["auc"] == pytest.approx(np.mean([cell(whole, row, name)["auc"] for name in KINDS]))
        others = [cell(whole, row, name)["auc"] for name in KINDS if name != row]
        assert means["others"]["auc"] == pytest.approx(np.mean(others))
    drawn = cv2.imread(str(whole / "matrix.png"))
    assert drawn.std() > 5


def test_an_interrupted_matrix_ends_as_one_made_in_one_go(
    whole: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(owner: Any, name: str, after: int) -> None:
        """Ctrl-C at a call of a function, once so many have gone well."""
        function, calls = getattr(owner, name), iter(range(after))

        def stopped(*args: Any, **kwargs: Any) -> Any:
            if next(calls, None) is None:
                raise KeyboardInterrupt
            return function(*args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(owner, name, stopped)
            assert evaluate("cross-method", to, shards) != 0

    to = tmp_path / "parts"
    interrupt(Loop, "step", 5)  # in the middle of the second training
    assert not (to / "matrix.json").exists()
    before = times(to / "trainings" / "Deepfakes")
    interrupt(cells_of, "find_verdicts", 0)  # before the second training is judged
    interrupt(cells_of, "clip_figures", 1)  # in the middle of its cells
    assert len(list((to / "cells" / "FaceSwap").iterdir())) == 1
    assert evaluate("cross-method", to, shards) == 0
    assert times(to / "trainings" / "Deepfakes") == before
    for name in ("matrix.json", "matrix.md"):
        assert (to / name).read_bytes() == (whole / name).read_bytes()
    assert (to / "matrix.json").read_bytes().count(b"null") < 40


def test_only_what_is_missing_is_made_again(whole: Path, shards: Path, tmp_path: Path) -> None:
    to = tmp_path / "copy"
    shutil.copytree(whole, to)
    gone, lost = to / "cells" / "Deepfakes" / "FaceSwap.json", to / "scores" / "FaceSwap" / "ffpp.parquet"
    before = times(to / "trainings") | times(to / "scores") | times(to / "cells")
    gone.unlink()
    lost.unlink()  # no cell is missing that needs it
    assert evaluate("cross-method", to, shards) == 0
    after = times(to / "trainings") | times(to / "scores") | times(to / "cells")
    assert {path for path in before if after.get(path) != before[path]} == {str(gone), str(lost)}
    assert gone.exists()
    assert not lost.exists()
    assert (to / "matrix.json").read_bytes() == (whole / "matrix.json").read_bytes()
    # With another checkpoint in a row's place, all its figures are of that one.
    shutil.copytree(to / "trainings" / "Deepfakes", to / "trainings" / "FaceSwap", dirs_exist_ok=True)
    shutil.copy(whole / "trainings" / "FaceSwap" / "config.json", to / "trainings" / "FaceSwap" / "config.json")
    assert evaluate("cross-method", to, shards) == 0
    for column in KINDS:
        assert cell(to, "FaceSwap", column)["auc"] == cell(whole, "Deepfakes", column)["auc"]
        assert cell(to, "Deepfakes", column) == cell(whole, "Deepfakes", column)


def test_trainings_that_are_there_are_taken(whole: Path, shards: Path, tmp_path: Path, capsys: Any) -> None:
    run = tmp_path / "mine"
    flags = [part for setting in SETTINGS for part in ("--set", setting)]
    command = ["train", "fn3-cls", "--shards", str(shards), "--run", str(run), *flags, "--gpus", "0"]
    assert run_cli(*command, "--methods", "FaceSwap") == 0
    before = times(run)
    only = ["methods=Deepfakes,FaceSwap"]
    assert evaluate("cross-generator", tmp_path / "to", shards, runs=(run,), settings=only) == 0
    assert times(run) == before
    assert [path.name for path in (tmp_path / "to" / "trainings").iterdir()] == ["Deepfakes"]
    assert cell(tmp_path / "to", "FaceSwap", "Deepfakes")["auc"] == cell(whole, "FaceSwap", "Deepfakes")["auc"]
    assert matrix(tmp_path / "to")["columns"] == ["Deepfakes", "FaceSwap"]
    capsys.readouterr()
    assert evaluate("cross-method", tmp_path / "no", shards, runs=(run,), settings=["seed=1"]) == 2
    assert "mine: fits no row; the nearest is FaceSwap (seed: " in capsys.readouterr().err


def test_empty_classes_are_marked_and_the_rest_is_printed(face_photo: UInt8, tmp_path: Path, capsys: Any) -> None:
    lacking = {"train": (None, "Deepfakes", "FaceSwap"), "test": (None, "Deepfakes", "NeuralTextures")}
    out, to = make_shards(tmp_path / "shards", face_photo, lacking), tmp_path / "to"
    (out / "meta/shards.pq").unlink()
    assert evaluate("cross-method", to, out) == 0
    marks = {(c["row"], c["column"]): c["mark"] for c in matrix(to)["cells"]}
    assert {marks["NeuralTextures", name] for name in KINDS} == {"not trained"}
    assert marks["Deepfakes", "FaceSwap"] == marks["FaceSwap", "FaceSwap"] == "no fakes"
    assert [key for key, mark in marks.items() if mark is None] == [
        (row, column) for row in ("Deepfakes", "FaceSwap") for column in ("Deepfakes", "NeuralTextures")
    ]
    assert cell(to, "Deepfakes", "FaceSwap")["auc"] is None
    text, printed = (to / "matrix.md").read_text(), capsys.readouterr().out
    for told in (text, printed):
        assert "NeuralTextures is not trained: no fakes in train." in told
        assert "*: the average leaves out cells without a figure." in told
    assert "| NeuralTextures | not trained | not trained | not trained | - | - |" in text
    first = next(line for line in text.splitlines() if line.startswith("| Deepfakes |"))
    assert first.split(" | ")[2] == "no fakes"
    assert first.split(" | ")[4].endswith("*")
    assert evaluate("cross-method", tmp_path / "few", out, settings=("batch=999",)) == 0
    assert {cell["mark"] for cell in matrix(tmp_path / "few")["cells"]} == {"not trained"}
    assert "FaceSwap is not trained: fewer samples than a batch of 999." in (tmp_path / "few/matrix.md").read_text()
    # A whole split of reals that is not there.
    fakes = make_shards(tmp_path / "fakes", face_photo, {"test": tuple(KINDS)})
    assert evaluate("cross-forgery", tmp_path / "no", fakes) == 0
    assert {c["mark"] for c in matrix(tmp_path / "no")["cells"]} == {"no reals"}


def test_classes_are_groups_of_methods(shards: Path, tmp_path: Path) -> None:
    assert evaluate("cross-forgery", tmp_path, shards) == 0
    classes = {"identity_remained": ["NeuralTextures"], "identity_replaced": ["Deepfakes", "FaceSwap"]}
    assert {row["name"]: row["fakes"] for row in matrix(tmp_path)["rows"]} == {
        k: 6 * len(v) for k, v in classes.items()
    }
    for name, methods in classes.items():
        config = json.loads((tmp_path / "trainings" / name / "config.json").read_text())
        assert config["methods"] == [None, *methods]
        assert {cell(tmp_path, row, name)["fakes"] for row in classes} == {6 * len(methods)}
    base = Training("fn3-cls", (shards,), tmp_path, make_recipe("fn3-cls", {}))
    rows = lay_out(Plan("cross-family", base)).rows
    # The family of NeuralTextures is not known here: it is of no class.
    assert [(row.name, row.training.kind, row.fakes, row.reals) for row in rows] == [
        (name, ("family", name), 6, 6) for name in ("autoencoder", "graphics")
    ]


def test_datasets_are_crossed_and_others_can_be_added(face_photo: UInt8, shards: Path, tmp_path: Path) -> None:
    celeb = make_shards(tmp_path / "a" / "shards", face_photo, {"train": (None, "Deepfakes")}, "celebdf-v2")
    to = tmp_path / "to"
    assert evaluate("cross-dataset", to, shards, celeb) == 0
    assert matrix(to)["columns"] == ["ffpp", "celebdf-v2"]
    assert [row["fakes"] for row in matrix(to)["rows"]] == [18, 6]
    apart = evaluate_run(load_model(to / "trainings" / "ffpp", "cpu").with_workers(0), [celeb])["sets"][str(celeb)]
    assert cell(to, "ffpp", "celebdf-v2")["auc"] == apart["frames"]["auc"]
    assert "average" in (to / "matrix.md").read_text()
    before = times(to / "trainings") | times(to / "cells")
    third = make_shards(tmp_path / "third", face_photo, {"train": (None,)}, "dfdc")
    assert evaluate("cross-dataset", to, shards, celeb, third) == 0
    after = times(to / "trainings") | times(to / "cells")
    assert before.items() <= after.items()
    assert [row["mark"] for row in matrix(to)["rows"]] == [None, None, "no fakes in train"]
    assert [c["mark"] for c in matrix(to)["cells"]] == [None] * 6 + ["not trained"] * 3
    # Of one dataset, the folders tell the sets apart; of one name, the paths do.
    recipe = make_recipe("fn3-cls", {})
    for first, names in ((shards, {"ffpp", "other"}), (tmp_path / "b" / "other", None)):
        if not first.exists():
            shutil.copytree(shards, first)
        shutil.copytree(shards, tmp_path / "other", dirs_exist_ok=True)
        base = Training("fn3-cls", (first, tmp_path / "other"), to, recipe)
        assert set(lay_out(Plan("cross-dataset", base)).classes) == (names or {str(first), str(tmp_path / "other")})


def test_methods_of_one_dataset_leave_the_others_their_own(face_photo: UInt8, shards: Path, tmp_path: Path) -> None:
    own: dict[str, tuple[str | None, ...]] = dict.fromkeys(("train", "val", "test"), (None, "NeuralTextures"))
    other = make_shards(tmp_path / "other", face_photo, own, "celebdf-v2")
    base = Training("fn3-cls", (shards, other), tmp_path, make_recipe("fn3-cls", {"methods": "Deepfakes,FaceSwap"}))
    layout = lay_out(Plan("cross-dataset", base))
    assert layout.methods == {"ffpp": ("Deepfakes", "FaceSwap"), "celebdf-v2": None}
    assert {row.name: (row.mark, row.fakes, row.training.recipe.methods) for row in layout.rows} == {
        "ffpp": (None, 12, ("Deepfakes", "FaceSwap")),
        "celebdf-v2": (None, 6, None),
    }


def test_the_papers_matrix_stands_beside_ours(whole: Path, shards: Path) -> None:
    layout = lay_out(Plan("cross-method", Training("fn3-cls", (shards,), whole, make_recipe("fn3-cls", {}))))
    assert document(layout, matrix(whole)["cells"])["published"] == {}
    base = replace(layout.plan.base, model="local-similarity")
    found = document(replace(layout, plan=replace(layout.plan, base=base)), matrix(whole)["cells"])
    text = cross_markdown(found)
    assert "Published AUC of local-similarity (of the paper's samples, not of these):" in text
    assert "| FaceSwap | 70.24 | 99.65 | 54.82 | 73.85 |" in text
    for row in published_cross("cross-method", "local-similarity", ["ffpp"]).values():
        average = row.pop("average")
        assert average == pytest.approx(np.mean(list(row.values())), abs=0.006)


def test_what_cannot_be_crossed_is_told_in_one_line(
    whole: Path, shards: Path, face_photo: UInt8, tmp_path: Path, capsys: Any
) -> None:
    def says(message: str, *command: str) -> None:
        assert run_cli("evaluate", *command) == 2
        error = capsys.readouterr().err.strip()
        assert len(error.splitlines()) == 1
        assert message in error

    own, to = ["--shards", str(shards)], ["--to", str(tmp_path / "to")]
    model, cross = ["--model", "fn3-cls"], ["--protocol", "cross-method"]
    says("give folders of trainings, or --protocol", *own)
    says("go with --protocol alone", str(tmp_path), *own, "--set", "lr=1")
    says("--protocol cross-method: give --model too", *own, *cross, *to)
    says("--protocol cross-method: give --to too", *own, *cross, *model)
    says(
        "unknown benchmark protocol 'cross-metod': did you mean 'cross-method'?",
        *own,
        "--protocol",
        "cross-metod",
        *model,
        *to,
    )
    says("unknown model 'fn3': did you mean 'fn3-", *own, *cross, "--model", "fn3", *to)
    says("takes two sets of shards at least", *own, "--protocol", "cross-dataset", *model, *to)
    says("given twice with --shards", *own, *own, *cross, *model, *to)
    says("holds no shards; give the --out folder", "--shards", str(tmp_path), *cross, *model, *to)
    says("unknown split 'holdout'", *own, *cross, *model, *to, "--split", "holdout")
    says(
        "two classes of fakes at least; with --set methods, the shards hold only FaceSwap",
        *own,
        *cross,
        *model,
        *to,
        "--set",
        "methods=FaceSwap",
    )
    says("unknown method 'FaceSwop'", *own, *cross, *model, *to, "--set", "methods=FaceSwop,Deepfakes")
    says("has no column 'mask'; make the shards with --stages", *own, *cross, "--model", "fn3-seg", *to)
    says("holds another matrix (size: ", *own, *cross, *model, "--to", str(whole))
    reals = make_shards(tmp_path / "reals", face_photo, {"val": (None,)})
    says("no row can be trained (Deepfakes: no fakes in val; ", "--shards", str(reals), *cross, *model, *to)
    assert not (tmp_path / "to").exists()
    copy = tmp_path / "copy"
    shutil.copytree(whole, copy)
    changed = json.loads((copy / "protocol.json").read_text())
    changed["fingerprints"][str(shards)] = "0" * 64
    (copy / "protocol.json").write_text(json.dumps(changed))
    assert evaluate("cross-method", copy, shards) == 2
    assert "has been made again since; give another --to" in capsys.readouterr().err


def test_names_of_files_are_distinct_and_stay_in_their_folder() -> None:
    names = ["a/b", "a%2Fb", "..", ".", "%2E.", "a b", "a.b", "FaceForensics++", "ä"]
    slugs = [slug(name) for name in names]
    assert len(set(slugs)) == len(names)
    assert not any("/" in text or text.startswith(".") for text in slugs)
    assert slug("FaceForensics++") == "FaceForensics++"
    assert set(PROTOCOLS.values()) == {"method", "family", "forgery", None}
