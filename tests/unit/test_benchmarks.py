"""Benchmarks find what they time by its name: a renamed function would be noticed by whoever runs them next."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HOME = Path(__file__).resolve().parents[2] / "benchmarks"


def test_the_steps_that_are_timed_are_there() -> None:
    # In a process of its own, since the steps stay wrapped.
    code = f"import sys; sys.path.insert(0, {str(HOME)!r}); import pipeline; pipeline.clock_steps(pipeline.Clock())"
    subprocess.run([sys.executable, "-c", code], check=True)
