"""A dataset that the user describes: a CSV or Parquet file with a row a clip.

Columns, of which ``path`` and ``label`` are needed:

===========  =========================================================================================
path         video, picture or folder of a video's numbered pictures, relative to ``--root``
label        0 or real, 1 or fake
original     path of the real that a fake was made of, a row of its own
method       name of the forgery method; default "fake"
forgery      identity_replaced (default), identity_remained, attribute_edit, entire_synthesis, audio (the sound alone)
audio_label  0 or real, 1 or fake: the clip's sound; empty where nothing is known
family       kind of program that forged, e.g. gan or diffusion; ``generator`` in older files
split        train, val or test; in all rows or in none. In none: sources are dealt out by ``ratios``
compression  name of the quality
identity     the people in it, separated by ``;``: nobody stands in two splits
mask         path of the provided mask, black and white; of a folder of pictures, a folder
spans        frames of a fake that is forged in parts: ``first count label`` with label 1 forged or 0 real, more of them
             separated by ``;``, e.g. ``0 10 0;10 35 1``; other frames are unknown and not used
===========  =========================================================================================

Where the rows are the pictures of a folder, and these the frames of a video, they are one clip (``frames=auto``).
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from forgeprep.datasets.base import Dataset, DatasetParams, Scan, ScanOptions
from forgeprep.datasets.frame_folders import STILL_TEXT, StillChoice, told_stills
from forgeprep.datasets.listing import VideoFile, check_root
from forgeprep.datasets.lists import refuse, text_lines
from forgeprep.datasets.manifest_frames import clip_file, join_rows
from forgeprep.datasets.scan import make_scan
from forgeprep.datasets.splits import Ratios, split_together
from forgeprep.datasets.taxonomy import FORGERIES
from forgeprep.errors import UsageError, unknown_name
from forgeprep.io.storage import is_plain, parquet_source
from forgeprep.media import guard
from forgeprep.media.pictures import is_picture
from forgeprep.schemas.clips import Clip
from forgeprep.schemas.renamed import SAMPLE_COLUMNS_RENAMED, current_name, current_row
from forgeprep.schemas.splits import SPLIT_NAMES
from forgeprep.text import counted

COLUMNS = (
    "path", "label", "original", "method", "forgery", "family", "split", "compression", "identity", "mask",
    "spans", "audio_label",
)  # fmt: skip
_LABELS = {"0": 0, "real": 0, "1": 1, "fake": 1}


class ManifestParams(DatasetParams):
    """Options of ``manifest``."""

    frames: StillChoice = Field(default="auto", description=STILL_TEXT)
    file: str = Field(default="manifest.csv", description="the CSV or Parquet file, relative to --root")
    ratios: Ratios = Field(default=(0.8, 0.1, 0.1), description="shares of the sources, where there is no column split")
    seed: int = Field(default=0, description="another seed deals the sources out otherwise")


def scan(root: Path, options: ScanOptions) -> Scan:
    """List the clips of the manifest; raises UsageError at a bad row."""
    check_root(root)
    params = options.params if isinstance(options.params, ManifestParams) else ManifestParams()
    file = root / params.file
    rows: dict[str, tuple[int, dict[str, str]]] = {}
    older: dict[str, str] = {}
    for line, stored in _rows(file):
        row = _by_names_of_today(file, stored, older)
        _check(file, line, row)
        if row["path"] in rows:
            refuse(file, line, f"{row['path']} stands there twice, first in line {rows[row['path']][0]}")
        rows[row["path"]] = line, row
    with_split = Counter(bool(row.get("split")) for _, row in rows.values())
    if len(with_split) > 1:
        line = next(line for line, row in rows.values() if not row.get("split"))
        refuse(file, line, f"has no split, {with_split[True]:,} others have one; give it in all rows or in none")
    for line, row in rows.values():
        _check_original(file, line, row, rows)
    stills: list[str] = []
    rows, files, absent = join_rows(root, file, rows, params.frames, stills)
    clips: list[Clip] = []
    for path, (_, row) in rows.items():
        found = files.get(path) or clip_file(root, path)
        if row.get("mask") and clip_file(root, row["mask"]) is None:
            absent.append(row["mask"])
            row["mask"] = ""
        if found is None:
            absent.append(path)
        else:
            clips.append(_clip(row, found))
            options.progress(len(clips))
    if not clips:
        what = f"lists {counted(len(rows), 'file')}, and none is there" if rows else "lists no file"
        refuse(file, None, f"{what}; paths are relative to --root")
    if not with_split[True]:
        clips = split_together(clips, params.ratios, params.seed, options.settled)
    renamed = [f"{params.file}: the column {old} is now {new}" for old, new in older.items()]
    return make_scan(MANIFEST, root, clips, options, absent=absent, warnings=[*renamed, *told_stills(stills)])


def _rows(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows with their line numbers; of a Parquet file, the number of the row."""
    try:
        if file.suffix.lower() == ".parquet":
            for number, row in enumerate(_table_rows(file), 1):
                yield number, {name: _text(value) for name, value in row.items()}
            return
        reader = csv.DictReader((line + "\n" for _, line in text_lines(file)), strict=True)
        if len(set(reader.fieldnames or [])) < len(reader.fieldnames or []):
            refuse(file, 1, "names a column twice")
        try:
            for row in reader:
                if None in row or None in row.values():
                    refuse(file, reader.line_num, f"must have {len(reader.fieldnames or [])} values, as the first line")
                yield reader.line_num, {name: value.strip() for name, value in row.items()}
        except csv.Error as error:
            refuse(file, reader.line_num, f"no CSV that can be read ({error})")
    except OSError as error:
        refuse(file, None, f"cannot be read ({error.strerror}); name it with --option file=NAME")
    except MemoryError:
        refuse(file, None, "claims more than it holds: reading it takes more than 2 GB")
    except pa.ArrowException as error:
        refuse(file, None, f"no Parquet file that can be read ({' '.join(str(error).split())[:120]})")


def _table_rows(file: Path) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file, a few thousand at a time, only the columns that are known."""
    with guard.memory(guard.MEMORY), pq.ParquetFile(parquet_source(file), pre_buffer=False) as table:
        for name in table.schema_arrow.names:
            if current_name(name) not in COLUMNS:
                refuse(file, 1, str(unknown_name("column", name, COLUMNS)))
        for batch in table.iter_batches(4096):
            yield from batch.to_pylist()


def _by_names_of_today(file: Path, row: dict[str, str], older: dict[str, str]) -> dict[str, str]:
    """The row, older names of columns replaced; these are noted in ``older``."""
    found = {name: SAMPLE_COLUMNS_RENAMED[name] for name in row if name in SAMPLE_COLUMNS_RENAMED}
    for old, new in found.items():
        if new in row:
            refuse(file, 1, f"'{old}' is the older name of the column '{new}'; give one of them")
    older |= found
    return current_row(row)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ";".join(" ".join(map(str, item)) if isinstance(item, list) else str(item) for item in value)
    return "" if value is None else str(value)


def _check(file: Path, line: int, row: dict[str, str]) -> None:
    for name in row:
        if name not in COLUMNS:
            refuse(file, 1, str(unknown_name("column", name, COLUMNS)))
    for name in ("path", "label"):
        if not row.get(name):
            refuse(file, line, f"has no {name}")
    for name, value in row.items():
        if not is_plain(value):
            refuse(file, line, f"{name} {value[:40]!a} holds control characters")
    if row["label"].lower() not in _LABELS:
        refuse(file, line, f"label must be 0, 1, real or fake, got '{row['label'][:40]}'")
    if row.get("split") and row["split"].lower() not in SPLIT_NAMES:
        refuse(file, line, f"split must be {', '.join(SPLIT_NAMES)}, got '{row['split'][:40]}'")
    if row.get("forgery") and (row["forgery"] == "real") != (_LABELS[row["label"].lower()] == 0):
        refuse(file, line, f"label {row['label']} and forgery '{row['forgery'][:40]}' contradict each other")
    if row.get("forgery") and row["forgery"] not in FORGERIES:
        refuse(file, line, str(unknown_name("forgery", row["forgery"][:40], FORGERIES)))
    heard = row.get("audio_label", "").lower()
    if heard and heard not in _LABELS:
        refuse(file, line, f"audio_label must be 0, 1, real, fake or empty, got '{heard[:40]}'")
    if row.get("forgery") == "audio" and heard and not _LABELS[heard]:
        refuse(file, line, "forgery audio and audio_label contradict each other")
    if str(PurePosixPath(row["path"])) != row["path"]:
        refuse(file, line, f"'{row['path'][:100]}' is written '{PurePosixPath(row['path'])}'")
    if _LABELS[row["label"].lower()] == 0 and row.get("method"):
        refuse(file, line, f"is a real and has the method '{row['method'][:40]}'; leave it empty")
    if "," in row.get("method", "") or row.get("method") == "real":
        refuse(file, line, f"'{row['method'][:40]}' is no name for a method: no commas, and not 'real'")
    for path in (row["path"], row.get("mask") or ""):
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            refuse(file, line, f"{path[:100]} leads out of --root")
    _check_spans(file, line, row)


def _check_spans(file: Path, line: int, row: dict[str, str]) -> None:
    if not row.get("spans"):
        return
    if _LABELS[row["label"].lower()] == 0:
        refuse(file, line, "is a real and has spans; leave them empty")
    end = 0
    for text in row["spans"].split(";"):
        parts = text.split()
        if len(parts) != 3 or not all(part.isdecimal() and len(part) < 10 for part in parts):
            refuse(file, line, f"a span must be 'first count label', three whole numbers, got '{text[:40]}'")
        start, count, label = map(int, parts)
        if label not in (0, 1) or count < 1 or start < end:
            refuse(file, line, f"the span '{text[:40]}' overlaps, is empty, or its label is not 0 or 1")
        end = start + count


def _check_original(file: Path, line: int, row: dict[str, str], rows: dict[str, tuple[int, dict[str, str]]]) -> None:
    original = row.get("original")
    if not original:
        return
    if _LABELS[row["label"].lower()] == 0:
        refuse(file, line, "is a real and has an original; leave it empty")
    if original in rows and _LABELS[rows[original][1]["label"].lower()] == 1:
        refuse(file, line, f"its original {original[:100]} is a fake itself (line {rows[original][0]})")


def _clip(row: dict[str, str], file: VideoFile) -> Clip:
    fake = _LABELS[row["label"].lower()] == 1
    source = row.get("original") or row["path"]
    forgery = row.get("forgery") or ("identity_replaced" if fake else "real")
    heard = row.get("audio_label", "").lower()
    return Clip(
        clip_id=_name(row["path"]),
        dataset="manifest",
        **{"frame_count": int(is_picture(PurePosixPath(row["path"]))), **file.facts},
        split=SPLIT_NAMES.get(row.get("split", "").lower(), "train"),
        source_id=_name(source),
        original_id=_name(row["original"]) if row.get("original") else None,
        label=int(fake),
        forgery=next(name for name in FORGERIES if name == forgery),
        method=(row.get("method") or "fake") if fake else None,
        family=row.get("family") or None,
        audio_label=1 if forgery == "audio" else _LABELS[heard] if heard else None,
        audio_only="yes" if forgery == "audio" else "no",
        audio_counts=forgery == "audio",
        compression=row.get("compression") or None,
        companions={"mask": row["mask"]} if row.get("mask") else {},
        identities=[person.strip() for person in row.get("identity", "").split(";") if person.strip()],
        spans=[[int(part) for part in text.split()] for text in row["spans"].split(";")] if row.get("spans") else None,
    )


def _name(path: str) -> str:
    return f"manifest/{PurePosixPath(path).with_suffix('')}"


def looks_like(root: Path) -> bool:
    """Whether there is a manifest under its usual name that has the columns ``path`` and ``label``."""
    try:
        _, head = next(text_lines(root / str(ManifestParams.model_fields["file"].default)))
    except (OSError, UsageError, StopIteration):
        return False
    return {"path", "label"} <= {name.strip() for name in head.split(",")}


MANIFEST = Dataset(
    name="manifest",
    title="manifest",
    url="",
    citation="",
    compressions=(),
    default_compressions=(),
    methods=(),
    layout=("manifest.csv or another file (--option file=NAME) with the columns " + ", ".join(COLUMNS),),
    published=(),
    scan=scan,
    looks_like=looks_like,
    params=ManifestParams,
    official_split=False,
)
