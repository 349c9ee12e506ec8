"""``forgeprep status``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forgeprep.commands.flags import Debug, Json, parse_path
from forgeprep.commands.groups import single

if TYPE_CHECKING:
    from forgeprep.report.status import Status


def status(
    out: Annotated[
        Path,
        typer.Argument(
            help="Folder of a run, also of one that works or was stopped.", parser=parse_path, metavar="OUT"
        ),
    ],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Tell how far a run is, also while it works.

    Shards, clips, samples, whether it works right now, its speed and time to go.
    """
    from dataclasses import asdict

    from forgeprep.commands.terminal import console, print_json
    from forgeprep.report.status import gather

    found = gather(out)
    if as_json:
        print_json(asdict(found))
    else:
        console.print("\n".join(lines(found)), markup=False)


app = single(status, examples="forgeprep status shards\nforgeprep status shards --json")


def lines(status: Status) -> list[str]:
    """The status for people, a fact a line."""
    from datetime import timedelta

    who = f" ({status.process})" if status.process else ""
    from forgeprep.io.storage import path_of_name
    from forgeprep.shards.remedies import rebuild
    from forgeprep.text import counted

    since = {"working": f", since {status.began}{who}", "stopped": f"; last began {status.began}{who}"}
    found = [("run", f"{status.out}: {status.state}{since.get(status.state, '') if status.began else ''}")]
    found.append(("shards", f"{status.shards:,} of {_number(status.shards_planned)}"))
    if status.in_work:
        found.append(("in work", _some(status.in_work)))
    found.append(("clips", f"{status.clips:,} of {_number(status.clips_planned)}"))
    asked = f"{_number(status.frames_planned)} frames were asked for"
    left = f", {status.left_out:,} left out" if status.left_out else ""
    found.append(("samples", f"{status.written:,} written, {status.dropped:,} dropped{left}; {asked}"))
    if status.last_shard is not None:
        speed = f"; {status.samples_per_s:.1f} samples/s" if status.samples_per_s is not None else ""
        found.append(("latest", f"a shard at {status.last_shard}{speed}"))
    if status.left_s is not None:
        found.append(("left", f"about {timedelta(seconds=round(status.left_s))}"))
    elif status.state == "working":
        found.append(("left", "not known before this process has finished a shard"))
    if status.to_extend:
        found.append(("to extend", _some(status.to_extend)))
    if status.to_remake:
        found.append(("to remake", _some(status.to_remake)))
    found += [("damaged", problem) for problem in status.problems]
    if status.without_records and status.state == "stopped":
        files = counted(status.without_records, "shard file has", "shard files have")
        found.append(("next", f"{files} no record, as in a copy without state/: {rebuild(path_of_name(status.out))}"))
    elif status.state == "stopped":
        found.append(("next", f"give the same 'forgeprep {status.command}' command again for the rest"))
    return [f"{name:<9}  {text}" for name, text in found]


def _number(value: Any) -> str:
    return "an unknown number" if value is None else f"{value:,}"


def _some(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
