"""``forgeprep doctor``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from forgeprep.commands.flags import Debug, Json
from forgeprep.commands.groups import single

if TYPE_CHECKING:
    from forgeprep.report.machine import Machine

EXAMPLES = """
forgeprep doctor
forgeprep doctor --json > machine.json
"""


def doctor(as_json: Json = False, debug: Debug = False) -> None:
    """Tell what works on this machine, and what is missing.

    Versions, detectors, weights, encoders, Ray, GPU and extras. Exit code 1 if the core cannot work.
    """
    from dataclasses import asdict
    from pathlib import Path

    from forgeprep.commands.terminal import console, print_json
    from forgeprep.report.machine import look_at_machine

    found = look_at_machine(Path.cwd())
    if as_json:
        print_json(asdict(found))
    else:
        console.print("\n".join(lines(found)), markup=False)
    sys.exit(0 if found.works else 1)


app = single(doctor, examples=EXAMPLES)


def lines(machine: Machine) -> list[str]:
    """What was found, a fact a line, and at the end what is missing for what."""
    from forgeprep.report.summary import size_text

    memory = "unknown" if machine.memory is None else size_text(machine.memory)
    if machine.memory_available is not None:
        memory += f", {size_text(machine.memory_available)} available"
    facts = {
        "forgeprep": machine.forgeprep,
        "Python": machine.python,
        "system": machine.system,
        "CPU": f"{machine.cpu}, {machine.cores} cores; {', '.join(machine.features) or 'features unknown'}",
        "memory": memory,
        "disk": f"{size_text(machine.disk_free)} free in {machine.folder}",
        "packages": ", ".join(f"{name} {told}" for name, told in machine.packages.items() if told),
    }
    found = [f"{name:<10} {text}" for name, text in facts.items()]
    for part in machine.parts:
        word = "ok" if part.usable else "broken" if part.kind == "extension" else "missing"
        found.append(f"{part.kind:<10} {part.name:<18} {word:<7}  {part.detail}")
    found.append("")
    for part in machine.parts:
        if part.mend:
            word = "look at" if part.usable else "broken" if part.kind == "extension" else "missing"
            what = part.name if part.name == part.kind else f"{part.kind} {part.name}"
            found.append(f"{word} for {part.needed_for}: {what}; {part.mend}")
    if not machine.works:
        found.append("the core cannot work here")
    elif all(part.usable for part in machine.parts):
        found.append("nothing is missing")
    else:
        found.append("the core works")
    return found
