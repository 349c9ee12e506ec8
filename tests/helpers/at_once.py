"""Start the same command twice in the same instant, again and again: one has to work, the other to be refused.

``python -m tests.helpers.at_once TRIES WORDS…``: WORDS are those of ``forgeprep``, with OUT for the folder.

Each try forks two processes that have imported all and wait for the same moment, which is closer than a shell gets.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path


def start_at(moment_s: float, words: list[str]) -> int:
    """Fork a process that gives a command at a moment of the monotonic clock."""
    child = os.fork()
    if child:
        return child
    void = os.open(os.devnull, os.O_WRONLY)
    os.dup2(void, 1)
    os.dup2(void, 2)
    code = 70
    try:
        from forgeprep.cli import main

        while time.monotonic() < moment_s:
            pass
        main(words)
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        os._exit(code)


def codes_of(words: list[str], out: Path) -> tuple[int, ...]:
    """The exit codes of the command, given twice at once, sorted."""
    words = [str(out) if word == "OUT" else word for word in words]
    moment_s = time.monotonic() + 0.1
    children = [start_at(moment_s, words) for _ in range(2)]
    return tuple(sorted(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))


if __name__ == "__main__":
    import forgeprep.commands.execution
    import forgeprep.commands.run
    import forgeprep.pipeline.run  # noqa: F401

    found: Counter[tuple[int, ...]] = Counter()
    for turn in range(int(sys.argv[1])):
        with tempfile.TemporaryDirectory() as folder:
            found[codes_of(sys.argv[2:], Path(folder) / "out")] += 1
            print(turn + 1, dict(found), flush=True)
