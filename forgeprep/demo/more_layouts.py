"""The demo's people in the layouts of the datasets that came after 2020."""

from __future__ import annotations

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
