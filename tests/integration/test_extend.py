"""Packages of other people add stages, shard formats and export formats: used, verified, drawn, taken away."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forgeprep.errors import UsageError
from forgeprep.schemas.columns import FACTS, Column, check_columns, column_of, facts_of, type_of, type_text
from forgeprep.schemas.samples import IMAGE_TYPE, SAMPLE_COLUMNS, sequence_columns
from forgeprep.shards.read import iter_rows
from tests.helpers.extend_tools import EXAMPLES, LINES, forgeprep, install

ROW_SHOWN = 240 + 14


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Example -> the folder into which it is installed, alone."""
    home = tmp_path_factory.mktemp("packages")
    return {name: install(EXAMPLES / name, home / name) for name in ("edges", "imagelist", "arrow")}


@pytest.fixture(scope="module")
def out(demo: Path, packages: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with the stage and the shard format of the examples, in all formats; some crops are dropped."""
    folder = tmp_path_factory.mktemp("extended") / "out"
    forgeprep(
        "run", "ffpp", "--root", demo, "--out", folder, "--stages", "crop,mask,edges", "--frames", "2", "--size", "64",
        "--methods", "FaceSwap", "--format", "arrow,both", "--workers", "1", "--set", "edges.edges_least=0.24",
        "--edges-low", "60", installed=[packages["edges"], packages["arrow"]],
    )  # fmt: skip
    return folder


def shards(out: Path, suffix: str) -> list[list[dict[str, Any]]]:
    return [list(iter_rows(path, decode=False)) for path in sorted(out.glob(f"shards/*/*.{suffix}"))]


def test_a_stage_has_parameters_pictures_bytes_and_a_drop_reason(out: Path) -> None:
    run = json.loads((out / "run.json").read_bytes())
    assert run["config"]["params"]["edges"] == {"edges_low": 60, "edges_least": 0.24}
    assert run["drop_reasons"]["no_edges"]["meaning"].startswith("the crop is too smooth")
    assert run["packages"]["forgeprep-edges"] == {"version": "1.0", "stages": ["edges"]}
    assert run["packages"]["forgeprep-arrow"] == {"version": "1.0", "formats": ["arrow"]}
    reasons = [drop["reason"] for drop in pq.read_table(out / "meta/drops.pq").to_pylist()]
    rows = [row for shard in shards(out, "parquet") for row in shard]
    assert "no_edges" in reasons
    assert rows
    for row in rows:
        crop = cv2.imdecode(np.frombuffer(row["image"]["bytes"], np.uint8), cv2.IMREAD_GRAYSCALE)
        edges = cv2.imdecode(np.frombuffer(row["edges"]["bytes"], np.uint8), cv2.IMREAD_UNCHANGED)
        assert crop is not None
        assert edges is not None
        assert edges.shape == crop.shape == (64, 64)
        assert np.count_nonzero(edges) >= 0.24 * edges.size
        assert np.frombuffer(row["edges_directions"], np.float32).sum() == pytest.approx(1)


def test_bytes_come_back_from_tars_as_they_were(out: Path) -> None:
    assert shards(out, "tar") == shards(out, "parquet")


def test_verify_checks_what_the_stage_and_the_format_add(out: Path, packages: dict[str, Path], tmp_path: Path) -> None:
    here = [packages["edges"], packages["arrow"]]
    assert "all shards are whole" in forgeprep("verify", out, installed=here).stdout
    table = pq.read_table(out / "shards/train/ffpp-train-00000.parquet")
    short = pa.array([b"short", *table["edges_directions"].to_pylist()[1:]])
    index = table.schema.get_field_index("edges_directions")
    pq.write_table(table.set_column(index, table.schema.field(index), short), tmp_path / "changed.parquet")
    changed = copied(out, tmp_path / "out")
    (changed / "shards/train/ffpp-train-00000.parquet").write_bytes((tmp_path / "changed.parquet").read_bytes())
    told = forgeprep("verify", changed, installed=here, expect=1).stdout
    assert "edges_directions: 5 bytes, not 64" in told
    assert "00000.arrow" in told
    assert "not as in shards/train/ffpp-train-00000.parquet: edges_directions" in told
    # Without the stage its own check is missing, but files that disagree are found.
    told = forgeprep("verify", changed, installed=[packages["arrow"]], expect=1).stdout
    assert "5 bytes, not 64" not in told
    assert "not as in shards/train/ffpp-train-00000.parquet: edges_directions" in told


def copied(out: Path, to: Path) -> Path:
    for path in out.rglob("*"):
        if path.is_file():
            (to / path.relative_to(out)).parent.mkdir(parents=True, exist_ok=True)
            (to / path.relative_to(out)).write_bytes(path.read_bytes())
    return to


def test_a_sheet_and_the_page_draw_what_the_stage_adds(out: Path, packages: dict[str, Path], tmp_path: Path) -> None:
    widths = []
    for installed in ([packages["edges"]], []):
        forgeprep("inspect", out, "--sheet", tmp_path / "sheet.png", installed=installed)
        sheet = cv2.imread(str(tmp_path / "sheet.png"))
        assert sheet is not None
        widths.append(sheet.shape[1])
        forgeprep("report", out, "--to", tmp_path / "page.html", installed=installed)
        page = (tmp_path / "page.html").read_text()
        assert page.count(">edges</div>") >= 3
        assert (">edges directions</div>" in page) == bool(installed)
        assert "the crop is too smooth: it has hardly an edge" in page
    # The bytes are drawn by a function of the stage, and only where it is installed.
    assert widths[0] - widths[1] == ROW_SHOWN


def test_a_run_stays_readable_without_the_packages(demo: Path, out: Path, packages: dict[str, Path]) -> None:
    verified = forgeprep("verify", out, expect=1).stdout
    problems = [line for line in verified.splitlines() if ".arrow" in line]
    assert len(problems) == len(list(out.glob("shards/*/*.arrow")))
    assert all("forgeprep-arrow 1.0" in line and "pip install 'forgeprep-arrow==1.0'" in line for line in problems)
    assert verified.splitlines()[-1].endswith(f"{len(problems)} problems")
    assert "the crop is too smooth" in forgeprep("inspect", out).stdout
    again = ["run", "ffpp", "--root", demo, "--out", out, "--stages", "crop,mask,edges", "--format", "arrow,both"]
    missing = (
        "the stage 'edges' is of the package forgeprep-edges 1.0, which is not installed here: "
        "pip install 'forgeprep-edges==1.0'"
    )
    assert forgeprep(*again, expect=2).stderr.strip() == f"forgeprep: error: {missing}"
    # The stage's own flags are missing too.
    told = forgeprep(*again, "--edges-low", "60", expect=2).stderr.strip()
    assert told == f"forgeprep: error: No such option: --edges-low; {missing}"
    told = forgeprep(*again, installed=[packages["edges"]], expect=2).stderr.strip()
    assert told.startswith("forgeprep: error: the shard format 'arrow' is of the package forgeprep-arrow 1.0")


def test_a_stage_is_added_to_a_finished_run(out: Path, demo: Path, packages: dict[str, Path], tmp_path: Path) -> None:
    plain, flags = tmp_path / "plain", ["--frames", "2", "--size", "64", "--methods", "FaceSwap", "--workers", "1"]
    forgeprep("run", "ffpp", "--root", demo, "--out", plain, "--stages", "crop", *flags)
    forgeprep("add", plain, "--stages", "edges", "--workers", "1", installed=[packages["edges"]])
    assert "all shards are whole" in forgeprep("verify", plain, installed=[packages["edges"]]).stdout
    assert all("edges_directions" in row for shard in shards(plain, "parquet") for row in shard)
    assert json.loads((plain / "run.json").read_bytes())["packages"]["forgeprep-edges"]["stages"] == ["edges"]


def test_sequences_have_the_stages_columns_frame_by_frame(
    demo: Path, packages: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    forgeprep(
        "run", "ffpp", "--root", demo, "--out", folder, "--stages", "crop,edges", "--frames", "1", "--size", "64",
        "--sequence-length", "3", "--methods", "FaceSwap", "--splits", "test", "--format", "both", "--workers", "1",
        installed=[packages["edges"]],
    )  # fmt: skip
    assert "all shards are whole" in forgeprep("verify", folder, installed=[packages["edges"]]).stdout
    assert "all shards are whole" in forgeprep("verify", folder).stdout
    (rows,) = shards(folder, "parquet")
    assert shards(folder, "tar") == [rows]
    assert all(len(row["edges_directions"]) == len(row["edges"]) == 3 for row in rows)


def test_an_export_format_is_used(out: Path, packages: dict[str, Path], tmp_path: Path) -> None:
    forgeprep("export", "imagelist", out, "--to", tmp_path / "list", installed=[packages["imagelist"]])
    entries = [entry for path in (tmp_path / "list").glob("*.json") for entry in json.loads(path.read_bytes())]
    rows = [row for shard in shards(out, "parquet") for row in shard]
    assert sorted(entry["path"] for entry in entries) == sorted(f"images/{row['sample_id']}.png" for row in rows)
    for row in rows:
        assert (tmp_path / "list/images" / f"{row['sample_id']}.png").read_bytes() == row["image"]["bytes"]
    told = forgeprep("export", "imagelist", out, "--to", tmp_path / "no", expect=2).stderr
    assert "unknown export format 'imagelist'" in told
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("name", ["edges", "imagelist", "arrow"])
def test_examples_are_short(name: str) -> None:
    assert len((EXAMPLES / name / f"forgeprep_{name}.py").read_text().splitlines()) < LINES


def test_what_run_json_says_of_a_column_is_the_column() -> None:
    for column in (*SAMPLE_COLUMNS, *sequence_columns(SAMPLE_COLUMNS)):
        assert type_of(type_text(column.type)) == column.type
        assert column_of(json.loads(json.dumps(facts_of(column)))) == column
    # A new property must be written down too, or be a function.
    told = {*FACTS, "type", "draw", "encode", "check"}
    assert told == set(Column.__dataclass_fields__)


@pytest.mark.parametrize(
    ("column", "problem"),
    [
        (Column("Edges", "s", pa.int8(), ""), "small letters"),
        (Column("json", "s", pa.int8(), ""), "none of jpg, json"),
        (Column("mask", "s", pa.int8(), ""), "another stage has a column of this name"),
        (Column("day", "s", pa.date32(), ""), "shards cannot hold the type date32"),
        (Column("raw", "s", pa.list_(pa.binary()), ""), "bytes cannot stand in lists"),
        (Column("raw", "s", pa.struct([("a", pa.binary())]), ""), "bytes cannot stand in structs"),
        (Column("raw", "s", pa.binary(), "", suffix="png"), "the suffix 'png' is taken"),
        (Column("map", "s", pa.binary(), "", kind="image"), "a picture has the type"),
    ],
)
def test_a_column_that_shards_cannot_hold_is_refused(column: Column, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        check_columns([column], ["mask"], "stage 's'")
    check_columns([Column("map", "s", IMAGE_TYPE, "", kind="image")], ["mask"], "stage 's'")


def test_a_perturbation_is_applied_where_it_is_named(demo: Path, tmp_path: Path) -> None:
    package, folder = install(EXAMPLES / "fog", tmp_path / "package"), tmp_path / "out"
    assert "towards a light gray" in forgeprep("perturbations", installed=[package]).stdout
    flags = ["--root", demo, "--stages", "crop,perturb", "--perturb", "fog:5", "--frames", "1", "--methods", "FaceSwap"]
    flags += ["--splits", "test", "--workers", "1"]
    forgeprep("run", "ffpp", "--out", folder, *flags, installed=[package])
    assert "all shards are whole" in forgeprep("verify", folder).stdout
    for row in iter_rows(folder / "shards/test/ffpp-test-00000.parquet"):
        assert (row["perturbation"], json.loads(row["perturbation_params"])) == ("fog:5", [{"share": 0.7}])
        assert row["image"].min() >= round(0.7 * 220)
    assert json.loads((folder / "run.json").read_bytes())["versions"]["forgeprep-fog"] == "1.0"
    assert "unknown perturbation 'fog'" in forgeprep("run", "ffpp", "--out", folder, *flags, expect=2).stderr


def package(target: Path, name: str, module: str, group: str, points: dict[str, str]) -> Path:
    """A package that is written here, installed."""
    source = target / "source" / name
    source.mkdir(parents=True)
    (source / f"forgeprep_{name}.py").write_text(module)
    lines = "\n".join(f'{point} = "forgeprep_{name}:{value}"' for point, value in points.items())
    (source / "pyproject.toml").write_text(
        f'[project]\nname = "forgeprep-{name}"\nversion = "2.1"\n[project.entry-points."{group}"]\n{lines}\n'
    )
    return install(source, target / name)


STAGE = """
from forgeprep.stages.base import NoParams, Stage

def apply(samples, params):
    for sample in samples:
        sample.drop("bored")

STAGE = Stage(name="{name}", summary="", needs=("crop",), adds=(), params=NoParams, apply=apply)
"""


def test_an_error_of_a_stage_names_the_stage_and_its_package(demo: Path, tmp_path: Path) -> None:
    module = STAGE.format(name="odd").replace('sample.drop("bored")', "sample.nothing.of(this)")
    odd = package(tmp_path, "odd", module, "forgeprep.stages", {"odd": "STAGE"})
    out = tmp_path / "out"
    told = forgeprep(
        "run", "ffpp", "--root", demo, "--out", out, "--stages", "odd", "--frames", "1", "--methods",
        "FaceSwap", "--splits", "test", "--workers", "1", installed=[odd],
    )  # fmt: skip
    assert "defect" not in told.stdout + told.stderr
    details = {drop["detail"] for drop in pq.read_table(next((out / "meta").glob("drops.*"))).to_pylist()}
    assert all(detail.startswith("stage 'odd' of forgeprep-odd failed: AttributeError: ") for detail in details)
    assert details


def test_a_reason_that_a_stage_does_not_declare_stops_its_shards(demo: Path, tmp_path: Path) -> None:
    bored = package(tmp_path, "bored", STAGE.format(name="bored"), "forgeprep.stages", {"bored": "STAGE"})
    told = forgeprep(
        "run", "ffpp", "--root", demo, "--out", tmp_path / "out", "--stages", "bored", "--frames", "1", "--methods",
        "FaceSwap", "--splits", "test", "--workers", "1", installed=[bored], expect=1,
    )  # fmt: skip
    assert "dropped for the reason 'bored', which none of the stages (bored) declares" in told.stdout + told.stderr
    assert not (tmp_path / "out/meta/shards.pq").exists()


@pytest.mark.parametrize(
    ("module", "points", "problem"),
    [
        ("1 / 0", {"mine": "STAGE"}, "stage 'mine' of forgeprep-bad cannot be loaded (ZeroDivisionError"),
        ("STAGE = 3", {"mine": "STAGE"}, "stage 'mine' of forgeprep-bad is a int, not a Stage"),
        (STAGE.format(name="other"), {"mine": "STAGE"}, "stage 'mine' of forgeprep-bad has another name of its own"),
        (STAGE.format(name="mask"), {"mask": "STAGE"}, "stage 'mask' is defined by forgeprep and forgeprep-bad"),
    ],
)
def test_a_package_that_does_not_fit_is_named_in_one_line(
    tmp_path: Path, module: str, points: dict[str, str], problem: str
) -> None:
    bad = package(tmp_path, "bad", module, "forgeprep.stages", points)
    [name] = points
    told = forgeprep("run", "ffpp", "--root", tmp_path, "--stages", name, installed=[bad], expect=2).stderr
    assert told.startswith(f"forgeprep: error: {problem}")
    assert told.count("\n") == 1
    # What does not name it works all the same.
    told = forgeprep("run", "ffpp", "--root", tmp_path, "--stages", "crop", installed=[bad], expect=2).stderr
    assert "stage" not in told
    listed = forgeprep("stages", installed=[bad]).stdout
    assert "similarity" in listed
    assert f"{name}  broken: {problem}" in listed


def test_what_is_broken_stops_only_those_who_name_it(tmp_path: Path) -> None:
    groups = ("stages", "datasets", "face_detectors", "landmarkers", "perturbations", "shard_formats", "export_formats",
              "forgery_models", "metrics")  # fmt: skip
    bad = [package(tmp_path, f"bad{n}", "", f"forgeprep.{group}", {"mine": "GONE"}) for n, group in enumerate(groups)]
    for command in ("stages", "models"):
        assert "mine  broken: " in forgeprep(command, installed=bad).stdout, command
    forgeprep("run", "--help", installed=bad)
    told = forgeprep("doctor", installed=bad).stdout
    assert told.count("broken for whoever names it: extension ") == len(groups)
    for words in (("--detector", "mine"), ("--set", "mine.x=1")):
        told = forgeprep("run", "ffpp", "--root", tmp_path, *words, installed=bad, expect=2).stderr
        assert "'mine' of forgeprep-bad" in told, words
