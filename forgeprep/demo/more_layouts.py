"""The demo's people in the layouts of the datasets that came after 2020."""

from __future__ import annotations

import csv

from forgeprep.demo.sound import with_tone
from forgeprep.demo.source import Source


def write_celebdf_v3(source: Source) -> None:
    """Write Celeb-DF++: swaps of two methods, one method of re-enactment, one of talking faces, under equal names."""
    number = {person: i for i, (_, person) in enumerate(source.people)}
    test = []
    for split, person in source.people:
        places = [f"Celeb-real/id{number[person]}_0000.mp4"]
        if person == source.people[-1][1]:
            places.append("YouTube-real/00000.mp4")
        for place in places:
            source.put(source.real(person), place)
            test += [f"1 {place}"] if split == "test" else []
    folders = {
        "Deepfakes": "FaceSwap/Celeb-DF-v2",
        "FaceSwap": "FaceSwap/SimSwap",
        "Face2Face": "FaceReenact/LivePortrait",
        "NeuralTextures": "TalkingFace/SadTalker",
    }
    for method, folder in folders.items():
        for split, x, y in source.swaps:
            talking = folder.startswith("TalkingFace")
            stem = f"id{number[x]}_0000_test_{number[y]}" if talking else f"id{number[x]}_id{number[y]}_0000"
            place = f"Celeb-synthesis/{folder}/{stem}.mp4"
            source.put_fake(method, x, y, place)
            test += [f"0 {place}"] if split == "test" else []
    (source.root / "List_of_testing_videos.txt").write_text("\n".join(test) + "\n")


def write_deeperforensics(source: Source) -> None:
    """Write DeeperForensics-1.0, and the FaceForensics++ that its reals lie in, in the folder ``FaceForensics++``."""
    actor = {person: f"{'MW'[i % 2]}{i:03d}" for i, (_, person) in enumerate(source.people)}
    _put_reals(source, "FaceForensics++")
    for method, variant in (("Deepfakes", "end_to_end"), ("FaceSwap", "end_to_end_level_1")):
        for _, x, y in source.swaps:
            source.put_fake(method, x, y, f"manipulated_videos/{variant}/{x}_{actor[y]}.mp4")
    for wanted in ("train", "val", "test"):
        names = [f"{x}_{actor[y]}.mp4\n" for split, x, y in source.swaps if split == wanted]
        (source.root / "lists" / "splits").mkdir(parents=True, exist_ok=True)
        (source.root / "lists" / "splits" / f"{wanted}.txt").write_text("".join(names))


def write_fakeavceleb(source: Source) -> None:
    """Write FakeAVCeleb: real and forged faces, with sound; in RealVideo-FakeAudio the voice alone is another."""
    number = {person: f"id{76 + 13 * i:05d}" for i, (_, person) in enumerate(source.people)}
    rows = [["source", "target1", "target2", "method", "category", "type", "race", "gender", "filename", "path"]]
    home = {person: f"African/men/{number[person]}" for _, person in source.people}

    def note(kind: str, person: str, name: str, method: str, other: str) -> None:
        category = {"RealVideo-RealAudio": "A", "RealVideo-FakeAudio": "B", "FakeVideo-RealAudio": "C"}.get(kind, "D")
        path = f"FakeAVCeleb/{kind}/{home[person]}"
        rows.append([number[person], other, "-", method, category, kind, "African", "men", name, path])

    for _, x, y in source.swaps:
        with_tone(source.real(x), source.root / "RealVideo-RealAudio" / home[x] / "00109.mp4", 110 + int(x) % 220)
        note("RealVideo-RealAudio", x, "00109.mp4", "real", "-")
        with_tone(source.real(x), source.root / "RealVideo-FakeAudio" / home[x] / "00109_fake.mp4", 110 + int(y) % 220)
        note("RealVideo-FakeAudio", x, "00109_fake.mp4", "rtvc", "-")
        for made, kind, method in (
            ("Deepfakes", "FakeVideo-RealAudio", "faceswap"),
            ("FaceSwap", "FakeVideo-RealAudio", "fsgan"),
            ("NeuralTextures", "FakeVideo-FakeAudio", "wav2lip"),
        ):
            name = f"00109_{number[y]}_{method}.mp4"
            source.put_fake(made, x, y, f"{kind}/{home[x]}/{name}")
            note(kind, x, name, method, number[y])
    with (source.root / "meta_data.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def _put_reals(source: Source, home: str) -> None:
    for _, person in source.people:
        source.put(source.real(person), f"{home}/original_sequences/youtube/c23/videos/{person}.mp4")
