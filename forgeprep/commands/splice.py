"""``forgeprep splice``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forgeprep.commands.flags import ANY, EXECUTION, INPUT, OUTPUT, Address, Dataset, Debug, Json, complete_detectors
from forgeprep.commands.groups import given_words, single

if TYPE_CHECKING:
    from forgeprep.splice.run import Spliced

SPANS = "Spans"
EXAMPLES = """
forgeprep splice ffpp
forgeprep splice ffpp --root FaceForensics++ --out short --length 0.4-2s
forgeprep run manifest --root short --out shards
"""


def splice(
    context: typer.Context,
    dataset: Dataset,
    root: Annotated[
        Path | None,
        typer.Option(help="Folder of the raw dataset. [default: as for 'run']", rich_help_panel=INPUT, **ANY),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the new dataset. [default: spliced/DATASET]", rich_help_panel=OUTPUT, **ANY),
    ] = None,
    compression: Annotated[
        str | None,
        typer.Option(help="As in 'run'. [default: the dataset's]", metavar="TEXT", rich_help_panel=INPUT),
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(help="As in 'run'. [default: all that are there]", metavar="TEXT", rich_help_panel=INPUT),
    ] = None,
    splits: Annotated[
        str | None, typer.Option(help="As in 'run'. [default: train,val,test]", metavar="TEXT", rich_help_panel=INPUT)
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(help="An option of the dataset.", metavar="NAME=VALUE", rich_help_panel=INPUT),
    ] = None,
    spans: Annotated[
        str, typer.Option(help="Forged spans a clip: a number or a range.", metavar="TEXT", rich_help_panel=SPANS)
    ] = "1-3",
    length: Annotated[
        str,
        typer.Option(
            help="Length of a span: frames, 10-60, or seconds, 0.4-2s.", metavar="TEXT", rich_help_panel=SPANS
        ),
    ] = "10-60",
    gap: Annotated[
        str,
        typer.Option(
            help="Least distance of two spans: frames, or seconds such as 0.4s.", metavar="TEXT", rich_help_panel=SPANS
        ),
    ] = "10",
    copies: Annotated[
        int, typer.Option(help="Clips of each fake, each with spans of its own.", min=1, rich_help_panel=SPANS)
    ] = 1,
    seed: Annotated[int, typer.Option(help="The same seed gives the same spans.", min=0, rich_help_panel=SPANS)] = 0,
    detector: Annotated[
        str,
        typer.Option(
            help="Face detector, as in 'run'.",
            metavar="TEXT",
            rich_help_panel="Faces",
            autocompletion=complete_detectors,
        ),
    ] = "libfacedetection",
    crf: Annotated[
        int,
        typer.Option(help="Quality of H.264, 0 (lossless) to 51.", min=0, max=51, rich_help_panel=OUTPUT),
    ] = 18,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Source groups at a time; 1 works in this process, without Ray. [default: one a core]",
            min=0,
            metavar="INTEGER",
            rich_help_panel=EXECUTION,
        ),
    ] = None,
    address: Address = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make clips that are forged in random spans.

    Each is an original, in parts replaced by the frames of its fake.
    """
    from forgeprep.commands import where
    from forgeprep.commands.execution import force_of
    from forgeprep.commands.stopping import stoppable
    from forgeprep.commands.terminal import console, counting, document, unattended
    from forgeprep.datasets import get_dataset
    from forgeprep.datasets.base import ScanOptions
    from forgeprep.errors import UsageError
    from forgeprep.faces.detectors import get_detector
    from forgeprep.pipeline.configure import make_config
    from forgeprep.pipeline.executors.execution import Execution
    from forgeprep.pipeline.precedence import Source, Taken, take
    from forgeprep.pipeline.resolve import FLAGS, out_of, sources
    from forgeprep.splice.make import SpliceRules
    from forgeprep.splice.run import splice as make_clips
    from forgeprep.splice.spans import SpanRule, read_count, read_extent

    scanned = {"compression": compression, "methods": methods, "splits": splits, "detector": detector}
    config = make_config(dataset, {"stages": "crop", "options": option, **scanned})
    distance = read_extent("--gap", gap)
    if distance.low != distance.high:
        raise UsageError(f"--gap: must be one number, the least distance (got {gap!r})")
    rules = SpliceRules(
        spans=SpanRule(read_count("--spans", spans), read_extent("--length", length), distance),
        copies=copies,
        seed=seed,
        crf=crf,
        detector=config.params["crop"]["detector"],
    )
    taken, here = take(sources(dataset, {"root": root}, Path.cwd())), Path.cwd()
    source = where.root_of(taken, config.dataset, here, given_words(context))
    given = None if out is None else Taken(out, Source(FLAGS, {}))
    target = out_of("spliced", config.dataset, given, here, source.value)
    with document(as_json) as told:
        where.tell(config.dataset, dataset, {}, source, target)
        params = get_dataset(config.dataset).params(**config.options)
        force = force_of({"workers": workers, "address": address})
        how = Execution(force.most(get_detector(rules.detector).resources), force.address or "local")
        with unattended(), stoppable(target.value), counting() as tell:
            options = ScanOptions(
                config.compression, config.methods, config.splits, params, progress=lambda n: tell("files", n)
            )
            made = make_clips(config.dataset, source.value, target.value, options, rules, how=how, progress=tell)
        _print(made)
        told |= {"out": str(target.value), "clips": len(made.clips), "skipped": len(made.skipped)}
        console.print(f"next: forgeprep run manifest --root {target.value}", markup=False)


app = single(splice, examples=EXAMPLES)


def _print(made: Spliced) -> None:
    from collections import Counter

    from forgeprep.commands.terminal import add_cells, console, light_table, print_table
    from forgeprep.report.summary import split_order
    from forgeprep.splice.pairs import SKIPPED

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
    print_table(table)
    reasons = Counter(skip["reason"] for skip in made.skipped)
    if reasons:
        table = light_table("left out, see skipped.csv", ["reason"], ["fakes"], ["meaning"])
        for reason, count in sorted(reasons.items(), key=lambda item: (-item[1], item[0])):
            add_cells(table, reason, f"{count:,}", SKIPPED.get(reason, ""))
        print_table(table)
