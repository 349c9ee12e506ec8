"""What the pages and the examples say is true; test_docs follows the pages."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from forgeprep.schemas.config import PRESETS
from tests.conftest import run_cli

HERE = Path(__file__).resolve().parents[2]
DOCS = HERE / "docs"
CLUSTER = HERE / "examples" / "cluster"
STAGE = """\
import pyarrow

from forgeprep.schemas.samples import Column
from forgeprep.stages.base import NoParams, Stage


def apply(samples, params):
    for sample in samples:
        sample.columns["brightness"] = float(sample.image.mean())


STAGE = Stage(
    name="brightness",
    summary="mean level of the crop",
    needs=("crop",),
    adds=(Column("brightness", "brightness", pyarrow.float32(), "0 to 255"),),
    params=NoParams,
    apply=apply,
)
"""


@pytest.fixture(scope="module")
def out(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages") / "shards"
    flags = ("--stages", "crop,mask,noise,similarity", "--frames", "2", "--format", "both", "--workers", "0")
    assert run_cli("run", "ffpp", "--root", str(demo), "--out", str(folder), *flags) == 0
    return folder


@pytest.mark.parametrize("preset", PRESETS)
def test_the_tutorial_tells_what_a_preset_sets(preset: str) -> None:
    text = (DOCS / "tutorials" / "faceforensics.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| `{preset}` \| (.*) \|$", text, flags=re.MULTILINE)
    stages, frames, enlarge, size = row.split(" | ")
    values = PRESETS[preset]
    assert re.sub(r" \(.*", "", stages).split(", ") == values["stages"]
    assert frames.split(", ") == [re.sub(r"every:(\d+)", r"every \1th", rule) for rule in values["frames"].values()]
    assert float(enlarge) == values["enlarge"]
    assert size == str(values.get("size", "native"))


def test_the_pages_python_prints_what_it_should(out: Path, demo: Path, tmp_path: Path) -> None:
    where = ["--root", str(demo), "--out", str(out.parent / "same"), "--stages", "crop,mask", "--frames", "1"]
    flags = ["--methods", "Deepfakes", "--format", "webdataset", "--absent", "placeholder", "--workers", "0"]
    assert run_cli("run", "ffpp", *where, *flags) == 0
    pages = (DOCS / "how-to" / "open-shards.md", DOCS / "concepts" / "masks.md")
    texts = [page.read_text(encoding="utf-8") for page in pages]
    blocks = [block for text in texts for block in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)]
    runnable = blocks if importlib.util.find_spec("torch") else [block for block in blocks if "torch" not in block]
    environment = {"HF_HOME": str(tmp_path), "HF_DATASETS_OFFLINE": "1", "PATH": "", "PYTHONPATH": str(HERE)}
    command = [sys.executable, "-c", "\n".join(runnable)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=out.parent)
    assert done.returncode == 0, done.stderr
    assert "True where two cells differ" in done.stdout
    # A mask that is cut where it was cut is the same mask; one cut higher is smaller.
    assert done.stdout.endswith("True True\n")
    assert len(runnable) < len(blocks) or "torch.Size([4, 224, 224, 3]) torch.Size([4, 224, 224])" in done.stdout


def test_a_stage_of_another_package_works_once_it_is_installed(demo: Path, tmp_path: Path) -> None:
    (tmp_path / "my_stage.py").write_text(STAGE)
    # What pip leaves of a package with an entry point.
    info = tmp_path / "my_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[forgeprep.stages]\nbrightness = my_stage:STAGE\n")
    folder = tmp_path / "out"
    flags = ["--stages", "crop,brightness", "--frames", "1", "--methods", "FaceSwap", "--workers", "0"]
    for arguments in (["run", "ffpp", "--root", str(demo), "--out", str(folder), *flags], ["verify", str(folder)]):
        done = subprocess.run(
            [sys.executable, "-m", "forgeprep.cli", *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": "", "PYTHONPATH": f"{HERE}:{tmp_path}"},
        )
        assert done.returncode == 0, done.stdout + done.stderr
    levels = pq.read_table(folder / "shards/train/ffpp-train-00000.parquet")["brightness"]
    assert levels.type == pa.float32()
    assert all(10 < level < 250 for level in levels.to_pylist())


def test_the_card_makes_the_folder_loadable(out: Path, tmp_path: Path) -> None:
    code = (
        "import sys, datasets\n"
        "data = datasets.load_dataset(sys.argv[1])\n"
        "print({split: len(part) for split, part in data.items()}, data['test'][0]['mask'].size)"
    )
    environment = {"HF_HOME": str(tmp_path), "HF_DATASETS_OFFLINE": "1", "PATH": ""}
    command = [sys.executable, "-c", code, str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert "{'train': 19, 'validation': 20, 'test': 20}" in done.stdout


@pytest.mark.parametrize(
    ("script", "arguments", "expected"),
    [
        ("one_dataset.py", ["ROOT", "NEW", "--frames", "2", "--workers", "0"], r"59 samples in 3 shards, 0 problems"),
        pytest.param(
            "cluster.py",
            ["ROOT", "NEW", "--frames", "2"],
            r"train/ffpp-train-00000: 19 samples, 1 drop\b",
            marks=pytest.mark.long,
        ),
        ("read_in_pytorch.py", ["OUT", "--size", "64"], r"19 samples, \d+\.\d % of their pixels forged"),
    ],
)
def test_the_examples_run(
    demo: Path, out: Path, tmp_path: Path, script: str, arguments: list[str], expected: str
) -> None:
    if "pytorch" in script:
        pytest.importorskip("torch", reason="the extra 'train' is not installed")
    places = {"ROOT": str(demo), "OUT": str(out), "NEW": str(tmp_path / "new")}
    command = [sys.executable, str(HERE / "examples" / script), *(places.get(a, a) for a in arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=HERE)
    assert done.returncode == 0, done.stderr
    assert re.search(expected, done.stdout), done.stdout


def commands(path: Path, program: str) -> list[list[str]]:
    """The arguments of each call of ``program`` in a file; a line may go on after a backslash."""
    text = re.sub(r"\\\n\s*", " ", path.read_text(encoding="utf-8"))
    lines = re.findall(rf"(?:^|[ '(]){program} ((?:run|start|status) [^|&>'\n]*)", text, flags=re.MULTILINE)
    return [shlex.split(line, comments=True) for line in lines]


def parse(group: object, arguments: list[str]) -> dict[str, object]:
    """What a command line of click makes of its arguments; it exits where an option is unknown."""
    command = group.get_command(None, arguments[0])  # type: ignore[attr-defined]
    return dict(command.make_context(arguments[0], arguments[1:]).params)


@pytest.mark.parametrize("name", ["README.md", "rayjob.yaml", "slurm.sh"])
def test_the_cluster_examples_give_options_that_exist(name: str) -> None:
    import typer.main

    from forgeprep.cli import app
    from forgeprep.pipeline.configure import make_config

    found = commands(CLUSTER / name, "forgeprep")
    assert len(found) == {"README.md": 2, "rayjob.yaml": 1, "slurm.sh": 1}[name]
    for arguments in found:
        given = parse(typer.main.get_command(app), arguments)
        assert given["address"] == "auto"
        make_config("ffpp", {"stages": given["stages"], "shard_size": given["shard_size"]})


def test_the_slurm_script_is_sound() -> None:
    from ray.scripts.scripts import cli

    subprocess.run(["bash", "-n", str(CLUSTER / "slurm.sh")], check=True)
    # Numbers in place of what only the script knows.
    text = [[re.sub(r"\$\{?\w+\}?", "1", part) for part in line] for line in commands(CLUSTER / "slurm.sh", "ray")]
    assert [line[0] for line in text] == ["start", "status", "start"]
    for line in text:
        parse(cli, line)


def test_the_cluster_file_fits_rays_schema() -> None:
    import jsonschema
    import ray.autoscaler

    schema = json.loads((Path(ray.autoscaler.__path__[0]) / "ray-schema.json").read_text())
    cluster = yaml.safe_load((CLUSTER / "cluster.yaml").read_text())
    jsonschema.validate(cluster, schema)
    assert cluster["head_node_type"] in cluster["available_node_types"]
    assert cluster["docker"]["image"].startswith(f"rayproject/ray:{pinned('ray')}-py311")
    assert cluster["docker"]["image"] in (CLUSTER / "Dockerfile").read_text()


def test_the_rayjob_is_one_command_on_nodes_that_share_a_claim() -> None:
    job = yaml.safe_load((CLUSTER / "rayjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert not set("&;|\n") & set(job["spec"]["entrypoint"])
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["rayVersion"] == pinned("ray")
    pods = [part["template"]["spec"] for part in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]
    (container,), claim = pods[0]["containers"], pods[0]["volumes"]
    for pod in pods:
        assert pod["volumes"] == claim
        assert pod["containers"][0]["volumeMounts"] == [{"name": claim[0]["name"], "mountPath": "/data"}]
        assert pod["containers"][0]["image"] == container["image"]


def pinned(package: str) -> str:
    (version,) = re.findall(rf"^{package}==(\S+)", (HERE / "constraints.txt").read_text(), flags=re.MULTILINE)
    return str(version)
