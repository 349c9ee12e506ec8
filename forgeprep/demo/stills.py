"""The demo in the layouts of ForgeryNet and GenFace: pictures taken out of the videos, and partly forged videos."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np

from forgeprep.demo.people import UInt8, make_person
from forgeprep.demo.source import METHODS, Source, name_of
from forgeprep.demo.truth import load_truth

EVERY = 15
"""Every so many frames of a video become a picture."""

_NUMBERS = {"Deepfakes": 3, "FaceSwap": 4, "Face2Face": 7, "NeuralTextures": 10}
"""The numbers of ForgeryNet's folders that the demo's methods stand for."""
_REPLACED = (3, 4)


def write_forgerynet(source: Source) -> None:
    """Write Training (the pairs of train) and Validation (all others): pictures, masks, partly forged videos, lists."""
    for home, release, chosen in (
        ("Training", "train", [pair for pair in source.pairs if pair[0] == "train"]),
        ("Validation", "val", [pair for pair in source.pairs if pair[0] != "train"]),
    ):
        part = Source(source.home, source.root / home, tuple(chosen))
        images, videos = _forgerynet_part(part, release)
        (part.root / "image_list.txt").write_text("".join(f"{line}\n" for line in images))
        (part.root / "video_list.txt").write_text("".join(f"{line}\n" for line in videos))


def _forgerynet_part(part: Source, release: str) -> tuple[list[str], list[str]]:
    pictures = "train_release" if release == "train" else "val_perturb_release"
    images, videos = [], []
    person = {p: hashlib.md5(p.encode(), usedforsecurity=False).hexdigest() for _, p in part.people}
    for _, p in part.people:
        frames = list(frames_of(part.real(p)))
        for index in range(0, len(frames), EVERY):
            path = f"{pictures}/16/{person[p]}/frame{index:05d}.jpg"
            write_picture(part.root / "image" / path, frames[index])
            images.append(f"{path} 0 0 0")
        path = f"{release}_video_release/16/{person[p]}/video.mp4"
        part.put(part.real(p), f"video/{path}")
        videos.append(f"1 {path} 0 {len(frames)} 0 0 0 0")
    for method, number in _NUMBERS.items():
        for _, x, y in part.swaps:
            below = f"{number}/{person[y]}/{person[x]}"
            real, fake = list(frames_of(part.real(x))), list(frames_of(part.fake(method, x, y)))
            truth = load_truth(part.truth(method, x, y))
            kind = 2 if number in _REPLACED else 1
            for index in range(0, len(fake), EVERY):
                path = f"{pictures}/{below}/frame{index:05d}.jpg"
                write_picture(part.root / "image" / path, fake[index])
                change = cv2.absdiff(fake[index], real[index]).max(axis=2) * truth[index]
                mask = f"spatial_localize/{pictures.replace('_release', '_mask_release')}/{below}/frame{index:05d}.jpg"
                write_picture(part.root / mask, change)
                write_picture(
                    part.root.parent / "truth" / part.root.name / f"{path[:-4]}.png", truth[index] * np.uint8(255)
                )
                # The last number is not that of the folder, as in the original lists.
                images.append(f"{path} 1 {kind} {number % 15 + 1}")
            if number <= 8:
                videos.append(_spliced(part, real, fake, f"{release}_video_release/{below}/video.mp4", kind, number))
    return images, videos


def _spliced(part: Source, real: list[UInt8], fake: list[UInt8], path: str, kind: int, number: int) -> str:
    """Write a video whose middle is forged; what comes after four fifths of it is not listed, so unknown."""
    count = min(len(real), len(fake))
    start, stop, end = count // 4, count // 2 + count // 10, count * 4 // 5
    write_video(part.root / "video" / path, [*real[:start], *fake[start:stop], *real[stop:count]])
    return f"3 {path} 0 {start} 0 {start} {stop - start} 1 {stop} {end - stop} 0 1 {kind} {number}"


def write_genface(source: Source) -> None:
    """Write {train,val,test} with reals, swaps, edits, and whole syntheses of people that are nowhere else."""
    makers = {
        "Deepfakes": ("FS/Diffusion", "{}_DiffFace.png"),
        "FaceSwap": ("FS/GAN", "{}_FaceSwapper.png"),
        "Face2Face": ("AM/Diffusion", "{}_Diffae.png"),
    }
    for split, x, y in source.swaps:
        real = list(frames_of(source.real(x)))
        for index in range(0, len(real), EVERY):
            write_picture(source.root / split / "real" / "CelebA_HQ" / f"{x}{index:03d}.jpg", real[index])
            size = real[index].shape[1], real[index].shape[0]
            seed = int(name_of(x, str(index), letters="123456789", length=6))
            still = make_person(int(x) % 2 + 2 * (index + 1), seed, size).still
            write_picture(source.root / split / "fake" / "EFS" / "Diffusion" / f"ddpm_{x}{index:03d}.png", still)
        for method in METHODS:
            if method not in makers:
                continue
            folder, name = makers[method]
            truth = load_truth(source.truth(method, x, y))
            for index, frame in enumerate(frames_of(source.fake(method, x, y))):
                if index % EVERY == 0:
                    place = f"{split}/fake/{folder}/{name.format(f'{x}{index:03d}')}"
                    write_picture(source.root / place, frame)
                    write_picture(source.root / "truth" / place, truth[index] * np.uint8(255))


def frames_of(file: Path) -> Iterator[UInt8]:
    """The frames of a video, uint8 (H, W, 3) RGB."""
    with av.open(str(file)) as container:
        for frame in container.decode(video=0):
            yield np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


def write_picture(file: Path, picture: UInt8) -> None:
    """Write a picture, uint8 (H, W, 3) RGB or (H, W), in the format of its suffix."""
    file.parent.mkdir(parents=True, exist_ok=True)
    data = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR) if picture.ndim == 3 else picture
    cv2.imwrite(str(file), data, [cv2.IMWRITE_JPEG_QUALITY, 95] if file.suffix == ".jpg" else [])


def write_video(file: Path, frames: list[UInt8]) -> None:
    """Write frames, uint8 (H, W, 3) RGB, as H.264 at 25 frames per second."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(file), "w") as container:
        options = {"crf": "23", "preset": "veryfast", "threads": "1", "x264-params": "mbtree=0"}
        stream = container.add_stream("libx264", rate=25, options=options)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
