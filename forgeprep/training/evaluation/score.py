"""``forgeprep score``: the figures of score files, one's own or other people's; needs no torch."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from forgeprep.errors import UsageError
from forgeprep.text import counted
from forgeprep.training.evaluation.curves import Curve
from forgeprep.training.evaluation.delong import compare
from forgeprep.training.evaluation.details import Judged, Level, details, entries
from forgeprep.training.evaluation.intervals import Bootstrap, difference
from forgeprep.training.evaluation.match import Matched, match, outside
from forgeprep.training.evaluation.metrics import best_threshold
from forgeprep.training.evaluation.parts import short_names
from forgeprep.training.evaluation.robust import robustness
from forgeprep.training.evaluation.score_files import Columns, ScoreFile, read_score_file
from forgeprep.training.evaluation.summary import summary
from forgeprep.training.evaluation.truth import Truth, read_truth, shards_fingerprint
from forgeprep.training.evaluation.verdicts import Verdicts

Policy = Literal["error", "drop", "worst"]


@dataclass(frozen=True, slots=True)
class Rules:
    """How files are read.

    Attributes:
        columns: what their columns are called.
        missing: of samples without a score: ``error`` refuses them, ``drop`` leaves them out, ``worst`` calls reals
            fake and fakes real; a number is the score that they get.
        sigmoid: scores are logits.
        invert: scores are of the real class.
        threshold: a score above it means fake; None: as the file says, else 0.5.
        bootstrap: how intervals are found.
    """

    columns: Columns = field(default_factory=Columns)
    missing: Policy | float = "error"
    sigmoid: bool = False
    invert: bool = False
    threshold: float | None = None
    bootstrap: Bootstrap = field(default_factory=Bootstrap)


@dataclass(frozen=True, slots=True)
class Scored:
    """A file's verdicts on the samples of a set, and what is to be said of it.

    ``seen``: under that name, how much of the set the training has seen, where a file of forgeprep's own tells.
    """

    file: ScoreFile
    judged: Judged
    split: str
    notes: list[str]
    seen: Mapping[str, Any] = field(default_factory=dict)


class Scorer:
    """Scores files by the same rules; what the shards say is read once.

    Args:
        rules: how files are read.
        val: scores of the same detector on val, whose best threshold is told beside; None: as each file says.
    """

    def __init__(self, rules: Rules, val: Path | None = None) -> None:
        self.rules, self.val = rules, val
        self._truths: dict[tuple[Any, ...], Truth] = {}
        self._prints: dict[Path, str] = {}

    def score(self, path: Path, out: Path, split: str | None = None) -> Scored:
        """A file's verdicts on a split of shards; without ``split`` that which the file names, else test.

        Raises:
            UsageError: no such file, nothing in it is of these shards, or samples have no score and none is allowed to.
            VerifyError: the file or a shard is damaged.
        """
        file = read_score_file(path, self.rules.columns)
        split = split or file.facts.get("split") or "test"
        truth = self._truth(out, split, file)
        matched = match(file, truth, f"{out}, split {split}")
        notes = [*matched.notes, *self._doubts(file, out, matched)]
        threshold = self._threshold(file)
        verdicts, lost = self._verdicts(matched, path)
        probability = file.facts.get("score", "probability") == "probability"
        judged = Judged(
            verdicts, truth.clips, threshold, self._val_threshold(file, out), probability, truth.absent, lost,
            level=matched.level, rule=rule_name(self.rules.missing) if any(lost.values()) else "drop",
        )  # fmt: skip
        return Scored(file, judged, split, notes)

    def _truth(self, out: Path, split: str, file: ScoreFile) -> Truth:
        told = file.facts.get("sequence")
        sequence = (told[0], told[1]) if told else None
        key = (out, split, sequence)
        if key not in self._truths:
            self._truths[key] = read_truth(out, split, sequence=sequence)
        return self._truths[key]

    def _doubts(self, file: ScoreFile, out: Path, matched: Matched) -> list[str]:
        notes = []
        data = file.facts.get("data")
        if data is not None:
            if out not in self._prints:
                self._prints[out] = shards_fingerprint(out)
            if data != self._prints[out]:
                notes.append(f"{file.path}: was made from other shards than those that are in {out} now")
        beyond = outside(file.scores)
        if beyond and not self.rules.sigmoid:
            notes.append(
                f"{file.path}: {counted(beyond, 'score')} outside [0, 1], logits perhaps: --sigmoid makes them "
                f"probabilities; until then fake is above {self._threshold(file):g}"
            )
        labels = np.array([row["label"] for row in matched.rows])
        known = np.isfinite(matched.scores)
        fakes, reals = (matched.scores[known & (labels == kind)] for kind in (1, 0))
        if len(fakes) and len(reals) and not self.rules.invert and fakes.max() < reals.min():
            notes.append(f"{file.path}: every real scores above every fake: of the real class? Then give --invert")
        return notes

    def _threshold(self, file: ScoreFile) -> float:
        if self.rules.threshold is not None:
            return self.rules.threshold
        told = file.facts.get("threshold")
        return 0.5 if told is None else float(told)

    def _val_threshold(self, file: ScoreFile, out: Path) -> float | None:
        if self.val is None:
            told = file.facts.get("val_threshold")
            return None if told is None else float(told)
        own = read_score_file(self.val, self.rules.columns)
        matched = match(own, self._truth(out, "val", own), f"{out}, split val")
        verdicts, _ = self._verdicts(matched, self.val)
        return best_threshold(verdicts.labels, verdicts.scores)

    def _verdicts(self, matched: Matched, path: Path) -> tuple[Verdicts, dict[str, int]]:
        """The verdicts, by what is done about samples without a score; and how many these are, by why."""
        scores = self._turned(matched.scores)
        known = np.isfinite(scores)
        lost = {why: matched.status.count(why) for why in ("missing", "error")}
        rule = self.rules.missing
        if not known.all():
            labels = np.array([row["label"] for row in matched.rows])
            if rule == "error":
                kinds = ", ".join(f"{number:,} {why}" for why, number in lost.items() if number)
                others = f", and {counted(matched.unknown, 'id')} of none of them" if matched.unknown else ""
                raise UsageError(
                    f"{path}: {int(np.count_nonzero(~known)):,} of {counted(len(scores), matched.level[:-1])} have no "
                    f"score ({kinds}){others}; choose with --missing drop, worst or score=0.5"
                )
            if rule == "worst":
                # Of logits, the farthest that there are.
                low, high = (0.0, 1.0) if not outside(scores[known]) else (scores[known].min(), scores[known].max())
                scores = np.where(known, scores, np.where(labels == 1, low, high))
            elif rule != "drop":
                scores = np.where(known, scores, float(rule))
        kept = np.flatnonzero(np.isfinite(scores))
        return Verdicts([matched.rows[at] for at in kept], scores[kept]), lost

    def _turned(self, scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        if self.rules.sigmoid:
            scores = np.asarray(expit(scores), np.float64)
        if self.rules.invert:
            scores = -scores if outside(scores) else 1 - scores
        return scores


def rule_name(missing: Policy | float) -> str:
    """A rule as ``--missing`` has it."""
    return missing if isinstance(missing, str) else f"score={missing:g}"


def evaluation_of(scored: Scored, out: Path, rules: Rules, perturbed: Mapping[Path, Scored]) -> dict[str, Any]:
    """What ``evaluation.json`` holds of a file; ``perturbed``: the same detector on perturbed shards."""
    facts = scored.file.facts
    every = {out: scored, **perturbed}
    sets = {}
    for place, one in every.items():
        found = summary(one.judged.verdicts, (), one.judged.threshold)
        sets[str(place)] = {**found, **one.seen, "level": one.judged.level, **details(one.judged, rules.bootstrap)}
    return {
        "run": str(scored.file.path), "model": facts.get("model") or scored.file.path.stem, "options": {},
        "step": facts.get("step"), "split": scored.split,
        "threshold": scored.judged.threshold, "facts": dict(facts),
        "missing": rule_name(rules.missing), "sets": sets,
        **robustness({str(place): one.judged for place, one in every.items()}),
    }  # fmt: skip


def comparisons(scored: Sequence[Scored], level: Level, bootstrap: Bootstrap) -> list[dict[str, Any]]:
    """DeLong's test of each pair of files, on what all of them score: of clips, by the mean of the same frames.

    Raises:
        UsageError: they have nothing in common, or a file of clips is to be compared by frame.
    """
    if len(scored) < 2:
        return []
    if level == "frames" and any(one.judged.level == "clips" for one in scored):
        raise UsageError(f"{scored[0].file.path}: a file of clips has no frames; compare with --level clips")
    tables = [_keyed(judged, level) for judged in same_frames([one.judged for one in scored])]
    shared = sorted(set.intersection(*(set(table) for table in tables)))
    if not shared:
        raise UsageError(f"{scored[0].file.path}: has no {level} in common with the others; nothing to compare")
    labels = np.array([tables[0][key][0] for key in shared])
    clips = scored[0].judged.clips
    units = [clips[tables[0][key][2]].units("source") for key in shared]
    scores = [np.array([table[key][1] for key in shared]) for table in tables]
    names = short_names([one.file.path for one in scored])
    found = []
    for a, b in itertools.combinations(range(len(scored)), 2):
        curves = [Curve(labels, scores[at], scored[at].judged.threshold) for at in (a, b)]
        test = compare(labels, scores[a], scores[b], bootstrap.confidence)
        by_source = difference(curves[0], curves[1], units, "auc", bootstrap)
        found.append({
            "first": names[a], "second": names[b], "level": level, "entries": len(shared), **asdict(test),
            "by_source": by_source, "groups": len(set(units)), "confidence": bootstrap.confidence,
        })  # fmt: skip
    return found


def same_frames(judged: Sequence[Judged]) -> list[Judged]:
    """The files with the samples alone that all files of samples score; files of clips as they are."""
    ids = [{row["sample_id"] for row in one.verdicts.rows} for one in judged if one.level == "frames"]
    shared = set.intersection(*ids) if ids else set()
    found = []
    for one in judged:
        rows, scores = one.verdicts.rows, one.verdicts.scores
        kept = [at for at, row in enumerate(rows) if one.level == "clips" or row["sample_id"] in shared]
        found.append(replace(one, verdicts=Verdicts([rows[at] for at in kept], scores[kept])))
    return found


def _keyed(judged: Judged, level: Level) -> dict[str, tuple[int, float, str]]:
    """Sample or clip -> label, score and clip."""
    own = entries(judged, level)
    keys = [row["sample_id"] for row in judged.verdicts.rows] if level == "frames" else own.clip_ids
    return {
        key: (int(label), float(score), clip)
        for key, label, score, clip in zip(keys, own.labels, own.scores, own.clip_ids, strict=True)
    }
