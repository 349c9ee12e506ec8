"""All that the page of a run is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from forgeprep.report.measure import Measures
from forgeprep.report.pairs import Clips
from forgeprep.report.pictures import Pictures
from forgeprep.report.summary import Summary


@dataclass(frozen=True, slots=True)
class Findings:
    """What was read of a run: ``run.json``, its records, the value columns of its shards, and some pictures."""

    run: dict[str, Any]
    summary: Summary
    clips: Clips
    measures: Measures
    pictures: Pictures
