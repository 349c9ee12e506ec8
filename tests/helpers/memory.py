"""How much memory processes take: the most that each has held, as the kernel counts it."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

EVERY_S = 0.05


class Family:
    """The processes that come of one: looked at often, since many of them live for moments.

    By psutil this takes five times as long, of a machine that others work on.

    Attributes:
        most: process -> the most bytes that it has held up to its last look, whatever it held in between.
        names: process -> its command, the first 200 letters.
    """

    def __init__(self, root: int) -> None:
        self.most: dict[int, int] = {}
        self.names: dict[int, str] = {}
        self._members = {root}
        self._known = {root}

    def look(self) -> None:
        """Find new processes, and note what all of them have held."""
        there = {int(name) for name in os.listdir("/proc") if name.isdigit()}  # noqa: PTH208 -- a hundred, 20 times a second
        new = sorted(there - self._known)  # Children mostly have higher numbers than those that started them.
        self._known = there
        for process in new:
            with suppress(OSError, ValueError, IndexError):
                if int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1]) in self._members:
                    self._members.add(process)
        self._members &= there
        for process in self._members:
            with suppress(OSError, ValueError, StopIteration):
                lines = Path(f"/proc/{process}/status").read_text().splitlines()
                peak = next(line for line in lines if line.startswith("VmHWM:"))
                self.most[process] = int(peak.split()[1]) << 10
                name = Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                self.names[process] = name[:200] or self.names.get(process, "")


def most_held(process: subprocess.Popen[Any]) -> dict[str, int]:
    """Wait for the end of a command: the most bytes that each process of it held, by its command."""
    family = Family(process.pid)
    while process.poll() is None:
        family.look()
        time.sleep(EVERY_S)
    most: dict[str, int] = {}
    for number, count in family.most.items():
        name = family.names[number]
        most[name] = max(most.get(name, 0), count)
    return most


@contextmanager
def most_memory() -> Iterator[list[int]]:
    """While inside, follow forgeprep's processes; the list's only entry is the most bytes that one has held."""
    most, stop, family = [0], threading.Event(), Family(os.getpid())

    def follow() -> None:
        while not stop.wait(2 * EVERY_S):
            family.look()
            held = [c for n, c in family.most.items() if n != os.getpid() and named(family.names[n])]
            most[0] = max([most[0], *held])

    def named(command: str) -> bool:
        return "ray::" in command or "forgeprep" in command

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield most
    finally:
        stop.set()
        thread.join()
