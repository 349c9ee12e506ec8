"""The command line in a process of its own, and in a run: what wins over what."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.conftest import run_cli


def test_help_is_light() -> None:
    code = (
        "import sys\n"
        "from forgeprep.cli import main\n"
        "try:\n    main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'cv2', 'ray', 'pyarrow', 'torch', 'dlib', 'numpy', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_flags_win_over_the_file_and_the_file_over_the_preset(demo: Path, tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(
        f"root: {demo}\nstages: [crop, noise]\nframes: {{train: 3, val: 2, test: 1}}\nsize: 64\nmethods: [FaceSwap]\n"
    )
    out = tmp_path / "out"
    command = ("run", "ffpp", "--config", str(file), "--out", str(out), "--preset", "two-stream", "--size", "80")
    assert run_cli(*command, "--workers", "0") == 0
    written = json.loads((out / "run.json").read_text())
    assert written["stages"] == ["frames", "crop", "noise"]
    crop = {"detector": "dlib-hog", "enlarge": 1.3, "size": 80, "bystanders": "skip", "min_face": 1 / 15}
    crop |= {"landmarks": None, "landmarks_file": None, "align": "none", "align_per": "frame"}
    assert written["config"]["params"]["crop"] == crop
    assert written["config"]["params"]["frames"]["frames"] == {"train": "3", "val": "2", "test": "1"}
    assert written["requested"] == 2 * 2 * (3 + 2 + 1)
