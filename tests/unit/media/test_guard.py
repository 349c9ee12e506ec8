"""The guard of a process that reads media."""

from __future__ import annotations

import subprocess
import sys

from forgeprep.media import guard


def test_the_clock_of_a_worker_does_not_stop_what_goes_on() -> None:
    def begun(pause: float) -> subprocess.Popen[bytes]:
        code = (
            "import time; from forgeprep.media import guard\n"
            "with guard.clock(1.0):\n"
            f"    for _ in range(6): time.sleep({pause}); guard.alive()\n"
            "    with guard.clock(None): time.sleep(1.5)\n"
            "time.sleep(1.5)\n"
        )
        return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)

    with begun(0.4) as lively, begun(3) as stuck:
        assert (lively.wait(60), stuck.wait(60)) == (0, 1)
    guard.alive()
