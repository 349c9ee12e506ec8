"""Temporal localisation: train a boundary-matching network on a detector's features, and judge where it finds spans."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import torch

from forgeprep.errors import ForgeprepError, UsageError
from forgeprep.io.atomic import atomic_write_bytes
from forgeprep.io.storage import parquet_source
from forgeprep.training.checkpoint import load_state, save_state
from forgeprep.training.data import SampleIndex, Samples, frames_alone, load_index, read_values
from forgeprep.training.evaluation.evaluate import _of_one_size, padded_image
from forgeprep.training.evaluation.tables import load_detector, md_table, per_cent, plain
from forgeprep.training.models import build
from forgeprep.training.models.detector import Detector
from forgeprep.training.recipe import Recipe
from forgeprep.training.run_folder import Report, Training, claim, logged, read_config
from forgeprep.training.temporal.figures import temporal_figures
from forgeprep.training.temporal.timeline import (
    Proposals,
    Timeline,
    judged,
    make_timeline,
    proposals_of_maps,
    proposals_of_scores,
    spread,
    targets,
)
from forgeprep.training.trainer import pick_device
from forgeprep.training.transforms import collate, prepare, to_device

Floats = npt.NDArray[np.float64]

Seen = tuple[Timeline, Floats, dict[str, Proposals]]
"""A clip, the score of each frame, and way -> proposals."""
SHORT = 4
"""A clip of fewer sampled frames has no line of time: pictures, above all."""


@dataclass(frozen=True, slots=True)
class Line:
    """A clip to localise in: its time, the samples on it, and for each sampled frame what its mask says.

    Attributes:
        time: frames and labels.
        numbers: of the samples, in any order; ``places`` has the frame of each.
        places: position in ``time.frames`` of each sample.
        mask: forged share of the crop times confidence, of each frame; zero where there is no mask.
    """

    time: Timeline
    numbers: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]
    mask: Floats


@dataclass(frozen=True, slots=True)
class Eyes:
    """The trained detector whose features are used, ready to look at frames."""

    detector: Detector
    recipe: Recipe
    size: int
    device: torch.device

    def look(self, samples: Samples, line: Line) -> Floats:
        """Features of each frame of a clip, (N, C), the last of them the score; of several faces in one the mean."""
        total, seen = np.zeros(0), np.zeros(len(line.time.frames))
        places = dict(zip(line.numbers.tolist(), line.places.tolist(), strict=True))
        for at in range(0, len(line.numbers), self.recipe.batch):
            rows = samples.read(line.numbers[at : at + self.recipe.batch].tolist())
            for group in _of_one_size([prepare(row, self.recipe, self.size, train=False) for row in rows]):
                batch = to_device(collate(group, self.recipe.sigma), self.device, noise=False)
                with torch.inference_mode():
                    found = self.detector.describe(padded_image(self.detector, batch["image"])).double().cpu().numpy()
                total = total if total.size else np.zeros((len(seen), found.shape[1]))
                chosen = [places[sample["number"]] for sample in group]
                np.add.at(total, chosen, found)
                np.add.at(seen, chosen, 1)
        return np.asarray(total / np.maximum(seen, 1)[:, None], np.float64)


def lines_of(index: SampleIndex) -> list[Line]:
    """The clips of a split that are long enough, by name."""
    columns = ["clip_id", "frame_index", "mask_fraction", "mask_confidence"]
    clips: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for number, values in enumerate(read_values(index, columns)):
        clips.setdefault(values["clip_id"], []).append((number, values))
    told = _told(index)
    lines = []
    for clip_id, rows in sorted(clips.items()):
        numbers = np.array([number for number, _ in rows], np.int64)
        frames = [values["frame_index"] for _, values in rows]
        time = make_timeline(clip_id, frames, index.label[numbers].tolist(), told.get(clip_id))
        places = np.searchsorted(time.frames, frames)
        mask = np.zeros(len(time.frames))
        for place, (_, values) in zip(places, rows, strict=True):
            sure = values.get("mask_confidence")
            # A literal mask has no confidence.
            signal = (values.get("mask_fraction") or 0.0) * (1.0 if sure is None else sure)
            mask[place] = max(mask[place], signal)
        if len(time.frames) >= SHORT:
            lines.append(Line(time, numbers, places, mask))
    return lines


def _told(index: SampleIndex) -> dict[str, list[list[int]]]:
    """The annotated spans of the clips that have any, from the ``clips.parquet`` of each run."""
    found: dict[str, list[list[int]]] = {}
    for out in dict.fromkeys(path.parents[2] for path in index.paths):
        if (out / "clips.parquet").is_file():
            table = pq.read_table(parquet_source(out / "clips.parquet"), columns=["clip_id", "spans"])
            found |= {clip["clip_id"]: clip["spans"] for clip in table.to_pylist() if clip["spans"]}
    return found


def open_eyes(training: Training | Mapping[str, Any], device: torch.device) -> Eyes:
    """The detector that the option ``features`` names.

    Raises:
        UsageError: there is no such training, or the option is missing.
    """
    options = training.options if isinstance(training, Training) else training["options"]
    if not options.get("features"):
        raise UsageError("bmn learns from a trained detector's features: give --model-option features=RUN")
    detector, config, _ = load_detector(Path(options["features"]))
    if config["model"] == "bmn" or detector.clip_frames:
        told = f"is a training of {config['model']}; features are those of a detector of images"
        raise UsageError(f"{options['features']}: {told}")
    return Eyes(detector.to(device).eval(), Recipe(**config["recipe"]), config["size"], device)


def train_spans(training: Training, *, device: str | None = None, report: Report = lambda _: None) -> dict[str, Any]:
    """Train, or go on where a training in the same folder stopped; returns the facts of its best state.

    The features are computed once, and lie in the run's folder as ``features-SPLIT.npy``, float16 (clips, C, T).

    Raises:
        UsageError: no clip is long enough, or shards and options do not fit.
        ForgeprepError: the loss is not finite.
    """
    place, recipe = pick_device(device), training.recipe
    eyes = open_eyes(training, place)
    where = str(Path(training.options["features"]).resolve())
    only = recipe.methods
    indices = {split: frames_alone(load_index(training.shards, split, only=only)) for split in ("train", "val")}
    lines = {split: lines_of(index) for split, index in indices.items()}
    if not lines["train"]:
        raise UsageError(f"{training.shards[0]}: train holds no clip of {SHORT} frames or more; pictures have no time")
    channels = eyes.look(Samples(indices["train"]), lines["train"][0]).shape[1]
    training = replace(training, options={**training.options, "features": where, "channels": channels})
    claim(training, indices["train"])
    torch.manual_seed(recipe.seed)
    detector = build(training.model, training.options).to(place)
    optimizer = torch.optim.Adam(
        detector.parameters(), lr=recipe.lr, betas=recipe.betas, weight_decay=recipe.weight_decay
    )
    scale = int(training.options.get("scale", 100))
    kept = {
        split: _features(training.run / f"features-{split}.npy", eyes, indices[split], lines[split], channels, scale)
        for split in lines
        if lines[split]
    }
    truth = [targets(line.time, scale) for line in lines["train"]]
    facts = load_state(training.run, "last", detector, optimizer) or {"step": 0, "epoch": 0, "best": None}
    tell = logged(training.run, report, facts)
    while facts["epoch"] < recipe.epochs and not facts.get("done"):
        order = np.random.default_rng([recipe.seed, facts["epoch"]]).permutation(len(truth))
        detector.train()
        for at in range(0, len(order), recipe.batch):
            if training.limit is not None and facts["step"] >= training.limit:
                return facts["best"] or {}
            chosen = np.sort(order[at : at + recipe.batch])
            batch: dict[str, Any] = {
                name: torch.from_numpy(np.stack([truth[i][name] for i in chosen])).to(place) for name in truth[0]
            }
            features = torch.from_numpy(kept["train"][chosen].astype(np.float32)).to(place)
            terms = detector.losses(detector(features), batch)
            loss = torch.stack(list(terms.values())).sum()
            if not torch.isfinite(loss):
                raise ForgeprepError(f"step {facts['step'] + 1}: the loss is not finite; a smaller --lr may help")
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(detector.parameters(), recipe.clip_norm)
            optimizer.step()
            facts["step"] += 1
            told = {name: float(value.detach()) for name, value in {"loss": loss, **terms}.items()}
            tell({"step": facts["step"], "epoch": facts["epoch"], **told})
        facts["epoch"] += 1
        _after_epoch(training, detector, optimizer, facts, lines["val"], kept.get("val"), place, tell)
    best: dict[str, Any] = facts["best"] or {}
    return best


def _after_epoch(
    training: Training,
    detector: Detector,
    optimizer: torch.optim.Optimizer,
    facts: dict[str, Any],
    lines: Sequence[Line],
    features: npt.NDArray[np.float16] | None,
    place: torch.device,
    tell: Report,
) -> None:
    """Judge val by mAP, keep the state, and see whether it is the best; without spans in val the last is."""
    found: dict[str, Proposals] = {}
    for at in range(0, len(lines) if features is not None else 0, training.recipe.batch):
        part = lines[at : at + training.recipe.batch]
        values = np.asarray(features)[at : at + len(part)].astype(np.float32)
        found |= _proposals(detector, [line.time for line in part], values, place)
    figures = temporal_figures({line.time.clip_id: line.time.spans() for line in lines}, found)
    told = {f"val_{name}": value for name, value in figures.items() if name in ("map", "ar@5", "ap@0.5")}
    tell({"step": facts["step"], "epoch": facts["epoch"] - 1, **told})
    score = -1.0 if math.isnan(figures["map"]) else figures["map"]
    if facts["best"] is None or score > facts["best"]["score"] or score < 0:
        facts["best"] = {"score": score, "epoch": facts["epoch"], "step": facts["step"], **told}
        save_state(training.run, "best", detector, None, facts)
    facts["done"] = facts["epoch"] - facts["best"]["epoch"] >= training.recipe.patience
    save_state(training.run, "last", detector, optimizer, facts)


def _features(
    path: Path, eyes: Eyes, index: SampleIndex, lines: Sequence[Line], channels: int, scale: int
) -> npt.NDArray[np.float16]:
    """The features of all clips, made once and then read from the file a batch at a time."""
    shape = (len(lines), channels, scale)
    if not path.is_file():
        temporary = path.with_suffix(".tmp")
        made = np.lib.format.open_memmap(temporary, "w+", np.float16, shape)
        for number, values in enumerate(_looked(eyes, index, lines)):
            made[number] = spread(lines[number].time, values, scale)
        made.flush()
        temporary.replace(path)
    kept: npt.NDArray[np.float16] = np.load(path, mmap_mode="r")
    if kept.shape != shape:
        raise UsageError(f"{path}: is of other clips {kept.shape}; delete it, or give another --run")
    return kept


def _looked(eyes: Eyes, index: SampleIndex, lines: Sequence[Line]) -> Iterator[Floats]:
    samples = Samples(index)
    return (eyes.look(samples, line) for line in lines)


def _proposals(
    detector: Detector, times: Sequence[Timeline], features: npt.NDArray[np.float32], place: torch.device
) -> dict[str, Proposals]:
    """What the network proposes for clips, by name; ``features`` float32 (B, C, T)."""
    detector.eval()
    with torch.inference_mode():
        out = detector(torch.from_numpy(features).to(place))
    told = {name: torch.sigmoid(value.double()).cpu().numpy() for name, value in out.items()}
    return {
        time.clip_id: judged(time, proposals_of_maps(time, told["start"][i], told["end"][i], told["map"][i]))
        for i, time in enumerate(times)
    }


def evaluate_spans(
    run: Path,
    shards: Sequence[Path],
    *,
    split: str = "test",
    device: str | None = None,
    watch: Callable[[Seen], None] = lambda _: None,
) -> dict[str, Any]:
    """Figures of a network, and beside them those of two simple ways: the frames' scores, and the frames' masks.

    Both group frames whose value stands out; the masks know the truth of each frame, so theirs is what grouping alone
    can reach.

    Args:
        run: a training of ``bmn``.
        shards: folders of runs.
        split: what is judged.
        device: where.
        watch: told of each clip, its frames' scores and the proposals by each way.
    """
    place = pick_device(device)
    detector, config, facts = load_detector(run)
    detector.to(place)
    eyes = open_eyes(config, place)
    sets: dict[str, Any] = {}
    for out in shards:
        index = frames_alone(load_index([out], split))
        lines = lines_of(index)
        if not lines:
            raise UsageError(f"{out}: {split} holds no clip of {SHORT} frames or more; pictures have no time")
        ways: dict[str, dict[str, Proposals]] = {"bmn": {}, "frame scores": {}, "oracle: masks": {}}
        for line, values in zip(lines, _looked(eyes, index, lines), strict=True):
            time = line.time
            features = spread(time, values, int(config["options"].get("scale", 100)))
            features = features.astype(np.float16).astype(np.float32)  # as in training
            found = {
                "bmn": _proposals(detector, [time], features[None], place)[time.clip_id],
                "frame scores": judged(time, proposals_of_scores(time, values[:, -1])),
                "oracle: masks": judged(time, proposals_of_scores(time, line.mask)),
            }
            for way, proposals in found.items():
                ways[way][time.clip_id] = proposals
            watch((time, values[:, -1], found))
        truth = {line.time.clip_id: line.time.spans() for line in lines}
        sets[str(out)] = {
            "clips": len(lines), "spans": sum(map(len, truth.values())),
            "ways": {way: temporal_figures(truth, found) for way, found in ways.items()},
        }  # fmt: skip
    return {"run": str(run), "model": config["model"], "step": facts["step"], "split": split, "sets": sets}


def is_of_spans(run: Path) -> bool:
    """Whether a folder holds a training of this kind."""
    return bool(read_config(run)["model"] == "bmn")


def markdown(evaluations: Sequence[Mapping[str, Any]]) -> str:
    """The tables as Markdown."""
    lines = ["# Temporal localisation", ""]
    for evaluation in evaluations:
        lines += [f"## {evaluation['model']}, {evaluation['run']} at step {evaluation['step']}", ""]
        for name, found in evaluation["sets"].items():
            lines += [f"### {name}, {evaluation['split']}: {found['spans']:,} spans in {found['clips']:,} clips", ""]
            heads = list(next(iter(found["ways"].values())))
            cells = [[way, *(per_cent(figures[head]) for head in heads)] for way, figures in found["ways"].items()]
            lines += md_table(["", *heads], cells)
    return "\n".join(lines) + "\n"


def write_evaluation(
    runs: Sequence[Path], shards: Sequence[Path], to: Path, *, split: str, device: str | None
) -> tuple[str, list[Path]]:
    """Judge, and write the tables, and for each run the proposals of every clip and a picture of some clips.

    ``proposals-N.json``: clip -> ``spans``, the true ones as [first frame, frame after], and each way's proposals as
    [first, after, score], best first.
    """
    from forgeprep.training.evaluation.plots import draw_timelines

    to.mkdir(parents=True, exist_ok=True)
    evaluations, files = [], [to / "evaluation.json", to / "evaluation.md"]
    for number, run in enumerate(runs):
        clips: list[Seen] = []
        evaluations.append(evaluate_spans(run, shards, split=split, device=device, watch=clips.append))
        files += [to / f"proposals-{number}.json", to / f"timelines-{number}.png"]
        told = {time.clip_id: {"spans": time.spans(), **found} for time, _, found in clips}
        atomic_write_bytes(files[-2], json.dumps(told).encode() + b"\n")
        draw_timelines(clips, files[-1])
    text = markdown(evaluations)
    atomic_write_bytes(files[0], json.dumps(plain(evaluations), indent=1).encode() + b"\n")
    atomic_write_bytes(files[1], text.encode())
    return text, files
