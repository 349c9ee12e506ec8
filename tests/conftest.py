from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, settings

from forgeprep.media.frames import Frame

UInt8 = npt.NDArray[np.uint8]
LaidOut = Callable[..., Path]

# Hypothesis times each example and how examples are drawn; on a busy machine that tells nothing of the code.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

os.environ.setdefault("SOURCE_DATE_EPOCH", "1700000000")  # Equal runs on both sides of midnight are equal.

LONGEST = (
    "integration/training/test_several",
    "integration/test_docs",
    "faults/test_hostile",
    "faults/test_damaged_files",
    "integration/test_remote",
    "integration/training/test_training",
    "faults/test_killed",
    "integration/test_layouts",
    "integration/training/test_reproduce",
    "integration/test_spans",
    "integration/training/test_localisation",
    "integration/training/test_models",
    "integration/test_guesses",
    "integration/test_machines",
    "integration/test_extend",
    "integration/test_examples",
    "integration/test_run",
    "faults/test_broken_clips",
    "integration/test_pairing",
)
"""Files that take long, the longest first. A file runs in one process; begun late, it would run alone at the end."""

TESTS = Path(__file__).resolve().parent
SHARED = TESTS.parents[1] / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest; what needs real media is skipped where there are none."""
    if not SHARED.is_dir():
        absent = pytest.mark.skip(reason=f"real footage is not here: {SHARED}")
        for item in items:
            if item.get_closest_marker("real_data"):
                item.add_marker(absent)
    rank = {TESTS / f"{name}.py": number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that one of the processes fills for all of them; the others wait. Nobody may change what is in it."""
    home = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        home = home.parent
    folder, done = home / "shared" / name, home / "shared" / f"{name}.done"
    folder.parent.mkdir(exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


@pytest.fixture(scope="session")
def face_photo() -> UInt8:
    """A real photograph of a face, uint8 (512, 512, 3) RGB."""
    from skimage import data

    return np.asarray(data.astronaut(), np.uint8)


@pytest.fixture(scope="session")
def real_footage() -> Path:
    clip = SHARED / "short_hamilton_clip.mp4"
    if not clip.is_file():
        pytest.skip(f"real footage is not here: {clip}")
    return clip


def rgb_frame(rgb: UInt8) -> Frame:
    planes = tuple(np.ascontiguousarray(rgb[..., i]) for i in range(3))
    return Frame(0, 0.0, planes, "rgb", (0, 0), full_range=True, siting=(0.0, 0.0))


def read_picture(path: Path, how: int = cv2.IMREAD_COLOR) -> UInt8:
    """A picture as OpenCV reads it; it must be one."""
    picture = cv2.imread(str(path), how)
    assert picture is not None, path
    return np.asarray(picture, np.uint8)


def encode_video(
    path: Path,
    frames: Sequence[UInt8] | Iterator[UInt8],
    *,
    crf: int = 0,
    fps: int = 25,
    pix_fmt: str = "yuv420p",
    rotation: int = 0,
    preset: str = "ultrafast",
) -> Path:
    """Write RGB frames as H.264."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": str(crf), "preset": preset})
        stream.pix_fmt = pix_fmt
        stream.codec_context.thread_count = 1
        for number, rgb in enumerate(frames):
            if number == 0:
                stream.height, stream.width = rgb.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode())
    return path


def run_cli(*arguments: str) -> int:
    """Run the command line in this process; returns its exit code."""
    from forgeprep.cli import main

    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    return int(stopped.value.code or 0)


@pytest.fixture(scope="session")
def make_video() -> Callable[..., Path]:
    return encode_video


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small demo dataset: 6 people, one pair in each split, all methods, raw, c23 and c40."""
    from forgeprep.demo import make_demo

    return made_once(
        tmp_path_factory, "demo", lambda root: make_demo(root / "ffpp", people=6, seconds=1.2, size=(320, 240))
    ).joinpath("ffpp")


@pytest.fixture(scope="session")
def laid_out(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> LaidOut:
    """The demo in another dataset's layout: ``laid_out(name, pairs=3, to=None)``. ``to`` is a copy, to be changed."""
    from forgeprep.demo.layout import PAIRS
    from forgeprep.demo.relayout import Source, relayout

    def lay_out(name: str, *, pairs: int = 3, to: Path | None = None) -> Path:
        made = made_once(
            tmp_path_factory,
            f"{name}-{pairs}",
            lambda folder: relayout(Source(demo, folder / "in", PAIRS[:pairs]), name),
        )
        return made / "in" if to is None else Path(shutil.copytree(made / "in", to))

    return lay_out


@pytest.fixture(scope="session")
def quiet(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Checksums of an undisturbed run in one process."""
    from tests.helpers.runs import SMALL, checksums, run

    return checksums(made_once(tmp_path_factory, "quiet", lambda folder: run(demo, folder / "out", **SMALL)) / "out")


@pytest.fixture(scope="session")
def val_run(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two shards, val alone; nobody may change it."""
    from tests.helpers.runs import VAL, run

    return made_once(tmp_path_factory, "quiet_val", lambda folder: run(demo, folder / "out", **VAL)) / "out"


@pytest.fixture(scope="session")
def quiet_val(val_run: Path) -> dict[str, str]:
    """Its checksums, for tests that run it again and again."""
    from tests.helpers.runs import checksums

    return checksums(val_run)


@pytest.fixture(scope="session")
def couple(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people of the demo dataset in clips of 3 s, forged in the whole face and in the mouth alone."""
    from forgeprep.demo import make_demo

    methods = ("Deepfakes", "NeuralTextures")
    return made_once(
        tmp_path_factory, "couple", lambda root: make_demo(root / "ffpp", people=2, methods=methods)
    ).joinpath("ffpp")


@pytest.fixture
def tree(demo: Path, tmp_path: Path) -> Path:
    """A copy of one pair's originals and Deepfakes at c23."""
    originals, fakes = "original_sequences/youtube/c23/videos", "manipulated_sequences/Deepfakes/c23/videos"
    root = tmp_path / "FaceForensics++ kopié"
    for folder, names in ((originals, ("071.mp4", "054.mp4")), (fakes, ("071_054.mp4", "054_071.mp4"))):
        (root / folder).mkdir(parents=True)
        for name in names:
            shutil.copy(demo / folder / name, root / folder / name)
    return root
