"""The demo's people in the layouts of other datasets: made as FaceForensics++, then moved, renamed and listed.

The truth goes along: ``truth/<path of the clip>.npz`` for a video, ``.png`` for a picture.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator

from forgeprep.demo import more_layouts, periods
from forgeprep.demo.layout import PAIRS
from forgeprep.demo.sound import write_dfdc
from forgeprep.demo.source import METHODS, Source, name_of, put_celeb_reals
from forgeprep.demo.stills import write_forgerynet, write_genface


def relayout(source: Source, layout: str) -> None:
    """Write the demo in another layout, one of :data:`LAYOUTS`."""
    LAYOUTS[layout](source)


def _dfd(source: Source) -> None:
    from forgeprep.datasets.dfd import DfdParams, actor_splits

    free: dict[str, Iterator[str]] = {}
    splits = actor_splits(DfdParams())
    for split in ("train", "val", "test"):
        free[split] = iter([actor for actor, its in splits.items() if its == split])
    actor = {person: next(free[split]) for split, person in source.people}
    scene = "talking_against_wall"
    for compression in source.compressions:
        for _, person in source.people:
            place = f"original_sequences/actors/{compression}/videos/{actor[person]}__{scene}.mp4"
            source.put(source.real(person, compression), place)
        for _, x, y in source.swaps:
            tag = name_of(x, y, letters="ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", length=8)
            name = f"{actor[x]}_{actor[y]}__{scene}__{tag}.mp4"
            base = "manipulated_sequences/DeepFakeDetection"
            source.put_fake("Deepfakes", x, y, f"{base}/{compression}/videos/{name}", compression)
            source.put(source.mask("Deepfakes", x, y), f"{base}/masks/videos/{name}")


def _celebdf(source: Source) -> None:
    number, test = put_celeb_reals(source)
    for split, x, y in source.swaps:
        place = f"Celeb-synthesis/id{number[x]}_id{number[y]}_0000.mp4"
        source.put_fake("Deepfakes", x, y, place)
        test += [f"0 {place}"] if split == "test" else []
    (source.root / "List_of_testing_videos.txt").write_text("\n".join(test) + "\n")


def _dfdc_preview(source: Source) -> None:
    number = {person: str(1000003 + 7919 * i) for i, (_, person) in enumerate(source.people)}
    entries: dict[str, dict[str, object]] = {}
    for split, person in source.people:
        place = f"original_videos/{number[person]}/{number[person]}_A.mp4"
        source.put(source.real(person), place)
        entries[place] = {"set": "test" if split == "test" else "train", "label": "real", "augmentations": []}
    for method, made in (("method_A", "Deepfakes"), ("method_B", "FaceSwap")):
        for split, x, y in source.swaps:
            target = number[x]
            place = f"{method}/{target}/{target}_A/{number[y]}_{target}_A_001.mp4"
            source.put_fake(made, x, y, place)
            entries[place] = {"set": "test" if split == "test" else "train", "label": "fake", "augmentations": []}
    (source.root / "dataset.json").write_text(json.dumps(entries, indent=1) + "\n")


def _folder(source: Source) -> None:
    for _, person in source.people:
        source.put(source.real(person), f"real/{person}.mp4")
    for method in METHODS:
        for _, x, y in source.swaps:
            source.put_fake(method, x, y, f"fake/{method}/{x}_{y}.mp4")
            source.put(source.mask(method, x, y), f"masks/{method}/{x}_{y}.mp4")


def _manifest(source: Source) -> None:
    columns = ["path", "label", "original", "method", "forgery", "split", "identity", "mask"]
    rows = []
    for split, person in source.people:
        place = f"media/{person}.mp4"
        source.put(source.real(person), place)
        rows.append([place, "real", "", "", "", split, person, ""])
    kinds = dict.fromkeys(METHODS, "identity_replaced") | dict.fromkeys(METHODS[1::2], "identity_remained")
    for method in METHODS:
        for split, x, y in source.swaps:
            place, mask = f"media/{method}_{x}_{y}.mp4", f"media/masks/{method}_{x}_{y}.mp4"
            source.put_fake(method, x, y, place)
            source.put(source.mask(method, x, y), mask)
            rows.append([place, "fake", f"media/{x}.mp4", method, kinds[method], split, f"{x};{y}", mask])
    with (source.root / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


LAYOUTS: dict[str, Callable[[Source], None]] = {
    "avdeepfake1m": periods.write_avdeepfake1m,
    "celebdf-v1": _celebdf,
    "celebdf-v2": _celebdf,
    "celebdf-v3": more_layouts.write_celebdf_v3,
    "crops": more_layouts.write_crops,
    "deeperforensics": more_layouts.write_deeperforensics,
    "df40": more_layouts.write_df40,
    "deepfake-eval-2024": more_layouts.write_deepfake_eval,
    "dfd": _dfd,
    "dfdc": write_dfdc,
    "dfdc-preview": _dfdc_preview,
    "fakeavceleb": more_layouts.write_fakeavceleb,
    "dfdm": more_layouts.write_dfdm,
    "ffiw10k": more_layouts.write_ffiw,
    "folder": _folder,
    "forgerynet": write_forgerynet,
    "genface": write_genface,
    "kodf": more_layouts.write_kodf,
    "lavdf": periods.write_lavdf,
    "manifest": _manifest,
    "uadfv": more_layouts.write_uadfv,
    "wilddeepfake": more_layouts.write_wilddeepfake,
}

__all__ = ["LAYOUTS", "METHODS", "PAIRS", "Source", "name_of", "relayout"]
