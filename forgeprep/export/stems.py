"""Where the built-in formats put a sample's picture: so a path in somebody's results leads back to the sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from forgeprep.export import deepfakebench, gend, laa_net
from forgeprep.export.base import place_of


def stems_of(row: Mapping[str, Any], dataset: str) -> list[str]:
    """The paths of a sample's picture in exports, without suffix, as default options make them.

    ``pictures``, ``imagefolder``, ``forensichub``, ``imdl-benco`` differ in what stands before the sample's place, so
    that alone is here.

    Args:
        row: its values, with ``dataset``, ``split`` and ``clip_method``, the method of its clip (None for a real one).
        dataset: the run's.
    """
    bench, plain = deepfakebench.NAMES.get(dataset, dataset), gend.NAMES.get(dataset, dataset)
    return [
        place_of(row),
        *(deepfakebench.stem_of(bench, dataset, row, videos) for videos in ("plain", "method")),
        gend.stem_of(plain, dataset, row),
        laa_net.stem_of(row),
    ]
