"""Made-up trees for ``scan.py``, in the layouts of GenFace and ForgeryNet.

Files are links to a few that hold next to nothing: a folder of a million pictures then takes no room but for names.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np

from forgeprep.datasets.taxonomy import kind_of, methods_of

_LINKS = 60_000
"""Names that one file gets; ext4 allows 65,000."""
_FRAMES = 13
"""Pictures that ForgeryNet takes of a video, about."""
GENFACE = ("real/CelebA_HQ/{:06d}.jpg", "fake/FS/Diffusion/{:06d}_DiffFace.png", "fake/AM/Diffusion/{:06d}.png",
           "fake/EFS/GAN/stylegan_{:06d}.png")  # fmt: skip
FORGERYNET = {"pictures": (1_438_201, 1_457_861), "videos": (99_630, 121_617)}
"""What the authors count: real, fake."""
_SPLITS = (("Training", "train_release", "train", 0.8), ("Validation", "val_perturb_release", "val", 0.2))

_KINDS = [0, *(2 if kind_of("forgerynet", m).forgery == "identity_replaced" else 1 for m in methods_of("forgerynet"))]
_KINDS += [0] * 4
"""Number of a folder -> the second label of its lines: 2 where the identity was replaced, 1 where it remained."""


def write_genface(root: Path, count: int) -> int:
    """Files of one byte in GenFace's layout, 7 of 10 in train; returns how many there are."""
    put, done = _links(root, "picture", lambda file: file.write_bytes(b"x")), 0
    for split, share in (("train", 0.7), ("val", 0.15), ("test", 0.15)):
        for kind in GENFACE:
            (root / split / kind).parent.mkdir(parents=True)
            for number in range(round(share * count / len(GENFACE))):
                put(f"{root}/{split}/{kind.format(number)}")
                done += 1
    return done


def write_forgerynet(root: Path, share: float, *, masks: bool = False) -> int:
    """ForgeryNet's lists, pictures and videos, or a share of each, and masks; returns how many files there are."""
    picture = _links(root, "picture", lambda file: file.write_bytes(b"x"))
    video = _links(root, "video", _write_video)
    done = 0
    for home, release, short, part in _SPLITS:
        base = root / home
        base.mkdir(parents=True, exist_ok=True)
        of_pictures, of_videos = (
            tuple(round(share * part * count) for count in FORGERYNET[kind]) for kind in ("pictures", "videos")
        )
        with (base / "image_list.txt").open("w") as listed:
            for place, below, name in _places(short, *(-(-count // _FRAMES) for count in of_pictures)):
                folders = [f"{base}/image/{release}/{below}"]
                folders += [f"{base}/spatial_localize/{short}_mask_release/{below}"] if name and masks else []
                for folder in folders:
                    os.makedirs(folder)  # noqa: PTH103 -- called a million times
                for frame in range(_FRAMES):
                    for folder in folders:
                        picture(f"{folder}/frame{frame * 10:05d}.jpg")
                    listed.write(f"{release}/{below}/frame{frame * 10:05d}.jpg {name} {_KINDS[place]} {place % 16}\n")
                    done += len(folders)
        with (base / "video_list.txt").open("w") as listed:
            for place, below, name in _places(f"{short}v", *of_videos, of_videos=True):
                folder = f"{base}/video/{short}_video_release/{below}"
                os.makedirs(folder)  # noqa: PTH103
                video(f"{folder}/video.mp4")
                spans = "2 {} 0 2 0 2 2 1" if name else "1 {} 0 4 0"
                path = f"{short}_video_release/{below}/video.mp4"
                listed.write(f"{spans.format(path)} {name} {_KINDS[place]} {place % 16}\n")
                done += 1
    return done


def _places(word: str, reals: int, fakes: int, *, of_videos: bool = False) -> Iterator[tuple[int, str, int]]:
    """Number of a folder, the path from it on, and whether it holds fakes (1) or reals (0)."""
    for number in range(reals):
        folder = 16 + number % 4
        yield folder, f"{folder}/{_md5(word, number)}", 0
    for number in range(fakes):
        # The lists of videos name none in folders 2 and 8.
        folder = (1, 3, 4, 5, 6, 7)[number % 6] if of_videos else 1 + number % 15
        yield folder, f"{folder}/{_md5(f'{word} driver', number)}/{_md5(word, number % reals)}", 1


def _md5(word: str, number: int) -> str:
    return hashlib.md5(f"{word}{number}".encode(), usedforsecurity=False).hexdigest()


def _links(root: Path, kind: str, make: Callable[[Path], object]) -> Callable[[str], None]:
    """A function that puts one more name of the same file; of a new one before the names of the last are used up."""
    count = 0
    home = root.with_name(f"{root.name}-files")
    home.mkdir(parents=True, exist_ok=True)

    def put(path: str) -> None:
        nonlocal count
        file = home / f"{kind}-{count // _LINKS}"
        if count % _LINKS == 0:
            make(file)
        os.link(file, path)
        count += 1

    return put


def _write_video(file: Path) -> None:
    with av.open(str(file), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for _ in range(4):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode())
