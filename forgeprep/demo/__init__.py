"""The demo dataset: real faces, four kinds of forgery, real H.264, and the true mask of every frame.

Unless another layout is asked for, it has that of FaceForensics++, so everything that is tried on it works on the real
dataset. Beside the layout lies ``truth/``: since the forgeries are made here, the altered pixels are known, and masks
can be measured.
"""

from __future__ import annotations

from forgeprep.demo.make import DemoSummary, make_demo
from forgeprep.demo.truth import load_truth

__all__ = ["DemoSummary", "load_truth", "make_demo"]
