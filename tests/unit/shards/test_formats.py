"""What each shard format has to do, and how formats are found."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from forgeprep.errors import UsageError, VerifyError
from forgeprep.schemas.columns import Column, sequence_column
from forgeprep.schemas.samples import sequence_columns
from forgeprep.shards.encode import UInt8, decode_image, encode_row
from forgeprep.shards.formats import FORMATS, format_of, resolve_formats
from forgeprep.shards.formats.base import ShardFormat
from forgeprep.shards.random_access import index_shard, iter_values, read_at
from forgeprep.shards.read import find_rows, iter_rows
from forgeprep.shards.sequences import join_frames, split_frames
from forgeprep.shards.write import ShardWriter
from tests.helpers.shards_run import columns, make_row, shard_rows

CODE = Column("code", "mine", pa.binary(), "bytes of the stage 'mine'", nullable=True, suffix="vec")
KIND = Column("kind", "mine", pa.string(), "one for all frames", in_sequence="once")


def write(out: Path, photo: UInt8, *, sequences: bool, **metadata: str) -> list[Path]:
    """A shard in each built-in format, with a binary column that is null in every third sample."""
    added = [*columns(), CODE, KIND]
    more = {"code": None, "kind": "a"}
    rows = [encode_row(row | more, added, "png", 95) for row in shard_rows(photo, "train", [0], 32)]
    for number, row in enumerate(rows):
        row["code"] = None if number % 3 == 2 else bytes([number, 0, 255, 10])
    if sequences:
        once = {column.name for column in added if column.in_sequence != "each"}
        rows = [join_frames(rows[at : at + 3], 3, once) for at in range(0, len(rows), 3)]
        added = list(sequence_columns(added))
    with ShardWriter(out, "train/ffpp-train-00000", added, FORMATS.names(), {"forgeprep": "k", **metadata}) as writer:
        for row in rows:
            writer.add(row)
        files = writer.commit()
    return [out / file.path for file in files]


@pytest.mark.parametrize("absent", ["null", "placeholder"])
@pytest.mark.parametrize("sequences", [False, True])
def test_every_format_gives_back_the_same_rows_in_every_way(
    tmp_path: Path, face_photo: UInt8, sequences: bool, absent: str
) -> None:
    paths = write(tmp_path, face_photo, sequences=sequences, absent=absent)
    expected = list(iter_rows(paths[0], decode=False))
    values = ["sample_id", "code", "similarity", "kind"]
    for path in paths:
        assert list(iter_rows(path, decode=False)) == expected
        assert [row for _, row in iter_values(path, values)] == [{n: row[n] for n in values} for row in expected]
        assert [read_at(place) for _, place in index_shard(path)] == expected
        assert [read_at(place, ("code",)) for _, place in index_shard(path)] == [{"code": r["code"]} for r in expected]
        found = find_rows(path, [expected[1]["sample_id"], "no such"])
        assert list(found) == [expected[1]["sample_id"]]
        plain = format_of(path)
        slow = ShardFormat(plain.name, plain.suffix, plain.mime, plain.writer, plain.rows)
        assert [row for _, row in slow.read_values(path, values)] == [{n: row[n] for n in values} for row in expected]
        assert [slow.read_at(path, (number, 0), None) for number in range(len(expected))] == expected
        assert slow.read_schema(path) == dict.fromkeys(next(plain.rows(path, None)))
    codes = [row["code"] for row in expected]
    if sequences:
        assert codes[0] == [b"\x00\x00\xff\n", b"\x01\x00\xff\n", None]
        frames = split_frames(expected[0])
        assert [frame["code"] for frame in frames] == codes[0]
        assert {frame["kind"] for frame in frames} == {"a"}
    else:
        assert codes[:3] == [b"\x00\x00\xff\n", b"\x01\x00\xff\n", None]


@pytest.mark.parametrize("sequences", [False, True])
def test_with_placeholders_every_sample_has_the_same_files_and_types(
    tmp_path: Path, face_photo: UInt8, sequences: bool
) -> None:
    path = write(tmp_path, face_photo, sequences=sequences, absent="placeholder")[1]
    found: dict[str, dict[str, Any]] = {}
    with tarfile.open(path) as tar:
        for member in tar:
            key, _, ending = member.name.partition(".")
            content = tar.extractfile(member)
            assert content is not None
            data = content.read()
            if ending.endswith("png"):
                assert decode_image(data).shape[:2] == (32, 32)
            found.setdefault(key, {})[ending] = json.loads(data) if ending == "json" else "bytes"
    first, *others = found.values()
    assert "mask_provided" in first["json"]["_absent"]
    assert len(others) == (2 if sequences else 8)
    for other in others:
        assert _shape(other) == _shape(first)


def _shape(value: Any) -> Any:
    """The types in a value; of a list those of its items."""
    if isinstance(value, dict):
        return {name: _shape(inner) for name, inner in value.items()}
    return {str(_shape(item)) for item in value} if isinstance(value, list) else type(value).__name__


def test_a_tar_is_what_readers_that_index_it_expect(tmp_path: Path, face_photo: UInt8) -> None:
    """Header by header as MMIndexedTar of wids and wds2idx of DALI go: names of 100 bytes, no prefix, no other kind."""
    clips = ["folder/real/" + "x" * 180, "folder/real/Интервью " + "и" * 60, "f/" + "y" * 200 + "/a.b", "f/short"]
    rows = []
    for clip_id in clips:
        row = make_row(face_photo, "val", 0, None, 12, 32)
        rows.append(encode_row({**row, "clip_id": clip_id, "sample_id": f"{clip_id}/0/000012"}, columns(), "png", 95))
    with ShardWriter(tmp_path, "val/x-val-00000", columns(), ("webdataset",), {"forgeprep": "k"}) as writer:
        for row in rows:
            writer.add(row)
        (file,) = writer.commit()
    data, at, found = (tmp_path / file.path).read_bytes(), 0, dict[str, bytes]()
    while data[at : at + 512].strip(b"\0"):
        header = data[at : at + 512]
        size = int(header[124:135], 8)
        assert (header[156:157], header[257:265], header[345:500].strip(b"\0")) == (b"0", b"ustar\x0000", b"")
        found[header[:100].rstrip(b"\0").decode()] = data[at + 512 : at + 512 + size]
        at += 512 + -(-size // 512) * 512
    told = {json.loads(content)["sample_id"]: name for name, content in found.items() if name.endswith(".json")}
    assert list(told) == [row["sample_id"] for row in rows]
    for row in rows:
        assert found[told[row["sample_id"]].removesuffix("json") + "png"] == row["image"]["bytes"]
    assert told["f/short/0/000012"] == "f/short/0/000012.json"
    assert [row["sample_id"] for row in iter_rows(tmp_path / file.path)] == list(told)
    assert format_of(tmp_path / file.path).metadata(tmp_path / file.path)["forgeprep"] == "k"


def test_bytes_are_files_of_their_own_in_a_tar(tmp_path: Path, face_photo: UInt8) -> None:
    path = next(path for path in write(tmp_path, face_photo, sequences=False) if path.suffix == ".tar")
    with tarfile.open(path) as tar:
        names = [name for name in tar.getnames() if name.endswith(".code.vec")]
        content = tar.extractfile(names[1])
        assert content is not None
        assert content.read() == b"\x01\x00\xff\n"
    assert len(names) == 6


def test_a_file_of_a_tar_cannot_replace_what_the_json_says(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as tar:
        for name, data in (("a.sample_id.bin", b"other"), ("a.json", b'{"sample_id": "a"}')):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    with pytest.raises(VerifyError, match="sample_id stands in the JSON and in a file of its own"):
        list(iter_rows(path))


def test_a_column_of_a_sequence_is_a_list_unless_it_stands_once() -> None:
    assert sequence_column(CODE).type == pa.list_(pa.binary())
    assert sequence_column(CODE).is_binary
    assert sequence_column(KIND) == KIND


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("parquet", ("parquet",)),
        ("both", ("parquet", "webdataset")),
        ("webdataset,parquet", ("parquet", "webdataset")),
        (" webdataset , webdataset", ("webdataset",)),
    ],
)
def test_formats_are_named_in_a_list(text: str, names: tuple[str, ...]) -> None:
    assert resolve_formats(text) == names


@pytest.mark.parametrize(
    ("text", "problem"), [("parket", "did you mean 'parquet'"), ("", "give at least one of parquet, webdataset")]
)
def test_formats_that_there_are_not_are_refused(text: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        resolve_formats(text)


def test_a_shard_of_no_known_format_is_refused() -> None:
    with pytest.raises(UsageError, match=r"no shard format that is installed here ends in .zip"):
        next(iter_rows(Path("shards/train/ffpp-train-00000.zip")))
