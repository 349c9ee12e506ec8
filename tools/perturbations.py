"""Make docs/perturbations.jpg, each perturbation at each severity: ``python tools/perturbations.py``."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from skimage import data

from forgeprep.media.frames import UInt8
from forgeprep.ops.perturb.catalogue import CATALOGUE, SEVERITIES, perturb, ready

FACE = (slice(16, 208), slice(128, 320))
CELL, COLUMNS, HEAD, LABEL, GAP = 120, 3, 16, 18, 4
PICTURE = Path(__file__).parents[1] / "docs" / "perturbations.jpg"


def sheet(face: UInt8) -> Image.Image:
    """Three columns of blocks; a block is a name over its severities 1 to 5."""
    block = np.array([len(SEVERITIES) * (CELL + GAP) + 4 * GAP, CELL + LABEL + GAP])
    rows = -(-len(CATALOGUE) // COLUMNS)
    page = Image.new("RGB", (int(block[0]) * COLUMNS, int(block[1]) * rows + HEAD), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(13)
    pen.text((GAP, 0), "severity 1 to 5, left to right, of each", "black", font)
    for number, entry in enumerate(CATALOGUE.values()):
        x, y = block * (number // rows, number % rows) + (GAP, HEAD)
        pen.text((x, y), f"{entry.name} ({entry.group})", "black", font)
        for severity in SEVERITIES:
            # The same draw for all severities: only the strength changes along the row.
            step = ready(entry.name, severity, np.random.default_rng(1))
            image, _ = perturb(face, [step], np.random.default_rng(2))
            cell = cv2.resize(image, (CELL, CELL), interpolation=cv2.INTER_AREA)
            page.paste(Image.fromarray(cell), (int(x) + (severity - 1) * (CELL + GAP), int(y) + LABEL))
    return page


if __name__ == "__main__":
    sheet(np.ascontiguousarray(data.astronaut()[FACE], np.uint8)).save(PICTURE, quality=88)
    print(PICTURE)
