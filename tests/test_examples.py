"""What the README and the examples say is true."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from forgeprep.schemas.drops import REASONS
from forgeprep.schemas.samples import SAMPLE_COLUMNS
from tests.conftest import run_cli

HERE = Path(__file__).resolve().parents[1]
README = (HERE / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def out(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readme") / "out"
    flags = ("--stages", "crop,mask,noise,similarity", "--frames", "2", "--format", "both", "--workers", "0")
    assert run_cli("run", "ffpp", "--root", str(demo), "--out", str(folder), *flags) == 0
    return folder


def test_every_column_and_every_drop_reason_is_explained() -> None:
    for name in (*(column.name for column in SAMPLE_COLUMNS), *REASONS):
        assert f"| `{name}` |" in README, name


def test_the_readmes_python_runs(demo: Path, out: Path, tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(blocks) == 6
    code = f"OUT, ROOT = {str(out)!r}, {str(demo)!r}\n" + "\n".join(blocks)
    environment = {"HF_HOME": str(tmp_path), "HF_DATASETS_OFFLINE": "1", "PATH": "", "PYTHONPATH": str(HERE)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert "True where two cells differ" in done.stdout


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
        ("cluster.py", ["ROOT", "NEW", "--frames", "2"], r"train/00000: 19 samples, 1 drops"),
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
