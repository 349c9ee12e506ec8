"""A manifest whose rows are the frames of videos: the rows of one folder become one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from forgeprep.datasets.frame_folders import StillChoice, candidates, clip_folders, joined, sequence_of
from forgeprep.datasets.listing import VideoFile, safe_file
from forgeprep.datasets.lists import refuse

Row = dict[str, str]
Rows = dict[str, tuple[int, Row]]
"""Path -> line number and row."""

_ALIKE = ("label", "method", "forgery", "family", "split", "compression", "identity", "spans", "audio_label")
_BESIDE = ("original", "mask")


def join_rows(
    root: Path, file: Path, rows: Rows, choice: StillChoice, stills: list[str]
) -> tuple[Rows, dict[str, VideoFile], list[str]]:
    """The rows, those of a video's pictures as one row of their folder.

    Returns:
        The rows; the clips that came of several rows, by path; and the pictures that such rows name in vain. What could
        be a clip and is none is added to ``stills``.

    Raises:
        UsageError: folders are asked for, and the rows of one say different things.
    """
    sizes = {path: safe_file(root, path) for path in rows}
    found = {folder: paths for folder, paths in candidates(rows).items() if folder not in rows}
    there = {folder: [path for path in paths if sizes[path] is not None] for folder, paths in found.items()}
    taken = clip_folders(root, choice, stills, {folder: paths for folder, paths in there.items() if paths})
    for folder in sorted(taken):
        line, column = _differs(rows, found[folder], taken)
        if column and choice == "folders":
            first = rows[found[folder][0]][0]
            refuse(file, line, f"is of one folder with line {first}, {folder}, and its {column} is another")
        if column:
            taken.discard(folder)
            stills.append(folder)
    clips = {f: joined(f, f, {path: sizes[path] or 0 for path in there[f]}) for f in taken}
    absent = [path for folder in taken for path in found[folder] if sizes[path] is None]
    home = {path: folder for folder in taken for path in found[folder]}
    new: Rows = {}
    for path, (line, row) in rows.items():
        folder = home.get(path, path)
        if folder not in new:
            beside = {name: _place(row, name, taken, whole=path in home) for name in _BESIDE if row.get(name)}
            new[folder] = line, {**row, "path": folder, **beside}
    return new, clips, absent


def clip_file(root: Path, path: str) -> VideoFile | None:
    """The file or folder of pictures that a row names; None if there is none."""
    size = safe_file(root, path)
    if size is not None:
        return VideoFile(path, path, size)
    inside = not Path(path).is_absolute() and ".." not in Path(path).parts
    return sequence_of(root, path) if inside and (root / path).is_dir() else None


def _differs(rows: Rows, paths: Sequence[str], taken: set[str]) -> tuple[int, str | None]:
    """The first row that says something else than the first one of its folder: its line, and in which column."""
    first = _says(rows[paths[0]][1], taken)
    for path in paths[1:]:
        line, row = rows[path]
        other = _says(row, taken)
        column = next((name for name in first if first[name] != other[name]), None)
        if column:
            return line, column
    return 0, None


def _says(row: Mapping[str, str], taken: set[str]) -> dict[str, str]:
    plain = {name: row.get(name, "") for name in _ALIKE}
    return plain | {name: _place(row, name, taken, whole=True) for name in _BESIDE}


def _place(row: Mapping[str, str], name: str, taken: set[str], *, whole: bool) -> str:
    """What a row has beside its clip: of a picture, the folder of its original's frame or of its mask."""
    value = row.get(name, "")
    folder = value.rpartition("/")[0]
    return folder if folder in taken or (whole and name == "mask" and folder) else value
