"""How long a run takes from its command line to its first sample, and what passes meanwhile.

    python benchmarks/start.py                    # a small demo dataset, and ../shared/data/footage where it is there
    python benchmarks/start.py --repeats 5        # the fastest of so many, per line

The command is the real one, in a process of its own; it is stopped (Ctrl-C) when the first sample is reported. Columns
are seconds since the process was started: modules imported, plan made, Ray there (0 where it is not used), first
sample, and the process gone.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from forgeprep.demo import make_demo

MARKS = ("imports", "plan", "ray", "first sample", "end")
FOOTAGE = Path(__file__).parents[1] / "../shared/data/footage"

# In front of the command: notes when its parts are done. Times are of the system's clock, as the parent's.
NOTED = """
import json, sys, time
marks = {}

def note(module, name, mark):
    before = getattr(module, name)
    def noted(*arguments, **more):
        try:
            return before(*arguments, **more)
        finally:
            marks[mark] = time.time()
    setattr(module, name, noted)

from forgeprep.commands import progress as shown, terminal
from forgeprep.pipeline.executors import ray_start
note(ray_start, "start_ray", "ray")
note(shown, "live", "plan")
note(terminal, "counting", "imports")
before_post = shown.Board.post

def post(self, shard, progress):
    before_post(self, shard, progress)
    if progress.rows and "first sample" not in marks:
        marks["first sample"] = time.time()
        json.dump(marks, open(sys.argv[1], "w"))
        raise KeyboardInterrupt

shown.Board.post = post
from forgeprep.cli import main
main(sys.argv[2:])
"""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--repeats", type=int, default=3)
    arguments.add_argument("--footage", type=Path, default=FOOTAGE, help="folder of clips; left out if not there")
    arguments.add_argument("--json", type=Path, help="write the figures to this file too")
    given = arguments.parse_args()
    figures = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_demo(folder / "demo", people=6, seconds=2.0, compressions=("c23",))
        inputs = {"demo": ("ffpp", folder / "demo")}
        if given.footage.is_dir():
            (folder / "footage/real").mkdir(parents=True)
            for clip in given.footage.resolve().glob("*.mp4"):
                (folder / "footage/real" / clip.name).symlink_to(clip)
            inputs["footage"] = ("folder", folder / "footage")
        print(f"{'':24}" + "".join(f"{mark:>14}" for mark in MARKS))
        for what, (dataset, root) in inputs.items():
            for workers in ("1", "2"):
                runs = [started(dataset, root, workers, folder / "out") for _ in range(given.repeats)]
                best = min(runs, key=lambda marks: marks["first sample"])
                print(f"{what + ', workers ' + workers:24}" + "".join(f"{best.get(mark, 0):14.2f}" for mark in MARKS))
                figures[f"start {what} workers {workers} s"] = best["first sample"]
    if given.json:
        given.json.write_text(json.dumps(figures))


def started(dataset: str, root: Path, workers: str, out: Path) -> dict[str, float]:
    """Seconds from the start of one command to each mark."""
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        note = Path(folder, "marks")
        words = ["run", dataset, "--root", str(root), "--out", f"{folder}/out", "--workers", workers]
        began = time.time()
        done = subprocess.run([sys.executable, "-c", NOTED, str(note), *words], capture_output=True, text=True)
        ended = time.time()
        if not note.exists():
            raise SystemExit(f"{' '.join(words)}: no sample came\n{done.stderr}")
        marks: dict[str, float] = json.loads(note.read_text())
    return {mark: at - began for mark, at in {**marks, "end": ended}.items()}


if __name__ == "__main__":
    main()
