"""What a sample costs, against decoding alone and against the common way.

    python benchmarks/pipeline.py                 # ratios on 720p demo clips at c23, all frames, one worker
    python benchmarks/pipeline.py --minutes 10    # also the memory of a worker on a clip of that length

(a) The floor: the same clips decoded by PyAV on one thread, nothing else.
(b) The common way: cv2.VideoCapture, dlib's HOG detector on every colour frame, upsampled once, crop, PNG.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import av
import cv2
import dlib

from forgeprep.demo import make_demo
from forgeprep.pipeline.configure import make_config
from forgeprep.pipeline.run import execute, prepare_run
from forgeprep.pipeline.work import quiet_libraries

STAGE_SETS = ("crop", "crop,mask", "crop,mask,noise")


def decode_only(clips: list[Path]) -> float:
    frames, started = 0, time.perf_counter()
    for clip in clips:
        with av.open(str(clip)) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            stream.thread_type = "NONE"
            frames += sum(1 for _ in container.decode(stream))
    return (time.perf_counter() - started) / frames


def common_way(clips: list[Path], folder: Path, frames_each: int = 12) -> float:
    detector = dlib.get_frontal_face_detector()
    made, started = 0, time.perf_counter()
    for clip in clips:
        capture = cv2.VideoCapture(str(clip))
        for number in range(frames_each):
            there, frame = capture.read()
            if not there:
                break
            for box in detector(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), 1)[:1]:
                side = round(box.width() * 1.3)
                x, y = max(0, box.center().x - side // 2), max(0, box.center().y - side // 2)
                cv2.imwrite(str(folder / f"{clip.stem}_{number}.png"), frame[y : y + side, x : x + side])
                made += 1
        capture.release()
    return (time.perf_counter() - started) / made


def ours(root: Path, out: Path, stages: str, frames: str = "all") -> tuple[float, int]:
    config = make_config("ffpp", {"stages": stages, "frames": frames})
    prepared = prepare_run(config, root, out)
    rows: dict[str, int] = {}
    started = time.perf_counter()
    result = execute(prepared, workers=0, report=lambda shard, progress: rows.__setitem__(shard, progress.rows))
    assert not result.failed, result.failed
    return (time.perf_counter() - started) / sum(rows.values()), sum(rows.values())


def lengthen(root: Path, target: Path, times: int) -> None:
    """One original and one fake of ``root``, each repeated ``times`` times without encoding anew."""
    fake = next((root / "manipulated_sequences/Deepfakes/c23/videos").iterdir())
    original = root / f"original_sequences/youtube/c23/videos/{fake.stem[:3]}.mp4"
    for clip in (original, fake):
        path = target / clip.relative_to(root)
        path.parent.mkdir(parents=True)
        with av.open(str(path), "w") as sink:
            stream, shift = None, 0
            for _ in range(times):
                with av.open(str(clip)) as source:
                    video = source.streams.video[0]
                    stream = stream or sink.add_stream_from_template(video)
                    for packet in source.demux(video):
                        if packet.dts is not None:
                            packet.pts += shift
                            packet.dts += shift
                            packet.stream = stream
                            sink.mux(packet)
                    shift += video.duration


def peak_memory_mb(root: Path, out: Path) -> float:
    """Peak resident memory of a fresh process that runs the pipeline, in MB."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_run_and_measure, (root, out))


def _run_and_measure(root: Path, out: Path) -> float:
    ours(root, out, "crop,mask,noise", "every:4")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seconds", type=float, default=6.0, help="length of the demo clips")
    arguments.add_argument("--minutes", type=float, default=0.0, help="also measure memory on a clip of this length")
    given = arguments.parse_args()
    quiet_libraries()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        root = folder / "ffpp"
        make_demo(root, people=2, seconds=given.seconds, size=(1280, 720), compressions=("c23",))
        clips = sorted(root.glob("*_sequences/*/c23/videos/*.mp4"))
        floor = min(decode_only(clips) for _ in range(2))
        print(f"(a) decode only        {1e3 * floor:8.2f} ms a frame  ({1 / floor:.0f} frames/s)")
        common = common_way(clips, folder)
        print(f"(b) the common way     {1e3 * common:8.2f} ms a sample")
        for stages in STAGE_SETS:
            each, count = min(ours(root, folder / f"{stages}-{go}", stages) for go in range(2))
            print(
                f"{stages:<22} {1e3 * each:8.2f} ms a sample  ({1 / each:.0f} samples/s, {count} samples)  "
                f"{each / floor:.2f} x (a)   (b) / {common / each:.1f}"
            )
        if given.minutes:
            lengthen(root, folder / "long", round(60 * given.minutes / given.seconds))
            for name, place in ((f"{given.seconds:g} s", root), (f"{given.minutes:g} min", folder / "long")):
                peak = peak_memory_mb(place, folder / f"memory {name}")
                print(f"worker's peak memory   {peak:8.0f} MB on clips of {name}")


if __name__ == "__main__":
    main()
