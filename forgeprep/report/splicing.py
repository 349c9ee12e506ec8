"""What ``forgeprep splice`` takes and prints."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from typing import Any

from forgeprep.datasets import get_dataset
from forgeprep.datasets.base import ScanOptions
from forgeprep.errors import UsageError
from forgeprep.pipeline.configure import make_config
from forgeprep.pipeline.executors.execution import Execution
from forgeprep.report.console import stoppable
from forgeprep.report.summary import split_order
from forgeprep.report.terminal import add_cells, console, counting, light_table, unattended
from forgeprep.splice.make import SpliceRules
from forgeprep.splice.pairs import SKIPPED
from forgeprep.splice.run import Spliced, splice
from forgeprep.splice.spans import SpanRule, read_count, read_extent

_SCANNED = ("compression", "methods", "splits", "detector")


def splice_on_console(given: Mapping[str, Any]) -> None:
    """``forgeprep splice``; ``given`` are its flags."""
    config = make_config(
        given["dataset"],
        {"stages": "crop", "options": given["option"], **{name: given[name] for name in _SCANNED}},
    )
    gap = read_extent("--gap", given["gap"])
    if gap.low != gap.high:
        raise UsageError(f"--gap: must be one number, the least distance (got {given['gap']!r})")
    rules = SpliceRules(
        spans=SpanRule(read_count("--spans", given["spans"]), read_extent("--length", given["length"]), gap),
        copies=given["copies"],
        seed=given["seed"],
        crf=given["crf"],
        detector=config.params["crop"]["detector"],
    )
    workers = given["workers"] if given["workers"] is not None else os.cpu_count() or 1
    how = Execution(workers, given["address"])
    params = get_dataset(config.dataset).params(**config.options)
    with unattended(), stoppable(given["out"]), counting() as tell:
        options = ScanOptions(config.compression, config.methods, config.splits, params, lambda n: tell("files", n))
        made = splice(config.dataset, given["root"], given["out"], options, rules, how=how, progress=tell)
    _print(made)
    console.print(f"next: forgeprep run manifest --root {given['out']} --out OUT", markup=False)


def _print(made: Spliced) -> None:
    for warning in made.warnings:
        console.print(f"warning: {warning}", markup=False)
    clips: dict[tuple[str, str], list[int]] = {}
    for clip in made.clips:
        counts = clips.setdefault((clip["split"], clip["method"] or "real"), [0, 0, 0, 0])
        forged = [count for _, count, label in clip["spans"] if label]
        for place, value in enumerate((1, len(forged), clip["frames"], sum(forged))):
            counts[place] += value
    table = light_table("clips", ["split", "method"], ["clips", "forged spans", "frames", "forged frames"])
    for (split, method), counts in sorted(clips.items(), key=lambda item: (split_order(item[0][0]), item[0][1])):
        add_cells(table, split, method, *(f"{count:,}" for count in counts))
    console.print(table)
    reasons = Counter(skip["reason"] for skip in made.skipped)
    if reasons:
        table = light_table("left out, see skipped.csv", ["reason"], ["fakes"], ["meaning"])
        for reason, count in sorted(reasons.items(), key=lambda item: (-item[1], item[0])):
            add_cells(table, reason, f"{count:,}", SKIPPED.get(reason, ""))
        console.print(table)
