"""The demo's people in the layouts of the datasets that came after 2020."""

from __future__ import annotations

import csv
import json

import numpy as np

from forgeprep.demo.people import UInt8, make_person
from forgeprep.demo.sound import with_tone
from forgeprep.demo.source import Source, name_of, put_celeb_reals
from forgeprep.demo.stills import frames_of, write_picture
from forgeprep.demo.truth import load_truth


def write_celebdf_v3(source: Source) -> None:
    """Write Celeb-DF++: swaps of two methods, one method of re-enactment, one of talking faces, under equal names."""
    number, test = put_celeb_reals(source)
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


def write_df40(source: Source) -> None:
    """Write DF40 and, in folders ``frames``, the crops of FaceForensics++ and Celeb-DF that are its reals."""
    number = {person: i for i, (_, person) in enumerate(source.people)}
    tested = [person for split, person in source.people if split == "test"]
    for _, person in source.people:
        ff = source.root / "FaceForensics++/original_sequences/youtube/c23/frames" / person
        cdf = source.root / "Celeb-DF-v2/Celeb-real/frames" / f"id{number[person]}_0000"
        for index, frame in enumerate(frames_of(source.real(person))):
            if index % 5 == 0:
                write_picture(ff / f"{index:03d}.png", _crop(frame))
                write_picture(cdf / f"{index:03d}.png", _crop(frame))
        size = frame.shape[1], frame.shape[0]
        home = "DF40" if person in tested else "DF40_train"
        for index in range(3):
            seed = int(name_of(person, str(index), letters="123456789", length=6))
            still = make_person(int(person) % 2 + 2 * (index + 1), seed, size).still
            level = "ff/" if home == "DF40" else ""
            write_picture(source.root / home / f"StyleGAN2/{level}{person}/seed{index:04d}.png", _crop(still))
    for made, method in (("FaceSwap", "simswap"), ("NeuralTextures", "fomm")):
        for split, x, y in source.swaps:
            places = [f"DF40_train/{method}/frames/{x}_{y}"]
            if split == "test":
                swap = f"id{number[x]}_id{number[y]}_0000"
                places = [f"DF40/{method}/ff/frames/{x}_{y}", f"DF40/{method}/cdf/frames/{swap}"]
            truth = load_truth(source.truth(made, x, y))
            for index, frame in enumerate(frames_of(source.fake(made, x, y))):
                for place in places if index % 5 == 0 else ():
                    write_picture(source.root / place / f"{index:03d}.png", _crop(frame))
                    mask = np.asarray(truth[index] * 255, np.uint8)
                    write_picture(source.root / "truth" / place / f"{index:03d}.png", _crop(mask))
    swaps = "".join(f"1 Celeb-real/id{number[person]}_0000.mp4\n" for person in tested)
    (source.root / "Celeb-DF-v2/Celeb-synthesis").mkdir(parents=True, exist_ok=True)
    (source.root / "Celeb-DF-v2/List_of_testing_videos.txt").write_text(swaps)


def write_crops(source: Source) -> None:
    """Write crops as DeepfakeBench keeps them, with its JSON; masks of one method alone, in three channels."""
    labels: dict[str, dict[str, dict[str, dict[str, object]]]] = {}
    videos: list[tuple[str, str, str | None, str, str, str]] = [
        ("original_sequences/youtube", "FF-real", None, split, x, x) for split, x in source.people
    ]
    for method, label in (("Deepfakes", "FF-DF"), ("FaceSwap", "FF-FS")):
        videos += [(f"manipulated_sequences/{method}", label, method, *swap) for swap in source.swaps]
    for folder, label, made, split, x, y in videos:
        name = x if made is None else f"{x}_{y}"
        home = f"datasets/rgb/FaceForensics++/{folder}/c23"
        file = source.real(x) if made is None else source.fake(made, x, y)
        truth = None if made is None else load_truth(source.truth(made, x, y))
        frames = []
        for index, frame in enumerate(frames_of(file)):
            if index % 5:
                continue
            frames.append(f"{home}/frames/{name}/{index:03d}.png")
            write_picture(source.root / frames[-1], _crop(frame))
            if truth is not None:
                mask = _crop(np.asarray(truth[index] * 255, np.uint8))
                write_picture(source.root / "truth" / frames[-1], mask)
                if made == "Deepfakes":
                    write_picture(source.root / f"{home}/masks/{name}/{index:03d}.png", np.dstack([mask] * 3))
        held = labels.setdefault(label, {key: {"c23": {}} for key in ("train", "val", "test")})
        held[split]["c23"][name] = {"label": label, "frames": [f"./{frame}" for frame in frames], "masks": []}
    file = source.root / "preprocessing/dataset_json/FaceForensics++.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"FaceForensics++": labels}, indent=1))


def _crop(frame: UInt8) -> UInt8:
    """The middle of a frame, a square: where the demo's faces are."""
    side = min(frame.shape[:2])
    y, x = (frame.shape[0] - side) // 2, (frame.shape[1] - side) // 2
    return np.ascontiguousarray(frame[y : y + side, x : x + side])


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


def write_ffiw(source: Source) -> None:
    """Write FFIW10K: pairs of one name, and masks."""
    for i, (split, x, y) in enumerate(source.swaps):
        for method, number in (("Deepfakes", 2 * i), ("FaceSwap", 2 * i + 1)):
            place = f"{'train' if split == 'train' else 'val'}/{split}_{number:08d}.mp4"
            top = "FFIW10K-v1-release"
            source.put(source.real(x), f"{top}/source/{place}")
            source.put_fake(method, x, y, f"{top}/target/{place}")
            source.put(source.mask(method, x, y), f"{top}/target_mask/{place}")


def write_wilddeepfake(source: Source) -> None:
    """Write WildDeepfake: crops in shards whose numbers recur; the people of val are train's."""
    for method, kind in ((None, "real"), ("Deepfakes", "fake"), ("FaceSwap", "fake")):
        for i, (split, x, y) in enumerate(source.swaps):
            part = "test" if split == "test" else "train"
            file = source.real(x) if method is None else source.fake(method, x, y)
            home = f"{kind}_{part}/{2 * i + (method == 'FaceSwap')}/{kind}/0"
            for index, frame in enumerate(frames_of(file)):
                if index % 4 == 0:
                    write_picture(source.root / home / f"{index}.png", _crop(frame))


def write_uadfv(source: Source) -> None:
    """Write UADFV."""
    for i, (_, x, y) in enumerate(source.swaps):
        source.put(source.real(x), f"real/{i:04d}.mp4")
        source.put_fake("Deepfakes", x, y, f"fake/{i:04d}_fake.mp4")


def write_dfdm(source: Source) -> None:
    """Write DFDM, and beside it the Celeb-DF that its reals lie in."""
    number = {person: i for i, (_, person) in enumerate(source.people)}
    home = source.root / "Celeb-DF-v2"
    tested = []
    for split, person in source.people:
        source.put(source.real(person), f"Celeb-DF-v2/Celeb-real/id{number[person]}_0000.mp4")
        tested += [f"1 Celeb-real/id{number[person]}_0000.mp4\n"] if split == "test" else []
    (home / "Celeb-synthesis").mkdir()
    (home / "List_of_testing_videos.txt").write_text("".join(tested))
    for method, model in (("Deepfakes", "dfaker"), ("FaceSwap", "iae")):
        for _, x, y in source.swaps:
            source.put_fake(method, x, y, f"DFDM_crf10/{model}/id{number[x]}_id{number[y]}_0000.mp4")


def write_kodf(source: Source) -> None:
    """Write KoDF: reals and two of its methods."""
    # People are dealt out by the hash of their number; from here on, pairs come into one split each.
    number = {person: 507 + i for i, (_, person) in enumerate(source.people)}
    for _, person in source.people:
        source.put(source.real(person), f"original_videos/{number[person]}/{number[person]}_001.mp4")
    for method, code in (("Deepfakes", 1), ("FaceSwap", 2)):
        for _, x, y in source.swaps:
            source.put_fake(method, x, y, f"synthesized_videos/{number[x]}_{number[y]}_{code}_001.mp4")


def write_deepfake_eval(source: Source) -> None:
    """Write Deepfake-Eval-2024: videos under names that tell nothing, and a list."""
    rows = [["Filename", "Video Ground Truth", "Audio Ground Truth", "Finetuning Set"]]
    for split, x, y in source.swaps:
        for label, file in (("Real", source.real(x)), ("Fake", source.fake("Deepfakes", x, y))):
            name = f"{name_of(label, x)}.mp4"
            source.put(file, f"video-data/{name}")
            rows.append([name, label, "Unknown", "Test" if split == "test" else "Train"])
    with (source.root / "video-metadata-publish.csv").open("w", newline="") as file_:
        csv.writer(file_).writerows(rows)
