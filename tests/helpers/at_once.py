"""Start the same command twice in the same instant, again and again: no shard may be made twice.

``python -m tests.helpers.at_once TRIES WORDS…``: WORDS are those of ``forgeprep run``, with OUT for the folder.

Each try forks two processes that have imported all and wait for the same moment, which is closer than a shell gets.
Usually one works and the other is refused, ``(0, 2)``. Both may end well where the second comes so late that the first
has ended already; it makes nothing then.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path


def start_at(moment_s: float, words: list[str], told: Path) -> int:
    """Fork a process that gives a command at a moment of the monotonic clock; its output goes to a file."""
    child = os.fork()
    if child:
        return child
    file = os.open(told, os.O_WRONLY | os.O_CREAT, 0o600)
    os.dup2(file, 1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")  # pytest has put others in their place
    code = 70
    try:
        from forgeprep.cli import main

        while time.monotonic() < moment_s:
            pass
        main(words)
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.stdout.flush()
        os._exit(code)


def outcome(words: list[str], folder: Path) -> tuple[tuple[int, ...], int]:
    """The exit codes of the command, given twice at once, sorted; and how often a shard was made."""
    words = [*(str(folder / "out") if word == "OUT" else word for word in words), "--json"]
    moment_s = time.monotonic() + 0.1
    told = [folder / f"told{number}" for number in range(2)]
    children = [start_at(moment_s, words, file) for file in told]
    codes = tuple(sorted(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
    found = [json.loads(line) for file in told for line in file.read_text().splitlines()]
    return codes, sum(event.get("state") == "made" for event in found)


if __name__ == "__main__":
    import forgeprep.commands.execution
    import forgeprep.commands.run
    import forgeprep.pipeline.run  # noqa: F401

    counts: Counter[tuple[tuple[int, ...], int]] = Counter()
    for turn in range(int(sys.argv[1])):
        with tempfile.TemporaryDirectory() as folder:
            counts[outcome(sys.argv[2:], Path(folder))] += 1
            print(turn + 1, dict(counts), flush=True)
