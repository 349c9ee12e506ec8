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
from forgeprep.training.evaluation.delong import compare, delong_covariance
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
    """

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self._truths: dict[tuple[Any, ...], Truth] = {}
        self._prints: dict[Path, str] = {}

    def score(self, path: Path, out: Path, split: str | None = None, val_threshold: float | None = None) -> Scored:
        """A file's verdicts on a split of shards; without ``split`` that which the file names, else test.

        ``val_threshold`` is that of :meth:`best_on_val`; None: as the file says.

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
        verdicts, lost = self._verdicts(matched, file)
        if val_threshold is None:
            val_threshold = file.facts.get("val_threshold")
        probability = file.facts.get("score", "probability") == "probability"
        judged = Judged(
            verdicts, truth.clips, threshold, val_threshold, probability, truth.absent, lost,
            level=matched.level, rule=rule_name(self.rules.missing) if any(lost.values()) else "drop",
        )  # fmt: skip
        return Scored(file, judged, split, notes, self._seen(file, out))

    def best_on_val(self, path: Path, out: Path) -> float:
        """The best threshold on val, by a detector's scores of it."""
        file = read_score_file(path, self.rules.columns)
        matched = match(file, self._truth(out, "val", file), f"{out}, split val")
        verdicts, _ = self._verdicts(matched, file)
        return best_threshold(verdicts.labels, verdicts.scores)

    def _truth(self, out: Path, split: str, file: ScoreFile) -> Truth:
        told = file.facts.get("sequence")
        sequence = (told[0], told[1]) if told else None
        key = (out, split, sequence)
        if key not in self._truths:
            self._truths[key] = read_truth(out, split, sequence=sequence)
        return self._truths[key]

    def _of_these(self, file: ScoreFile, out: Path) -> bool:
        """Whether a file says of which shards it is, and it is of these."""
        if out not in self._prints:
            self._prints[out] = shards_fingerprint(out)
        return bool(file.facts.get("data") == self._prints[out])

    def _seen(self, file: ScoreFile, out: Path) -> dict[str, Any]:
        known = "seen" in file.facts and self._of_these(file, out)
        return {"seen": file.facts["seen"]} if known else {}

    def _doubts(self, file: ScoreFile, out: Path, matched: Matched) -> list[str]:
        notes = list(file.notes)
        if file.facts.get("data") is not None and not self._of_these(file, out):
            notes.append(f"{file.path}: was made from other shards than those that are in {out} now")
        turning = " and ".join(f"--{name}" for name in ("sigmoid", "invert") if getattr(self.rules, name))
        if turning and _is_ours(file):
            notes.append(
                f"{file.path}: forgeprep wrote it, and its scores are of fake already: taken without {turning}"
            )
            return notes
        beyond = outside(file.scores)
        if self.rules.sigmoid and not beyond and np.isfinite(file.scores).any():
            notes.append(f"{file.path}: all its scores lie in [0, 1], probabilities perhaps: then leave out --sigmoid")
        if beyond and not self.rules.sigmoid:
            notes.append(
                f"{file.path}: {counted(beyond, 'score')} outside [0, 1], logits perhaps: --sigmoid makes them "
                f"probabilities; until then fake is above {self._threshold(file):g}"
            )
        if not self.rules.invert and not _is_ours(file) and _below_chance(matched):
            notes.append(f"{file.path}: reals score above fakes (AUC below 50): of the real class? Then give --invert")
        return notes

    def _threshold(self, file: ScoreFile) -> float:
        if self.rules.threshold is not None:
            return self.rules.threshold
        told = file.facts.get("threshold")
        return 0.5 if told is None else float(told)

    def _verdicts(self, matched: Matched, file: ScoreFile) -> tuple[Verdicts, dict[str, int]]:
        """The verdicts, by what is done about samples without a score; and how many these are, by why."""
        scores = matched.scores if _is_ours(file) else self._turned(matched.scores)
        known = np.isfinite(scores)
        lost = {why: matched.status.count(why) for why in ("missing", "error")}
        rule = self.rules.missing
        if not known.all():
            labels = np.array([row["label"] for row in matched.rows])
            if rule == "error":
                kinds = ", ".join(f"{number:,} {why}" for why, number in lost.items() if number)
                others = f", and {counted(matched.unknown, 'id')} of none of them" if matched.unknown else ""
                raise UsageError(
                    f"{file.path}: {len(scores) - np.count_nonzero(known):,} of "
                    f"{counted(len(scores), matched.level[:-1])} have no score ({kinds}){others}; choose with "
                    "--missing drop, worst or score=0.5"
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


def _is_ours(file: ScoreFile) -> bool:
    """Whether a file of forgeprep's own says what its scores are: of fake, from 0 to 1."""
    return "score" in file.facts


def _below_chance(matched: Matched) -> bool:
    """Whether AUC by clip is below one half by more than chance."""
    known = np.flatnonzero(np.isfinite(matched.scores))
    verdicts = Verdicts([matched.rows[at] for at in known], matched.scores[known])
    own = entries(Judged(verdicts, {}, level=matched.level), "clips")
    fakes = int(np.count_nonzero(own.labels))
    if min(fakes, len(own.labels) - fakes) < 2:  # So few tell nothing but where they are all wrong.
        kinds = [verdicts.scores[verdicts.labels == label] for label in (1, 0)]
        return all(map(len, kinds)) and bool(kinds[0].max() < kinds[1].min())
    [auc], [[variance]] = delong_covariance(own.labels, own.scores)
    return bool(auc + 1.96 * np.sqrt(max(0.0, variance)) < 0.5)


def thresholds_of_val(scorer: Scorer, files: Sequence[Path], given: Sequence[Path], out: Path) -> list[float | None]:
    """The threshold of each file's ``--val``; None for one that has none, whose own facts count then.

    Raises:
        UsageError: it is not plain whose they are.
    """
    places = list(range(len(files)))
    if given and len(given) != len(files):
        # Files of forgeprep's own bring their threshold.
        lacking = (read_score_file(file, scorer.rules.columns).facts.get("val_threshold") is None for file in files)
        places = [at for at, lacks in enumerate(lacking) if lacks]
    if given and len(given) != len(places):
        raise UsageError(
            f"--val: {counted(len(given), 'file')} for {counted(len(files), 'file')} of scores; give one for each, in "
            "their order, or for each of those alone that do not tell a threshold of their own"
        )
    found: list[float | None] = [None] * len(files)
    for at, file in zip(places, given, strict=False):
        found[at] = scorer.best_on_val(file, out)
    return found


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
