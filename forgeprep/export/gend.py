"""GenD: a folder for each dataset, source and video, and text lists of the files for each split and source::

    datasets/FF/DF/071_054/123.png
    config/datasets/FF/train/DF.txt

A file is real where its source's name contains ``real``. The lists say where the files lie from this folder on: start
GenD here, or copy the folder into GenD's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import Field

from forgeprep.export.base import ExportFormat, ExportParams, Part, Whole, suffix_of, video_of

NAMES = {
    "ffpp": "FF", "celebdf-v1": "CDFv1", "celebdf-v2": "CDFv2", "dfd": "DFD", "dfdc": "DFDC", "dfdc-preview": "DFDCP",
}  # fmt: skip
"""Dataset -> what GenD calls it."""
_SOURCES = {
    "Deepfakes": "DF", "Face2Face": "F2F", "FaceSwap": "FS", "NeuralTextures": "NT", "FaceShifter": "FSh",
}  # fmt: skip
_KNOWN = {"ffpp": ("c23",), "dfd": ("c23",)}
"""The quality that needs no mention in the dataset's name."""


class GenDParams(ExportParams):
    """Options of the format ``gend``."""

    name: str | None = Field(
        default=None, pattern=r"[\w+.-]+", description="name of the dataset there; default: GenD's, or ours"
    )


def part(part: Part, params: GenDParams) -> Iterator[list[str]]:
    """Write the pictures of a shard."""
    name = params.name or NAMES.get(part.dataset, part.dataset)
    for row in part.rows():
        source = _source(part.dataset, row["clip_id"], row["method"])
        path = f"{stem_of(name, part.dataset, row)}.{suffix_of(row['image'])}"
        part.add(path, row["image"]["bytes"])
        yield [f"config/datasets/{_name(name, part.dataset, row)}/{row['split']}/{source}.txt", path]


def stem_of(name: str, dataset: str, row: Mapping[str, Any]) -> str:
    """Where a sample's picture lies, without its suffix."""
    source = _source(dataset, row["clip_id"], row["method"])
    return f"datasets/{_name(name, dataset, row)}/{source}/{_video(row)}/{row['frame_index']:03d}"


def finish(whole: Whole, entries: Iterable[list[str]], params: GenDParams) -> None:
    """Write the list of each split and source."""
    lists: dict[str, list[str]] = {}
    for name, path in entries:
        lists.setdefault(name, []).append(path)
    for name, paths in lists.items():
        whole.add(name, "".join(f"{path}\n" for path in sorted(paths)).encode())


def _name(name: str, dataset: str, row: Mapping[str, Any]) -> str:
    quality = row["compression"]
    return name if quality in (None, *_KNOWN.get(dataset, ())) else f"{name}-{quality}"


def _source(dataset: str, clip_id: str, method: str | None) -> str:
    """The name of the source; it says ``real`` where it is real, and nowhere else."""
    folder = clip_id.split("/")[1] if dataset.startswith("celebdf") else ""
    if method is None:
        return folder if "real" in folder else "real"
    # "Celeb-synthesis", as GenD has it; of others the method.
    name = folder or _SOURCES.get(method, re.sub(r"[^\w.-]", "_", method))
    return re.sub("real", lambda found: found[0].upper(), name)


def _video(row: Mapping[str, Any]) -> str:
    """The video's folder: for datasets with folders of their own, these stand before its name."""
    inner = str(row["clip_id"]).split("/")[1:-1]
    if row["dataset"] in NAMES:
        return video_of(row)
    return "__".join([*inner, video_of(row)])


GEND = ExportFormat(
    name="gend",
    summary="dataset/source/video/frame.png and text lists, for GenD",
    part=part,
    finish=finish,
    params=GenDParams,
)
