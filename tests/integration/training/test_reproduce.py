"""``reproduce``: a quick cell of each kind of table, what stands beside it, and that nothing done is done again."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
import typer
from torch import nn

from forgeprep.commands.run import app as run_app
from forgeprep.demo.relayout import LAYOUTS
from forgeprep.errors import UsageError
from forgeprep.io.lock import locked
from forgeprep.pipeline.configure import make_config
from forgeprep.training import image_task
from forgeprep.training.evaluation.explain import draw_similarity, grad_cam
from forgeprep.training.inference.loaded import load_model
from forgeprep.training.models import get_model, model_names
from forgeprep.training.reproduce.plan import (
    Asked,
    cells_of,
    check_models,
    commands_for,
    holdings,
    own_of,
    trainings_of,
    unfolded,
    with_model,
)
from forgeprep.training.reproduce.quick import SETTINGS, quick_shards
from forgeprep.training.reproduce.table import get_table, tables
from tests.conftest import LaidOut, run_cli

TINY = ("--quick", "--gpus", "0", "--workers", "0", "--set", "steps=2", "--set", "batch=2")


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_task, "MAX_VAL", 4)


@pytest.fixture(scope="module")
def forgerynet(laid_out: LaidOut, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``--quick`` finds of ForgeryNet: the demo in its layout, and the shards that two tables share."""
    folder = tmp_path_factory.mktemp("forgerynet")
    for name in ("demo", "shards"):
        (folder / name).mkdir()
    (folder / "demo" / "forgerynet").symlink_to(laid_out("forgerynet"))
    return folder


def made(to: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((to / "table.json").read_text())
    return found


def cells(found: dict[str, Any], row: str, block: int = 0) -> dict[str, dict[str, Any]]:
    [line] = [line["cells"] for line in found["blocks"][block]["rows"] if line["row"] == row]
    return dict(zip(found["blocks"][block]["columns"], line, strict=True))


def times(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_a_table_has_seeds_published_figures_and_goes_on(
    prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["reproduce", "pixel-level", "1", "--shards", str(prepared), "--to", str(tmp_path), *TINY]
    assert run_cli(*command, "--only", "fn3/DF") == 0
    first = cells(made(tmp_path), "FN3")["DF"]
    assert len(first["values"]) == 1
    # A quick training keeps its weights once, and nothing of the optimizer.
    assert len(list((tmp_path / "trainings").rglob("*.safetensors"))) == 1
    before = times(tmp_path / "trainings")
    assert run_cli(*command, "--only", "FN3", "--seeds", "2") == 0
    assert before.items() <= times(tmp_path / "trainings").items()
    found = made(tmp_path)
    own = cells(found, "FN3")
    assert own["DF"]["values"][0] == first["values"][0] == pytest.approx(2 * own["DF"]["mean"] - own["DF"]["values"][1])
    assert own["DF"]["deviation"] == pytest.approx(abs(own["DF"]["values"][0] - own["DF"]["values"][1]) / 2**0.5)
    assert (own["NT"]["published"], own["average"]["published"]) == (64.42, 87.78)
    means = [own[name]["values"][0] for name in ("DF", "F2F", "FS", "NT", "P")]
    assert own["average"]["values"][0] == pytest.approx(sum(means) / 5)
    # Pristine pictures have no forged pixels: Fg-IoU is a mean of four columns.
    region = cells(found, "FN3", block=2)
    assert (region["P"]["mark"], region["average"]["partial"]) == ("undefined", False)
    assert cells(found, "Xception")["DF"]["mark"] == "not made yet"
    text = (tmp_path / "table.md").read_text()
    assert "QUICK" in text.splitlines()[0]
    assert "not comparable" in text
    assert "From random weights, for no --weights xception=FILE was given: Xception." in text
    assert f"±{100 * own['DF']['deviation']:.2f} (92.68) |" in text
    assert cv2.imread(str(tmp_path / "table.png")).std() > 5
    before = times(tmp_path / "trainings") | times(tmp_path / "figures")
    printed = capsys.readouterr().out
    assert f"±{100 * own['DF']['deviation']:.2f} (92.68)" in printed  # No figure and no row's name is cut off.
    assert {"Xception", "VGG5"} <= {line.split()[0] for line in printed.splitlines() if line.strip()}
    assert run_cli(*command, "--only", "FN3", "--seeds", "2") == 0
    assert times(tmp_path / "trainings") | times(tmp_path / "figures") == before
    assert "training in" not in capsys.readouterr().out
    assert run_cli(*command, "--only", "FN3", "--dry-run") == 0
    assert "trained" in capsys.readouterr().out
    # Figures are of a checkpoint: those of another one are made again. A folder is of one table.
    (judged,) = (tmp_path / "figures").glob("fn3*seed0/*.json")
    judged.write_text(judged.read_text().replace('"checkpoint": "', '"checkpoint": "0'))
    assert run_cli(*command, "--only", "FN3", "--seeds", "2") == 0
    assert cells(made(tmp_path), "FN3") == own
    command[2] = "2"
    assert run_cli(*command) == 2
    assert "holds pixel-level 1 --quick; give another --to" in capsys.readouterr().err

    # What it looks at: trainings side by side, and their features in the plane.
    runs = [str(run) for run in sorted((tmp_path / "trainings").glob("fn3*seed0"))]
    flags = ["--figures", "--gpus", "0", "--workers", "0", "--to", str(tmp_path / "evaluated")]
    assert run_cli("evaluate", *runs, "--shards", str(prepared), *flags) == 0
    drawn = {file.name.partition("-")[0]: cv2.imread(str(file)) for file in (tmp_path / "evaluated").glob("*-*.png")}
    assert {"side", "features"} <= drawn.keys()
    assert "similarity" not in drawn
    assert all(picture.std() > 5 for picture in drawn.values())


def test_grad_cam_shows_what_speaks_for_a_fake() -> None:
    class Net(nn.Module):
        def __init__(self, sign: float) -> None:
            super().__init__()
            self.conv, self.sign = nn.Conv2d(3, 8, 1, bias=False), sign
            nn.init.ones_(self.conv.weight)

        def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"logit": self.sign * self.conv(image).mean(dim=(1, 2, 3))}

    image = torch.zeros(1, 3, 16, 16)
    image[..., 4:8, 8:12] = 1
    found = grad_cam(Net(1.0), image)
    assert torch.equal(found[0, 0] > 0.5, image[0, 0] > 0.5)
    assert float(grad_cam(Net(-1.0), image).max()) == 0
    with pytest.raises(UsageError, match="Grad-CAM needs a convolution"):
        grad_cam(_Flat(), image)


class _Flat(nn.Module):
    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logit": image.mean(dim=(1, 2, 3))}


@pytest.mark.parametrize(
    ("table", "flags", "row", "column", "published"),
    [
        pytest.param(*("pixel-level 4", ("--only", "VGG5*"), "VGG5 scratch", "average", 92.37), marks=pytest.mark.long),
        pytest.param(*("two-stream VII", ("--only", "semantic"), "semantic", "AUC", 86.87), marks=pytest.mark.long),
        pytest.param(
            *("local-similarity III", ("--only", "FaceSwap/Face2Face"), "FaceSwap", "Face2Face", 70.67),
            marks=pytest.mark.long,
        ),
        ("genface cross-generator", ("--only", "Deepfakes"), "Deepfakes", "FaceSwap", None),
        ("forgerynet image", (), "Xception", "AUC", None),
        ("forgerynet cross-forgery", ("--model", "fn3-cls"), "ID-remained", "ID-replaced", None),
        pytest.param(*("forgerynet video", (), "SlowFast-R50", "ACC", 88.78), marks=pytest.mark.long),
        ("forgerynet temporal", ("--model", "fn3-cls"), "fn3-cls", "AR@5", None),
    ],
)
def test_a_quick_cell_of_each_kind(
    table: str,
    flags: tuple[str, ...],
    row: str,
    column: str,
    published: float | None,
    prepared: Path,
    forgerynet: Path,
    tmp_path: Path,
) -> None:
    """The demo of GenFace is made here, that of ForgeryNet is there."""
    if table.startswith("forgerynet"):
        (tmp_path / "demo").symlink_to(forgerynet / "demo")
    if table in ("forgerynet video", "forgerynet cross-forgery"):  # They are of the same shards.
        (tmp_path / "shards").symlink_to(forgerynet / "shards")
    command = ["reproduce", *table.split(), "--shards", str(prepared), "--to", str(tmp_path)]
    assert run_cli(*command, *TINY, *flags) == 0
    found = made(tmp_path)
    cell = cells(found, row)[column]
    assert 0 <= cell["mean"] <= 1
    assert cell["published"] == published
    assert found["quick"]
    if table == "forgerynet image":
        assert [cells(found, row, block)["AUC"]["mean"] is not None for block in range(3)] == [True] * 3
    if table == "pixel-level 4":
        assert cells(found, "VGG5 pretrained")["DF"]["mark"] == "needs --weights vgg16=FILE"
    if table == "local-similarity III":
        loaded = load_model(next((tmp_path / "trainings").iterdir()), "cpu")
        assert draw_similarity(loaded, prepared, tmp_path / "similarity.png")
        assert cv2.imread(str(tmp_path / "similarity.png")).std() > 5
    if "cross-generator" in table:
        assert "In the place of cael, fn3-cls was trained." in found["notes"]
        config = json.loads(next((tmp_path / "trainings").glob("*/config.json")).read_text())
        assert config["methods"] == [None, "Deepfakes"]


def test_altered_pixels_and_masks(prepared: Path, forgerynet: Path, tmp_path: Path) -> None:
    (tmp_path / "demo").symlink_to(forgerynet / "demo")
    command = ["reproduce", "forgerynet", "spatial", "--shards", str(prepared), "--to", str(tmp_path)]
    assert run_cli(*command, "--model", "fn3-seg", *TINY) == 0
    found = made(tmp_path)
    # The demo's masks are no magnitudes.
    assert cells(found, "fn3-seg")["IoU@0.1"]["mark"] == "no magnitude"
    assert cells(found, "fn3-seg", block=3)["Fg-IoU"]["mean"] is not None


def test_missing_data_are_named_with_their_command(
    prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_cli("reproduce", "pixel-level", "1") == 2
    assert "forgeprep run ffpp --compression raw --preset pixel-level --out shards/ffpp-raw" in capsys.readouterr().err
    assert run_cli("reproduce", "pixel-level", "1", "--shards", str(prepared)) == 2
    assert "holds ffpp c23, and pixel-level 1 takes ffpp-raw; give --shards NAME=DIR" in capsys.readouterr().err
    assert run_cli("reproduce", "pixel-level", "1", *["--shards", f"ffpp-raw={prepared}"] * 2) == 2
    assert "--shards ffpp-raw is given twice; leave one out" in capsys.readouterr().err
    shutil.copytree(prepared, tmp_path / "same")
    both = [text for out in (prepared, tmp_path / "same") for text in ("--shards", str(out))]
    assert run_cli("reproduce", "local-similarity", "III", *both) == 2
    assert f"same: {prepared} is taken for ffpp-c23 already; leave one out" in capsys.readouterr().err
    # One folder is taken for what it holds; the columns of the others stay empty.
    command = ["reproduce", "local-similarity", "II", "--shards", str(prepared), "--to", str(tmp_path)]
    flags = ["--set", "epochs=1", "--set", "steps=1", "--set", "batch=2", "--set", "size=32", "--set", "workers=0"]
    assert run_cli(*command, *flags, "--gpus", "0", "--model", "fn3-cls") == 0
    assert "no shards of ffpp-c40" in capsys.readouterr().out
    found = made(tmp_path)
    assert cells(found, "fn3-cls")["AUC"]["mean"] is not None
    assert cells(found, "fn3-cls", block=1)["AUC"]["mark"] == "no shards of ffpp-c40"
    assert cells(found, "local-similarity", block=1)["AUC"]["published"] == 91.93
    assert "epochs=1" in (tmp_path / "table.md").read_text()
    assert run_cli("reproduce", "two-stream", "9") == 2
    assert "unknown table of two-stream '9'" in capsys.readouterr().err
    assert run_cli("reproduce", "pixel-level", "1", "--quick", "--model", "fn3-sgg") == 2
    assert "unknown model 'fn3-sgg': did you mean 'fn3-seg'?" in capsys.readouterr().err
    assert run_cli("reproduce", "pixel-level", "1", "--quick", "--weights", f"slowfast_r50={__file__}") == 2
    assert "--weights slowfast_r50: pixel-level 1 takes vgg16, xception" in capsys.readouterr().err
    bad = ["--only", "VGG8", "--weights", f"vgg16={__file__}", "--to", str(tmp_path / "bad")]
    assert run_cli("reproduce", "pixel-level", "1", "--shards", f"ffpp-raw={prepared}", *bad, *flags) == 1
    told = capsys.readouterr().err
    assert "no cell could be filled: " in told
    assert "no weights that can be read" in told
    assert run_cli("reproduce", "pixel-level", "1", "--only", "VGG9", "--shards", f"ffpp-raw={prepared}") == 2
    assert "--only VGG9: fits no cell; rows: Xception, " in capsys.readouterr().err


def test_every_table_can_be_listed_and_its_commands_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli("reproduce") == 0
    listed = capsys.readouterr().out
    for (paper, name), table in tables().items():
        assert paper in listed
        assert name in listed
        rows = unfolded(table, {}).rows
        chosen = cells_of(unfolded(table, {}))
        assert len(chosen) == len(rows) * sum(len(block.columns) for block in unfolded(table, {}).blocks)
        for line in commands_for(table, table.data):
            words = shlex.split(line)[2:]
            context = typer.main.get_command(run_app).make_context("run", words)
            options = dict(text.split("=") for text in context.params["option"] or ())
            make_config(words[0], {"options": options, "preset": context.params.get("preset")})
        for data in table.data.values():
            make_config(data.dataset, {**SETTINGS, **data.quick})
            assert data.dataset in {"ffpp", *LAYOUTS}
        # Each row's network can be made, with its options.
        check_models(unfolded(table, {}), Asked(tmp_path, {}), chosen)
    assert run_cli("reproduce", "two-stream") == 0
    assert "--preset two-stream --out shards/ffpp-c40" in capsys.readouterr().out
    assert run_cli("reproduce", "two-stream", "--json") == 0
    told = json.loads(capsys.readouterr().out)["tables"]
    assert [one["table"] for one in told] == [one.table for one in tables().values() if one.paper == "two-stream"]
    assert any("--preset two-stream --out shards/ffpp-c40" in line for line in told[0]["commands"])
    assert run_cli("reproduce", "pixel-level", "1", "--quick", "--dry-run", "--only", "VGG3", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert {cell["row"] for cell in told["cells"]} == {"VGG3"}
    assert {cell["state"] for cell in told["cells"]} == {"no shards of ffpp-raw: a demo is made"}
    assert len(told["trainings"]) == 1


def test_quick_makes_shards_of_a_demo_that_is_there_only_once(demo: Path, tmp_path: Path) -> None:
    table = get_table("two-stream", "III")
    small = table.data["ffpp-c40"].model_copy(
        update={"quick": {"frames": "1", "splits": "val", "methods": "Deepfakes"}}
    )
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo/ffpp").symlink_to(demo)
    told: list[str] = []
    one = table.model_copy(update={"data": {"ffpp-c40": small}})
    with locked(tmp_path, "--to"), pytest.raises(UsageError, match="another run is working in this folder"):
        quick_shards(one, {}, tmp_path, told.append)
    found = quick_shards(one, {}, tmp_path, told.append)
    assert holdings(found["ffpp-c40"], ["val"]) == {("ffpp", "c40")}
    assert told == [f"making shards of ffpp-c40 in {tmp_path / 'shards/ffpp-c40'}"]
    assert quick_shards(table, found, tmp_path / "none") == found


def test_published_figures_are_those_of_the_models() -> None:
    """What stands in a table's own file agrees with ``published.yaml``."""
    ours = {row.name: row for row in get_table("two-stream", "VII").rows}
    assert ours["both"].published["LQ"]["AUC"] == get_model("two-stream").published_figures()["c40, frames"]["AUC"]  # type: ignore[index]
    region = get_table("two-stream", "VI").rows[0].published["IoU"]  # type: ignore[index]
    told = get_model("two-stream").published_figures()
    assert region == {
        key: told[f"{name}, IoU of the forged region"]["IoU"] for key, name in (("LQ", "c40"), ("HQ", "c23"))
    }
    for table in tables().values():
        for row in table.rows:
            if row.published == "model" and row.model in model_names():
                titles = get_model(row.model).published_figures()
                named = [(block.published or block.title).split("/")[0] for block in table.blocks]
                assert set(named) & set(titles), (table.name, row.name)


def test_reals_of_another_dataset_make_no_other_data_set() -> None:
    data = get_table("genface", "cross-dataset").data
    held = {("deeperforensics", None), ("ffpp", "c23")}
    assert own_of(data["deeperforensics"], held) == {("deeperforensics", None)}
    assert own_of(data["ffpp-c23"], held) == held


def test_a_first_step_comes_before_its_row_and_is_shared(tmp_path: Path) -> None:
    table, asked = get_table("two-stream", "III"), Asked(tmp_path, {"ffpp-c40": tmp_path})
    one, *_ = cells_of(table)
    first, own = trainings_of(table, asked, one.row, one.train, 0)
    assert (first.options, own.init, own.weights) == ({"stream": "semantic"}, first.run, None)
    assert first.recipe.methods == own.recipe.methods == ("Deepfakes",)
    assert first.recipe.real_repeat == own.recipe.real_repeat * 4 or own.recipe.real_repeat == 1
    runs = {t.run for cell in cells_of(table) for t in trainings_of(table, asked, cell.row, cell.train, 0)}
    assert len(runs) == 8


def test_a_model_that_is_asked_for_is_trained_with_quick_too(tmp_path: Path) -> None:
    """GenFace's recipe with its own model, which a small one stands in for where nobody asks."""
    for asked, trained in ((None, "fn3-cls"), ("cael", "cael")):
        table = get_table("genface", "cross-forgery")
        table = unfolded(table if asked is None else with_model(table, asked), {})
        one, *_ = cells_of(table)
        [own] = trainings_of(table, Asked(tmp_path, {}, quick=True), one.row, one.train, 0)
        assert own.model == trained
        assert trained != "cael" or (own.recipe.lr, own.recipe.weight_decay, own.recipe.select) == (1e-4, 1e-3, "loss")
