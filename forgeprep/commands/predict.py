"""``forgeprep predict``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from forgeprep.commands.flags import LOCAL, OUTPUT, Debug, Gpus, parse_local
from forgeprep.commands.groups import single
from forgeprep.text import counted

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
    debug: Debug = False,
) -> None:
    """Score the faces of pictures and videos.

    Draws what looks forged into copies of them.
    """
    from forgeprep.commands.terminal import console
    from forgeprep.commands.training import device_of, refuse_file, require_training
    from forgeprep.errors import MediaError

    require_training()
    from forgeprep.pipeline.make_shard import quiet_libraries
    from forgeprep.training.inference.predict import get_ready, predict_all

    to = to or run_folder / "predicted"
    refuse_file("--to", to)
    quiet_libraries()
    ready = get_ready(run_folder, {"enlarge": enlarge}, device=device_of(gpus))
    for note in ready.notes:
        console.print(note, markup=False)
    broken = 0
    sign = f"fake above {ready.loaded.threshold:.3f}"
    for file, result in predict_all(files, ready, to, every=every):
        if isinstance(result, MediaError):
            broken += 1
            console.print(f"{result}", markup=False)
        elif result["score"] is None:
            console.print(f"{file}: no face", markup=False)
        else:
            verdict = f"{'fake' if result['fake'] else 'real'} {result['score']:.3f} ({sign})"
            frames = counted(len({face["frame"] for face in result["faces"]}), "frame")
            console.print(f"{file}: {verdict}; {_faces(result)}, {frames}; written {result['written']}", markup=False)
    sys.exit(1 if broken else 0)


app = single(predict, examples=EXAMPLES)


def _faces(result: Mapping[str, Any]) -> str:
    """How many faces there are. Over several shots nobody knows which are one person's: no face is compared."""
    tracks, at_once, shots = len(result["tracks"]), result["at_once"], result["shots"]
    if tracks == at_once:
        return counted(tracks, "face")
    told = f"{counted(at_once, 'face')} at a time, {tracks} tracks"
    return f"{told} over {shots} shots (may be one person)" if at_once == 1 and shots > 1 else told
