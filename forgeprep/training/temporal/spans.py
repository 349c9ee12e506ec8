"""Temporal localisation: the clips of shards as lines of time, what a network proposes on them, and how right it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import torch

from forgeprep.errors import UsageError
from forgeprep.io.atomic import atomic_write_bytes
from forgeprep.io.json_files import write_json
from forgeprep.io.storage import parquet_source
from forgeprep.shards.names import table_path
from forgeprep.text import counted
from forgeprep.training.data import Samples
from forgeprep.training.evaluation.document import Part, Table, markdown, per_cent, short_names
from forgeprep.training.evaluation.truth import clip_facts
from forgeprep.training.inference.loaded import LoadedModel, features, load_model, read_prepared
from forgeprep.training.models import get_model
from forgeprep.training.models.base import ForgeryModel
from forgeprep.training.run_folder import read_config
from forgeprep.training.sample_index import Ints, SampleIndex, frames_alone, load_index, read_values
from forgeprep.training.seen import seen, seen_line
from forgeprep.training.temporal.figures import temporal_figures
from forgeprep.training.temporal.timeline import (
    Proposals,
    Timeline,
    make_timeline,
    on_known_frames,
    proposals_of_maps,
    proposals_of_scores,
    spread,
)

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
        tracks: of the samples.
    """

    time: Timeline
    numbers: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]
    mask: Floats
    tracks: npt.NDArray[np.int64]


def load_features_model(options: Mapping[str, Any], device: torch.device) -> LoadedModel:
    """The trained model that the option ``features`` names.

    Raises:
        UsageError: there is no such training, or the option is missing.
    """
    if not options.get("features"):
        raise UsageError("bmn learns from a trained model's features: give --model-option features=RUN")
    loaded = load_model(Path(options["features"]), str(device))
    if get_model(loaded.config["model"]).takes == "features":
        told = f"is a training of {loaded.config['model']}; features are those of a model of images or sequences"
        raise UsageError(f"{options['features']}: {told}")
    return loaded


def frame_features(seer: LoadedModel, samples: Samples, line: Line) -> Floats:
    """Features of each frame of a clip, (N, C), the last of them the score; of several faces in one the mean.

    A model of sequences sees the frames around every few of them, see :func:`windows`; each frame has the nearest's.
    """
    total, seen = np.zeros(0), np.zeros(len(line.time.frames))
    numbers, places = line.numbers, {n: [place] for n, place in zip(line.numbers, line.places, strict=True)}
    if seer.model.sequence_frames:
        members, places = sequences_around(line, seer.model.sequence_frames, seer.model.sequence_step)
        samples, numbers = _sequences(samples, members), np.arange(len(members))
    batches = [numbers[at : at + seer.recipe.batch] for at in range(0, len(numbers), seer.recipe.batch)]
    for group, found in features(seer, read_prepared(seer, samples, batches)):
        total = total if total.size else np.zeros((len(seen), found.shape[1]))
        for sample, values in zip(group, found, strict=True):
            total[places[sample["number"]]] += values
            seen[places[sample["number"]]] += 1
    return np.asarray(total / np.maximum(seen, 1)[:, None], np.float64)


def sequences_around(line: Line, frames: int, step: int) -> tuple[Ints, dict[int, list[int]]]:
    """The sequences of ``frames`` samples of a track, ``step`` apart, around every so many of its frames.

    Neighbours share seven eighths; at a track's ends its last frame repeats.

    Returns:
        the samples of each sequence, (W, frames), and for each the places in time that it stands for.
    """
    members: list[Ints] = []
    places: dict[int, list[int]] = {}
    every = max(1, frames * step // 8)
    for track in np.unique(line.tracks):
        own = np.flatnonzero(line.tracks == track)
        own = own[np.argsort(line.places[own], kind="stable")]
        for at in range(0, len(own), every):
            near = own[at : at + every]
            around = at + len(near) // 2 + (np.arange(frames) - frames // 2) * step
            places[len(members)] = line.places[near].tolist()
            members.append(line.numbers[own[np.clip(around, 0, len(own) - 1)]])
    return np.stack(members), places


def _sequences(samples: Samples, members: Ints) -> Samples:
    """Sequences of the samples of an index, as samples."""
    index, first = samples.index, members[:, 0]
    made = replace(
        index, shard=index.shard[first], first=index.first[first], second=index.second[first], group=index.group[first],
        label=index.label[members].max(axis=1), method=index.method[members].max(axis=1), parts=(index, members),
    )  # fmt: skip
    return Samples(made, samples.columns)


def lines_of(index: SampleIndex) -> list[Line]:
    """The clips of a split that are long enough, by name."""
    columns = ["clip_id", "track_id", "frame_index", "mask_fraction", "mask_confidence"]
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
            tracks = np.array([values["track_id"] or 0 for _, values in rows], np.int64)
            lines.append(Line(time, numbers, places, mask, tracks))
    return lines


def _told(index: SampleIndex) -> dict[str, list[list[int]]]:
    """The annotated spans of the clips that have any, from the table of clips of each run."""
    found: dict[str, list[list[int]]] = {}
    for out in dict.fromkeys(path.parents[2] for path in index.paths):
        if (clips := table_path(out, "clips")).is_file():
            table = pq.read_table(parquet_source(clips), columns=["clip_id", "spans"])
            found |= {clip["clip_id"]: clip["spans"] for clip in table.to_pylist() if clip["spans"]}
    return found


def model_proposals(
    model: ForgeryModel, times: Sequence[Timeline], values: npt.NDArray[np.float32], device: torch.device
) -> dict[str, Proposals]:
    """What the network proposes for clips, by name; ``values`` float32 features (B, C, T)."""
    model.eval()
    with torch.inference_mode():
        out = model(torch.from_numpy(values).to(device))
    told = {name: torch.sigmoid(value.double()).cpu().numpy() for name, value in out.items()}
    return {
        time.clip_id: on_known_frames(time, proposals_of_maps(time, told["start"][i], told["end"][i], told["map"][i]))
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
    loaded = load_model(run, device)
    config = loaded.config
    seer = load_features_model(config["options"], loaded.device)
    sets: dict[str, Any] = {}
    for out in shards:
        index = frames_alone(load_index([out], split))
        lines = lines_of(index)
        known = seen(run, config, clip_facts(out, split)[0].values())
        if not lines:
            raise UsageError(f"{out}: {split} holds no clip of {SHORT} frames or more; pictures have no time")
        ways: dict[str, dict[str, Proposals]] = {"bmn": {}, "frame scores": {}, "oracle: masks": {}}
        samples = Samples(index)
        for line in lines:
            time, values = line.time, frame_features(seer, samples, line)
            cells = spread(time, values, int(config["options"].get("scale", 100)))
            cells = cells.astype(np.float16).astype(np.float32)  # as in training
            found = {
                "bmn": model_proposals(loaded.model, [time], cells[None], loaded.device)[time.clip_id],
                "frame scores": on_known_frames(time, proposals_of_scores(time, values[:, -1])),
                "oracle: masks": on_known_frames(time, proposals_of_scores(time, line.mask)),
            }
            for way, proposals in found.items():
                ways[way][time.clip_id] = proposals
            watch((time, values[:, -1], found))
        truth = {line.time.clip_id: line.time.spans() for line in lines}
        sets[str(out)] = {
            "clips": len(lines), "spans": sum(map(len, truth.values())),
            "seen": known, "ways": {way: temporal_figures(truth, found) for way, found in ways.items()},
        }  # fmt: skip
    return {"run": str(run), "model": config["model"], "step": loaded.facts["step"], "split": split, "sets": sets}


def is_of_spans(run: Path) -> bool:
    """Whether a folder holds a training of this kind."""
    return get_model(read_config(run)["model"]).takes == "features"


def evaluation_parts(evaluations: Sequence[Mapping[str, Any]]) -> list[Part]:
    """The tables."""
    parts: list[Part] = ["# Temporal localisation"]
    for evaluation in evaluations:
        parts.append(f"## {evaluation['model']}, {evaluation['run']} at step {evaluation['step']}")
        for name, found in evaluation["sets"].items():
            told = f"{counted(found['spans'], 'span')} in {counted(found['clips'], 'clip')}"
            parts += [f"### {name}, {evaluation['split']}: {told}", seen_line(found["seen"])]
            heads = list(next(iter(found["ways"].values())))
            cells = [[way, *(per_cent(figures[head]) for head in heads)] for way, figures in found["ways"].items()]
            parts.append(Table(["", *heads], cells))
    return parts


def write_evaluation(
    runs: Sequence[Path], shards: Sequence[Path], to: Path, *, split: str, device: str | None
) -> tuple[list[Part], list[Path]]:
    """Judge, and write the tables, and for each run the proposals of every clip and a picture of some clips.

    ``proposals-RUN.json``: clip -> ``spans``, the true ones as [first frame, frame after], and each way's proposals as
    [first, after, score], best first.
    """
    from forgeprep.training.evaluation.plots import draw_timelines

    to.mkdir(parents=True, exist_ok=True)
    evaluations, files = [], [to / "evaluation.json", to / "evaluation.md"]
    for run, name in zip(runs, short_names(runs), strict=True):
        clips: list[Seen] = []
        evaluations.append(evaluate_spans(run, shards, split=split, device=device, watch=clips.append))
        files += [to / f"proposals-{name}.json", to / f"timelines-{name}.png"]
        told = {time.clip_id: {"spans": time.spans(), **found} for time, _, found in clips}
        write_json(files[-2], told)
        draw_timelines(clips, files[-1])
    parts = evaluation_parts(evaluations)
    atomic_write_bytes(files[1], markdown(parts).encode())
    write_json(files[0], evaluations)
    return parts, files
