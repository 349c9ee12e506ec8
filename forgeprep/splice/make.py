"""Make the clips of one source group."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from forgeprep.errors import MediaError
from forgeprep.media.forward_reader import ForwardReader
from forgeprep.media.frames import Frame
from forgeprep.media.h264 import write_video
from forgeprep.media.video import read_frames, sha256_of
from forgeprep.params.crop import CropParams
from forgeprep.pipeline.make_shard import quiet_libraries
from forgeprep.schemas.clips import Clip
from forgeprep.splice.pairs import Pair, Skip, Verified, verify_pairs
from forgeprep.splice.spans import Span, SpanRule, draw_spans, labels_of
from forgeprep.stages.base import Group
from forgeprep.text import counted


@dataclass(frozen=True, slots=True)
class SpliceRules:
    """How clips are spliced; with equal inputs, equal rules give equal files.

    Attributes:
        spans: number, length and distance of the forged spans.
        copies: clips of each fake, each with spans of its own.
        seed: another seed draws other spans.
        crf: x264's quality of all files, 0 (lossless) to 51.
        detector: finds the faces, which are left out where a fake is compared with its original.
    """

    spans: SpanRule = field(default_factory=SpanRule)
    copies: int = 1
    seed: int = 0
    crf: int = 18
    detector: str = "libfacedetection"


def splice_group(group: Group, root: Path, out: Path, rules: SpliceRules) -> dict[str, Any]:
    """Splice a group's fakes into its original, and write the original beside them, coded in the same way.

    Returns:
        JSON-ready: ``clips``, a mapping for each file, and ``skipped``, one for each fake or copy that gave none.

    Raises:
        StorageError: a file cannot be written.
    """
    quiet_libraries()
    verified = verify_pairs(group, root, CropParams.model_validate({"detector": rules.detector}))
    clips: list[dict[str, Any]] = []
    skipped = list(verified.skipped)
    original = group.original
    for pair in verified.pairs:
        assert original is not None
        for copy in range(rules.copies):
            made = _splice(pair, original, verified, copy, (root, out), rules)
            if isinstance(made, Skip):
                skipped.append(made)
            else:
                clips.append(made)
    if clips and original is not None:
        path = file_name(original, None)
        frames = read_frames(root / original.path)
        write_video(out / path, frames, fps=verified.fps, crf=rules.crf)
        clips.insert(0, _entry(original, out, path, None, verified.frames, None))
    return {"clips": clips, "skipped": [asdict(skip) for skip in skipped]}


def file_name(clip: Clip, copy: int | None) -> str:
    """Where a clip lies, relative to the new dataset; ``copy`` counts those of one fake, None where there is one.

    Lists of ForgeryNet's form divide at blanks, so these become ``%20``.
    """
    rest = clip.clip_id.removeprefix(f"{clip.dataset}/")
    name = f"{clip.split}/{rest}.mp4" if copy is None else f"{clip.split}/{rest}/{copy}.mp4"
    return re.sub(r"[%\s]", lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), name)


def _splice(
    pair: Pair, original: Clip, verified: Verified, copy: int, places: tuple[Path, Path], rules: SpliceRules
) -> dict[str, Any] | Skip:
    root, out = places
    fake, fps = pair.clip, verified.fps
    seed = hashlib.sha256(f"{rules.seed}/{fake.clip_id}/{copy}".encode()).digest()
    usable = pair.usable(verified.frames)
    rule = rules.spans
    spans = draw_spans(
        usable,
        np.random.default_rng(int.from_bytes(seed)),
        count=rule.count,
        length=rule.length.frames(fps),
        gap=rule.gap.frames(fps)[0],
    )
    if spans is None:
        detail = f"{int(usable.sum())} of {counted(verified.frames, 'frame')} can be replaced"
        return Skip(fake.clip_id, fake.split, "too_short", detail)
    path = file_name(fake, copy if rules.copies > 1 else None)
    try:
        frames = _frames(root / original.path, root / fake.path, pair.partner, spans)
        write_video(out / path, frames, fps=fps, crf=rules.crf)
    except MediaError as error:
        return Skip(fake.clip_id, fake.split, error.reason, error.message)
    return _entry(fake, out, path, file_name(original, None), verified.frames, spans)


def _frames(original: Path, fake: Path, partner: dict[int, int], spans: Sequence[Span]) -> Iterator[Frame]:
    """The original's frames, in the spans the fake's that show the same moments."""
    forged = {index for start, length in spans for index in range(start, start + length)}
    with closing(ForwardReader(fake)) as reader:
        for frame in read_frames(original):
            if frame.index not in forged:
                yield frame
                continue
            piece = reader.at(partner[frame.index])
            if piece is None:
                reason, detail = reader.missing()
                raise MediaError(str(fake), detail or "cannot be read twice in the same way", reason=reason)
            yield piece


def _entry(
    clip: Clip, out: Path, path: str, original: str | None, frames: int, spans: Sequence[Span] | None
) -> dict[str, Any]:
    return {
        "path": path,
        "original": original,
        "label": clip.label,
        "split": clip.split,
        "method": clip.method,
        "forgery": clip.forgery,
        "family": clip.family,
        "compression": clip.compression,
        "identities": clip.identities,
        "source": clip.clip_id,
        "frames": frames,
        "spans": labels_of(spans or [], frames),
        "bytes": (out / path).stat().st_size,
        "sha256": sha256_of(out / path),
    }
