"""A demo in the layout of FaceForensics++, as what other layouts are made of."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

METHODS = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures")


@dataclass(frozen=True, slots=True)
class Source:
    """A demo in FaceForensics++ layout, to be taken apart.

    Attributes:
        home: its folder.
        root: where the other layout goes.
        pairs: (split, a, b), the people.
    """

    home: Path
    root: Path
    pairs: tuple[tuple[str, str, str], ...]

    @property
    def people(self) -> list[tuple[str, str]]:
        """(split, person), pair by pair."""
        return [(split, person) for split, a, b in self.pairs for person in (a, b)]

    @property
    def swaps(self) -> list[tuple[str, str, str]]:
        """(split, target, source), both ways."""
        return [(split, x, y) for split, a, b in self.pairs for x, y in ((a, b), (b, a))]

    @property
    def compressions(self) -> list[str]:
        """Those that the videos have."""
        return sorted(folder.name for folder in (self.home / "original_sequences" / "youtube").iterdir())

    def real(self, person: str, compression: str = "c23") -> Path:
        """The video of a person."""
        return self.home / "original_sequences" / "youtube" / compression / "videos" / f"{person}.mp4"

    def fake(self, method: str, target: str, source: str, compression: str = "c23") -> Path:
        """A forged video."""
        return self.home / "manipulated_sequences" / method / compression / "videos" / f"{target}_{source}.mp4"

    def mask(self, method: str, target: str, source: str) -> Path:
        """The provided mask of a forged video."""
        return self.home / "manipulated_sequences" / method / "masks" / "videos" / f"{target}_{source}.mp4"

    def truth(self, method: str, target: str, source: str) -> Path:
        """The true masks of a forged video."""
        return self.home / "truth" / method / f"{target}_{source}.npz"

    def put(self, file: Path, place: str) -> None:
        """Copy a file to a place below the root."""
        (self.root / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, self.root / place)

    def put_fake(self, method: str, target: str, source: str, place: str, compression: str = "c23") -> None:
        """Copy a forged video and its truth."""
        self.put(self.fake(method, target, source, compression), place)
        self.put(self.truth(method, target, source), f"truth/{place.rpartition('.')[0]}.npz")


def name_of(*parts: str, letters: str = "abcdefghijklmnopqrstuvwxyz", length: int = 10) -> str:
    """A name such as the datasets draw at random, but always the same for the same parts."""
    digest = hashlib.sha256("/".join(parts).encode()).digest()
    return "".join(letters[byte % len(letters)] for byte in digest[:length])


def put_celeb_reals(source: Source) -> tuple[dict[str, int], list[str]]:
    """Write the reals as Celeb-DF has them; returns the number of each person, and their lines of the test list."""
    number = {person: i for i, (_, person) in enumerate(source.people)}
    test = []
    for split, person in source.people:
        places = [f"Celeb-real/id{number[person]}_0000.mp4"]
        # The last person also stands for the videos of YouTube, of which there are no fakes.
        if person == source.people[-1][1]:
            places.append("YouTube-real/00000.mp4")
        for place in places:
            source.put(source.real(person), place)
            test += [f"1 {place}"] if split == "test" else []
    return number, test
