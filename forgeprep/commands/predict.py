"""``forgeprep predict``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forgeprep.commands.flags import LOCAL, OUTPUT, Debug, Gpus, Json, parse_local
from forgeprep.commands.groups import single
from forgeprep.text import counted

if TYPE_CHECKING:
    from forgeprep.errors import MediaError

EXAMPLES = """
forgeprep predict runs/two-stream clip.mp4
forgeprep predict runs/two-stream folder --to predictions --every 1 --gpus 0
"""


def predict(
    run_folder: Annotated[Path, typer.Argument(help="Folder of a training.", parser=parse_local, metavar="RUN")],
    files: Annotated[
        list[Path], typer.Argument(help="Pictures, videos or folders.", parser=parse_local, metavar="FILES")
    ],
    to: Annotated[
        Path | None,
        typer.Option(
            help="Folder for annotated copies and JSON. [default: RUN/predicted]", rich_help_panel=OUTPUT, **LOCAL
        ),
    ] = None,
    every: Annotated[
        int, typer.Option(help="Judge every n-th frame of a video.", min=1, rich_help_panel="Frames and faces")
    ] = 5,
    enlarge: Annotated[
        float | None,
        typer.Option(
            help="Crop over face box, 1 to 4. [default: as in the shards]",
            metavar="NUMBER",
            rich_help_panel="Frames and faces",
        ),
    ] = None,
    gpus: Gpus = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Score the faces of pictures and videos.

    Draws what looks forged into copies of them.
    """
    from forgeprep.commands.terminal import console, document
    from forgeprep.commands.training import device_of, refuse_file, require_training

    require_training()
    from forgeprep.pipeline.make_shard import quiet_libraries
    from forgeprep.training.inference.predict import get_ready, predict_all

    to = to or run_folder / "predicted"
    refuse_file("--to", to)
    quiet_libraries()
    ready = get_ready(run_folder, {"enlarge": enlarge}, device=device_of(gpus))
    with document(as_json) as told:
        told |= {"run": str(run_folder), "threshold": ready.loaded.threshold, "notes": list(ready.notes), "files": []}
        for note in ready.notes:
            console.print(note, markup=False)
        for file, result in predict_all(files, ready, to, every=every):
            console.print(_line(file, result), markup=False)
            told["files"].append(_facts(file, result))
    sys.exit(1 if any(one["error"] for one in told["files"]) else 0)


app = single(predict, examples=EXAMPLES)


def _line(file: Path, result: Mapping[str, Any] | MediaError) -> str:
    """The verdict on a file for people."""
    if isinstance(result, Exception):
        return str(result)
    if result["score"] is None:
        return f"{file}: no face"
    verdict = f"{'fake' if result['fake'] else 'real'} {result['score']:.3f} (fake above {result['threshold']:.3f})"
    frames = counted(len({face["frame"] for face in result["faces"]}), "frame")
    return f"{file}: {verdict}; {_faces(result)}, {frames}; written {result['written']}"


def _facts(file: Path, result: Mapping[str, Any] | MediaError) -> dict[str, Any]:
    """The same for programs; each face of each frame is in the file's own JSON."""
    if isinstance(result, Exception):
        return {"file": str(file), "error": str(result)}
    return {**{name: value for name, value in result.items() if name != "faces"}, "error": None}


def _faces(result: Mapping[str, Any]) -> str:
    """How many faces there are, and of how many persons: where that is not sure, at most."""
    tracks, at_once, shots, persons = len(result["tracks"]), result["at_once"], result["shots"], result["persons"]
    if tracks == at_once:
        return counted(tracks, "face")
    over = f"{tracks} tracks" + (f" over {shots} shots" if shots > 1 else "")
    if persons == at_once:
        return f"{counted(persons, 'person')} in {over}"
    told = f"{counted(at_once, 'face')} at a time, {over}"
    if at_once == 1 and persons == tracks and shots > 1:
        return f"{told} (may be one person)"
    return f"{told}, {counted(persons, 'person')} at most" if persons < tracks else told
