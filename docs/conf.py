"""The documentation site: ``make docs`` builds it into ``docs/_build/html``, with warnings as errors."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tools")]

from forgeprep import __version__  # noqa: E402

project = "forgeprep"
author = "the authors of forgeprep"
copyright = author
version = release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
# Flags begin with two dashes.
smartquotes = False
exclude_patterns = ["_build"]
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_title = f"forgeprep {version}"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
# The packages behind types are not needed to read about them.
nitpicky = False
suppress_warnings = ["ref.python"]


def write_reference(_app: Any) -> None:
    """Write the pages that are made from the code."""
    import reference

    reference.write(HERE / "reference")


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("builder-inited", write_reference)
