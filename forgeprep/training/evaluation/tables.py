"""``forgeprep evaluate``: figures of forgery models by method, compression and dataset."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from forgeprep.errors import VerifyError
from forgeprep.io.safe_files import open_regular
from forgeprep.training.evaluation.details import Judged, details
from forgeprep.training.evaluation.evaluate import Verdicts, as_taken, find_verdicts
from forgeprep.training.evaluation.intervals import Bootstrap
from forgeprep.training.evaluation.levels import agreement, level_figures
from forgeprep.training.evaluation.metrics import clip_means
from forgeprep.training.evaluation.perturbed import Grid, perturbed_rows
from forgeprep.training.evaluation.robust import robustness, with_rows
from forgeprep.training.evaluation.score_files import write_score_files
from forgeprep.training.evaluation.summary import REAL as REAL
from forgeprep.training.evaluation.summary import clip_figures as clip_figures
from forgeprep.training.evaluation.summary import summary as summary
from forgeprep.training.evaluation.truth import clip_facts, shards_fingerprint
from forgeprep.training.inference.loaded import LoadedModel
from forgeprep.training.sample_index import SampleIndex, load_index
from forgeprep.training.seen import seen

Seen = dict[str, Any] | None
"""What :func:`forgeprep.training.seen.seen` finds of a set."""
MAP_MEAN, PROBABILITY = "mean of a map", "probability"


def evaluate_run(
    loaded: LoadedModel,
    shards: Sequence[Path],
    *,
    split: str = "test",
    bootstrap: Bootstrap | None = None,
    grid: Grid | None = None,
    tell: Callable[[int, int], None] = lambda done, of: None,
    watch: Callable[[Path, Verdicts, Seen], None] = lambda *_: None,
) -> dict[str, Any]:
    """Judge a split of each run of shards; returns what ``evaluation.json`` holds. ``watch`` is told of each.

    With ``bootstrap``, figures get intervals. With ``grid``, clean samples are judged again, perturbed; ``tell`` is
    told how many cells of how many are done.
    """
    config = loaded.config
    sets: dict[str, Any] = {}
    judged: dict[str, Judged] = {}
    places: dict[Path, tuple[SampleIndex, Judged]] = {}
    for out in shards:
        read = load_index([out], split, numbered=config["methods"], target=loaded.recipe.target)
        index = as_taken(read, loaded.model)
        found = find_verdicts(loaded, index)
        clips, absent = clip_facts(out, split)
        known = seen(loaded.run, config, clips.values())
        watch(out, found, known)
        verdicts = found.finite()
        # A model of pixels calls an image a fake from the share of forged pixels that was best on val.
        sets[str(out)] = {**summary(verdicts, index.methods, loaded.threshold), "seen": known}
        judged[str(out)] = Judged(
            verdicts, clips, loaded.threshold, val_threshold(loaded), verdicts.mask_means is None, absent,
            {"error": len(found.rows) - len(verdicts.rows)},
        )  # fmt: skip
        places[out] = index, judged[str(out)]
        sets[str(out)] |= details(judged[str(out)], bootstrap)
        if verdicts.levels:
            names = config["options"]["names"]
            sets[str(out)] |= {
                "levels": level_figures(verdicts.rows, verdicts.levels, names, verdicts.level_shares),
                "levels_agree": agreement(verdicts.rows, verdicts.levels),
            }
    robust = robustness(judged)
    if grid is not None:
        robust = with_rows(robust, perturbed_rows(loaded, places, grid, tell))
    limited = config.get("kind") or config["recipe"].get("methods")
    return {
        "run": str(loaded.run), "model": config["model"], "options": config["options"], "step": loaded.facts["step"],
        "learned": [name for name in config["methods"] if name] if limited else None,
        "split": split, "threshold": loaded.threshold, "sets": sets, **robust,
    }  # fmt: skip


def val_threshold(loaded: LoadedModel) -> float | None:
    """The threshold with the best balanced accuracy on val; None for trainings that have not kept it."""
    if not loaded.model.learns_label():
        return loaded.threshold
    kept = loaded.facts.get("val_threshold")
    return None if kept is None else float(kept)


def write_scores(
    verdicts: Verdicts, base: Path, loaded: LoadedModel, out: Path, split: str, learnt: Seen
) -> list[Path]:
    """Write the score of each sample and of each clip, as Parquet and CSV, from which all figures can be made again.

    Args:
        verdicts: on a split of the shards.
        base: the files without their suffix; those of clips have ``-clips`` behind it.
        loaded: the model.
        out: the shards.
        split: the split.
        learnt: how much of it the training has seen.
    """
    model = loaded.model
    facts = {
        "model": loaded.config["model"],
        "run": loaded.run.name,
        "step": loaded.facts["step"],
        "checkpoint": _checkpoint(loaded),
        "split": split,
        "shards": out.name,
        "data": shards_fingerprint(out),
        "score": PROBABILITY if verdicts.mask_means is None else MAP_MEAN,
        "threshold": loaded.threshold,
        "val_threshold": val_threshold(loaded),
        "seen": learnt,
        # Rows are sequences, which the model has made of frames.
        "sequence": [model.sequence_frames, model.sequence_step] if model.sequence_frames else None,
    }
    ids = [row["sample_id"] for row in verdicts.rows]
    files = write_score_files(base, ids, verdicts.scores, {**facts, "level": "sample"}, verdicts.rows)
    known = verdicts.finite()
    names, means = clip_means([row["clip_id"] for row in known.rows], known.scores)
    rows = {row["clip_id"]: row for row in sorted(verdicts.rows, key=lambda row: int(row["label"]))}
    lost = sorted(rows.keys() - set(names))
    scores = [*means.tolist(), *[float("nan")] * len(lost)]
    kept = ("clip_id", "dataset", "label", "forgery", "method", "family", "compression")
    columns = [{name: rows[clip].get(name) for name in kept} for clip in [*names, *lost]]
    clips = base.with_name(f"{base.name}-clips")
    return files + write_score_files(clips, [*names, *lost], scores, {**facts, "level": "clip"}, columns)


def _checkpoint(loaded: LoadedModel) -> str:
    """The checksum of the weights."""
    file = loaded.run / str(loaded.facts["tensors"])
    try:
        with open_regular(file) as tensors:
            return hashlib.file_digest(tensors, "sha256").hexdigest()
    except OSError as error:
        raise VerifyError(f"{file}: {error.strerror}; train again") from None
