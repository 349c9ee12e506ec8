"""The guard of a process that reads media."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from forgeprep.media import guard


def test_the_clock_of_a_worker_does_not_stop_what_goes_on(tmp_path: Path) -> None:
    def outcome(pause: float) -> int:
        code = (
            "import time; from forgeprep.media import guard\n"
            "with guard.clock(1.0):\n"
            f"    for _ in range(6): time.sleep({pause}); guard.alive()\n"
            "    with guard.clock(None): time.sleep(1.5)\n"
            "time.sleep(1.5)\n"
        )
        return subprocess.run([sys.executable, "-c", code], stderr=subprocess.DEVNULL, check=False).returncode

    assert outcome(0.4) == 0
    assert outcome(3) == 1
    guard.alive()
