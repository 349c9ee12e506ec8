"""The datasets that forgeprep can read, by name.

Built-in datasets stand in a plain dict and are imported when asked for. A third party adds one with an entry point in
the group ``forgeprep.datasets`` whose value is a :class:`forgeprep.datasets.base.Dataset`::

    [project.entry-points."forgeprep.datasets"]
    mine = "my_package.mine:MINE"
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from forgeprep.registry import Registry

if TYPE_CHECKING:
    from forgeprep.datasets.base import Dataset

__all__ = ["dataset_name", "dataset_names", "get_dataset"]

# name -> "module:attribute": a string, so that listing the names imports nothing
_BUILT_IN = {
    "avdeepfake1m": "forgeprep.datasets.avdeepfake1m:AVDEEPFAKE1M",
    "celebdf-v1": "forgeprep.datasets.celebdf:V1",
    "celebdf-v2": "forgeprep.datasets.celebdf:V2",
    "celebdf-v3": "forgeprep.datasets.celebdf_v3:CELEBDF_V3",
    "crops": "forgeprep.datasets.crops:CROPS",
    "deepfake-eval-2024": "forgeprep.datasets.small:DEEPFAKE_EVAL_2024",
    "deeperforensics": "forgeprep.datasets.deeperforensics:DEEPERFORENSICS",
    "df40": "forgeprep.datasets.df40:DF40",
    "dfd": "forgeprep.datasets.dfd:DFD",
    "dfdc": "forgeprep.datasets.dfdc:DFDC",
    "dfdc-preview": "forgeprep.datasets.dfdc_preview:DFDC_PREVIEW",
    "dfdm": "forgeprep.datasets.small:DFDM",
    "fakeavceleb": "forgeprep.datasets.fakeavceleb:FAKEAVCELEB",
    "ffiw10k": "forgeprep.datasets.ffiw:FFIW10K",
    "ffpp": "forgeprep.datasets.ffpp:FFPP",
    "folder": "forgeprep.datasets.folder:FOLDER",
    "forgerynet": "forgeprep.datasets.forgerynet:FORGERYNET",
    "genface": "forgeprep.datasets.genface:GENFACE",
    "kodf": "forgeprep.datasets.small:KODF",
    "lavdf": "forgeprep.datasets.lavdf:LAVDF",
    "manifest": "forgeprep.datasets.manifest:MANIFEST",
    "uadfv": "forgeprep.datasets.small:UADFV",
    "wilddeepfake": "forgeprep.datasets.wilddeepfake:WILDDEEPFAKE",
}


DATASETS: Registry[Dataset] = Registry("dataset", "forgeprep.datasets", _BUILT_IN, "forgeprep.datasets.base:Dataset")


_ALIASES = {
    "avdeepfake1m++": "avdeepfake1m",
    "celebdf": "celebdf-v2",
    "celebdf++": "celebdf-v3",
    "celebdfpp": "celebdf-v3",
    "deeperforensics1.0": "deeperforensics",
    "deepfakedetection": "dfd",
    "deepfakedetectionchallenge": "dfdc",
    "faceforensics": "ffpp",
    "faceforensics++": "ffpp",
    "faceforensicspp": "ffpp",
    "ff++": "ffpp",
    "ffiw": "ffiw10k",
}
"""What people call a dataset, in lower case without spaces, dashes and underscores -> its name here."""


def dataset_names() -> list[str]:
    """The names that :func:`get_dataset` knows, sorted; imports none of them."""
    return sorted(DATASETS.names())


def dataset_name(text: str) -> str:
    """The name of a dataset that is called so; the text itself where there is none.

    >>> dataset_name("FaceForensics++"), dataset_name("Celeb-DF-v2"), dataset_name("ffp")
    ('ffpp', 'celebdf-v2', 'ffp')
    """
    names = DATASETS.names()
    if text in names:
        return text
    return {**{_squeezed(name): name for name in names}, **_ALIASES}.get(_squeezed(text), text)


def _squeezed(text: str) -> str:
    return "".join(letter for letter in text.lower() if letter not in " -_")


def get_dataset(name: str) -> Dataset:
    """The dataset of that name, or that is called so (:func:`dataset_name`).

    Raises:
        UsageError: the name is unknown, stands for two datasets, or its package cannot be loaded.
    """
    return DATASETS.get(dataset_name(name))
