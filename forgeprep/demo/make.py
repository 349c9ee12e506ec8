"""Make the demo: render all clips, in several processes, and bring them into a dataset's layout."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class DemoSummary:
    """What was written: videos and pictures, and bytes of the whole folder."""

    clips: int
    bytes: int


def make_demo(
    root: Path,
    *,
    people: int = 8,
    seconds: float = 3.0,
    size: tuple[int, int] = (480, 360),
    fps: int = 25,
    compressions: Sequence[str] = ("raw", "c23", "c40"),
    methods: Sequence[str] = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures"),
    seed: int = 0,
    layout: str = "ffpp",
    pixel_format: str = "yuv444p",
    workers: int | None = None,
) -> DemoSummary:
    """Write the demo dataset. The same arguments give the same bytes.

    Args:
        root: folder to write into.
        people: even, 2 to 16; from 6 on every split has a pair of people.
        seconds: length of a clip; people differ by some per cent.
        size: width and height of the frames in pixels, both even.
        fps: frames per second.
        compressions: of raw (crf 0), c23 and c40.
        methods: of the four methods.
        seed: another seed gives other people and motions.
        layout: the dataset whose layout it gets; all but ``ffpp`` and ``dfd`` have one compression, c23.
        pixel_format: of the clips in the layout of FaceForensics++, whose real ones are yuv444p; other layouts have
            yuv420p.
        workers: processes; None = one a core.

    Raises:
        UsageError: an argument is out of its range.
    """
    if layout == "ffpp":
        _check(people, seconds, size)
        _make_ffpp(root, people, seconds, size, fps, tuple(compressions), tuple(methods), seed, pixel_format, workers)
        return _summary(root)
    from forgeprep.demo.layout import PAIRS
    from forgeprep.demo.relayout import LAYOUTS, METHODS, Source, relayout
    from forgeprep.errors import unknown_name

    if layout not in LAYOUTS:
        raise unknown_name("layout", layout, ["ffpp", *LAYOUTS])
    _check(people, seconds, size)
    home = root / ".ffpp"
    qualities = tuple(compressions) if layout == "dfd" else ("c23",)
    _make_ffpp(home, people, seconds, size, fps, qualities, METHODS, seed, "yuv420p", workers)
    relayout(Source(home, root, PAIRS[: people // 2]), layout)
    shutil.rmtree(home)
    return _summary(root)


def _check(people: int, seconds: float, size: tuple[int, int]) -> None:
    from forgeprep.demo.layout import PAIRS
    from forgeprep.errors import UsageError

    if people % 2 or not 2 <= people <= 2 * len(PAIRS):
        raise UsageError(f"--people: must be even, 2 to {2 * len(PAIRS)} (got {people})")
    if not 0.2 <= seconds <= 3600:
        raise UsageError(f"--seconds: must be 0.2 to 3600 (got {seconds:g})")
    if size[0] % 2 or size[1] % 2 or min(size) < 64:
        raise UsageError(f"the frame size must be even and at least 64 (got {size[0]}x{size[1]})")


def _make_ffpp(
    root: Path,
    people: int,
    seconds: float,
    size: tuple[int, int],
    fps: int,
    compressions: tuple[str, ...],
    methods: tuple[str, ...],
    seed: int,
    pixel_format: str,
    workers: int | None,
) -> None:
    """Write the demo in the layout of FaceForensics++; the arguments are those of :func:`make_demo`."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    from forgeprep.demo.layout import PAIRS, ClipJob, write_clip, write_splits

    pairs = PAIRS[: people // 2]
    identities = [identity for _, a, b in pairs for identity in (a, b)]
    numbers = {identity: number for number, identity in enumerate(identities)}
    clips: list[tuple[str, str, str | None]] = [(identity, identity, None) for identity in identities]
    clips += [(x, y, m) for m in methods for _, a, b in pairs for x, y in ((a, b), (b, a))]
    jobs = [
        ClipJob(root, target, source, method, numbers, seconds, size, fps, compressions, seed, pixel_format)
        for target, source, method in clips
    ]
    root.mkdir(parents=True, exist_ok=True)
    # Spawned, not forked: a fork of a process with running threads may hang.
    with ProcessPoolExecutor(max_workers=workers, mp_context=get_context("spawn")) as pool:
        list(pool.map(write_clip, jobs))
    write_splits(root, pairs)


def _summary(root: Path) -> DemoSummary:
    files = [file for file in root.rglob("*") if file.is_file()]
    media = [f for f in files if f.suffix in (".mp4", ".jpg", ".png") and "truth" not in f.relative_to(root).parts]
    return DemoSummary(len(media), sum(file.stat().st_size for file in files))
