"""How well are forged spans found? Splices the demo dataset, and localises the spans in the people of test.

    forgeprep demo demo && python benchmarks/spans.py --root demo --work DIR

Three ways beside one another, all blind to the spans of the clips they judge but for the last: what the mask stage
sees (the clips are run as if wholly forged, and `detected_spans` of meta/clips.pq are the proposals); `bmn` on the
features of a detector trained on the frames; and, as a bound, the masks that follow from the told spans. DIR is kept.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq

from forgeprep.training.temporal.figures import temporal_figures


def main() -> None:
    """Splice, run, train, judge."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--root", type=Path, required=True, help="a folder of forgeprep demo")
    arguments.add_argument("--work", type=Path, required=True)
    arguments.add_argument("--compression", default="c23")
    arguments.add_argument("--eyes", default="xception-cls", help="the detector whose features bmn gets")
    arguments.add_argument("--steps", type=int, default=200)
    given = arguments.parse_args()
    work, clips = given.work, given.work / "spliced"
    spans = ["--spans", "1-2", "--length", "12-30", "--gap", "8", "--copies", "4"]
    command("splice", "ffpp", "--root", given.root, "--out", clips, "--compression", given.compression, *spans)
    show("masks, spans not told", blind(work, clips))
    run: list[str | Path] = ["--root", clips, "--stages", "crop,mask", "--size", "128", "--frames", "all"]
    command("run", "manifest", *run, "--out", work / "told")
    flags = ["--shards", work / "told", "--gpus", "0"]
    settings = {
        "size": 128,
        "batch": 8,
        "steps": given.steps,
        "epochs": 1,
        "lr": 3e-4,
        "balance": True,
        "view": "resize",
    }
    for setting in settings.items():
        flags += ["--set", "=".join(map(str, setting))]
    command("train", given.eyes, "--run", work / "eyes", *flags)
    of_bmn = ["--shards", work / "told", "--gpus", "0"]
    more = ["--model-option", f"features={work / 'eyes'}", "--set", "epochs=30", "--set", "patience=30"]
    command("train", "bmn", "--run", work / "bmn", *of_bmn, *more)
    print(command("evaluate", work / "bmn", *of_bmn))


def blind(work: Path, clips: Path) -> dict[str, float]:
    """The figures of the spans that a run finds in clips of test of which nobody told it the spans."""
    rows = [row for row in csv.DictReader((clips / "manifest.csv").open()) if row["split"] == "test"]
    with (clips / "blind.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [name for name in rows[0] if name != "spans"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    run: list[str | Path] = ["--root", clips, "--stages", "crop,mask", "--frames", "all", "--option", "file=blind.csv"]
    command("run", "manifest", *run, "--out", work / "blind")
    truth, found = {}, {}
    for clip in pq.read_table(work / "blind" / "meta/clips.pq").to_pylist():
        if clip["label"] == 1:
            (told,) = [row["spans"] for row in rows if row["path"] == clip["path"]]
            parts = [tuple(map(int, part.split())) for part in told.split(";")]
            truth[clip["clip_id"]] = [(a / clip["fps"], (a + n) / clip["fps"]) for a, n, label in parts if label]
            found[clip["clip_id"]] = [(a, b, 1.0) for a, b in clip["detected_spans"] or []]
    print(f"{sum(map(len, truth.values()))} spans in {len(truth)} clips of test")
    return temporal_figures(truth, found)


def show(name: str, figures: dict[str, float]) -> None:
    """A line of figures, in percent."""
    print(name, *(f"{key} {100 * value:.1f}" for key, value in figures.items()), sep="  ", flush=True)


def command(*words: str | Path) -> str:
    """Run forgeprep; returns what it printed."""
    line = [sys.executable, "-m", "forgeprep.cli", *map(str, words)]
    done = subprocess.run(line, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "160"})
    if done.returncode:
        sys.exit(f"{' '.join(line)}\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
