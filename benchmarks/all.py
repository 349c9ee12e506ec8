"""Run the benchmarks that give a few key figures, and append them to the history in benchmarks/README.md.

    python benchmarks/all.py                          # about ten minutes; the machine should have nothing else to do
    python benchmarks/all.py --only start noise
    python benchmarks/all.py --dry-run                # print the row and leave the history as it is

Each script writes a flat JSON mapping of names to numbers with ``--json``. One that fails is named in the row.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
HISTORY = HERE / "README.md"
SCRIPTS = ("pipeline", "start", "noise", "scan", "loader")


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--only", nargs="+", choices=SCRIPTS, default=SCRIPTS, help="these scripts alone")
    arguments.add_argument("--dry-run", action="store_true")
    given = arguments.parse_args()
    told = {name: figures_of(name) for name in given.only}
    row = [datetime.date.today().isoformat(), commit(), machine(), "; ".join(filter(None, told.values()))]
    line = "| " + " | ".join(cell.replace("|", "/") for cell in row) + " |"
    print(line)
    if not given.dry_run:
        # The table is the end of the file.
        HISTORY.write_text(HISTORY.read_text().rstrip("\n") + f"\n{line}\n")
    return int(any("failed" in text for text in told.values()))


def figures_of(name: str) -> str:
    """What a script measured, as ``name value; name value``; that it failed, if it did."""
    print(f"== {name}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "figures.json")
        code = subprocess.call([sys.executable, str(HERE / f"{name}.py"), "--json", str(file)])
        try:
            figures = json.loads(file.read_text())
            text = "; ".join(f"{key} {value:.4g}" for key, value in figures.items())
        except (OSError, ValueError, TypeError, AttributeError):
            return f"{name} failed ({code})"
    return f"{text}; {name} failed ({code})" if code else text


def commit() -> str:
    """The commit's short hash, with a plus sign where files differ from it."""
    words = ["git", "-C", str(HERE), "describe", "--always", "--abbrev=8", "--dirty=+", "--exclude=*"]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def machine() -> str:
    """Processor and cores, with the load that others put on them."""
    names = [
        line.partition(":")[2].strip()
        for line in (Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else [])
        if line.startswith("model name")
    ]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[1]:.1f}"


if __name__ == "__main__":
    sys.exit(main())
