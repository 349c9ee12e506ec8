"""``croissant.json`` of a run's folder: what lies there, for programs, in MLCommons' Croissant format 1.0.

The format: https://docs.mlcommons.org/croissant/docs/croissant-spec.html. It has no path of this machine, and the date
is that of the plan, so that a run that was stopped gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from forgeprep.schemas.columns import Column
from forgeprep.schemas.config import RunConfig
from forgeprep.shards.formats import FORMATS

_TERMS = (
    "citeAs", "column", "dataBiases", "dataCollection", "equivalentProperty", "extract", "field", "fileProperty",
    "fileObject", "fileSet", "format", "includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path",
    "personalSensitiveInformation", "recordSet", "references", "regex", "repeated", "replace", "samplingRate",
    "separator", "source", "subField", "transform",
)  # fmt: skip
"""The words that the specification asks a document to map to its own vocabulary."""


def croissant(
    config: RunConfig, columns: Sequence[Column], tables: Mapping[str, bytes], facts: Mapping[str, str]
) -> str:
    """The document, as JSON.

    Args:
        config: the run's configuration.
        columns: the columns of its shards.
        tables: the run's tables, path in its folder to Parquet bytes; their checksums stand here, those of the shards
            in ``meta/shards.pq``.
        facts: further properties of the dataset, by their names in schema.org: ``license``, ``version`` and so on.
    """
    names = {path: PurePosixPath(path).stem for path in tables}
    files: list[dict[str, Any]] = [
        {
            "@type": "cr:FileObject", "@id": path, "name": names[path], "contentUrl": path,
            "contentSize": f"{len(data)} B", "encodingFormat": "application/x-parquet",
            "sha256": hashlib.sha256(data).hexdigest(),
        }
        for path, data in tables.items()
    ]  # fmt: skip
    for kind in config.formats:
        shard_format = FORMATS.get(kind)
        files.append(
            {
                "@type": "cr:FileSet", "@id": f"{kind}-shards", "name": f"{kind}-shards",
                "encodingFormat": shard_format.mime, "includes": f"shards/*/*.{shard_format.suffix}",
            }
        )  # fmt: skip
    records = [_records(names[path], path, _of_schema(data)) for path, data in tables.items()]
    if "parquet" in config.formats:
        # Bytes that are no picture, as the packed grid of similarity, have no type in Croissant 1.0.
        shown = [(c.name, c.type, c.doc) for c in columns if not c.is_binary]
        records.insert(0, {**_records("samples", "parquet-shards", shown), "key": {"@id": "samples/sample_id"}})
    document = {
        "@context": _context(),
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": f"{config.dataset}-forgeprep",
        "description": f"{config.dataset}, prepared by forgeprep; stages: {', '.join(config.stages)}. The source "
        "data's licence applies to these crops.",
        **facts,
        "keywords": ["face-forgery", config.dataset],
        "distribution": files,
        "recordSet": records,
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _context() -> dict[str, Any]:
    own = {term: f"cr:{term}" for term in _TERMS}
    return {
        "@language": "en", "@vocab": "https://schema.org/", "sc": "https://schema.org/",
        "cr": "http://mlcommons.org/croissant/", "dct": "http://purl.org/dc/terms/", "conformsTo": "dct:conformsTo",
        "rai": "http://mlcommons.org/croissant/RAI/",
        "data": {"@id": "cr:data", "@type": "@json"}, "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
        "examples": {"@id": "cr:examples", "@type": "@json"}, **own,
    }  # fmt: skip


def _of_schema(table: bytes) -> list[tuple[str, pa.DataType, str]]:
    return [(field.name, field.type, "") for field in pq.read_schema(pa.BufferReader(table))]


def _records(name: str, file: str, columns: Sequence[tuple[str, pa.DataType, str]]) -> dict[str, Any]:
    """A record set whose fields are the columns of a file, or of all files of a set."""
    kind = "fileSet" if file.endswith("-shards") else "fileObject"
    fields = [_field(name, {kind: {"@id": file}}, *column) for column in columns]
    return {"@type": "cr:RecordSet", "@id": name, "name": name, "field": fields}


def _field(records: str, source: dict[str, Any], column: str, kind: pa.DataType, doc: str) -> dict[str, Any]:
    field: dict[str, Any] = {"@type": "cr:Field", "@id": f"{records}/{column}", "name": column}
    if doc:
        field["description"] = doc
    found = {**source, "extract": {"column": column}}
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        field["repeated"] = True
        kind = kind.value_type
    if pa.types.is_struct(kind):
        found["transform"] = {"jsonPath": "bytes"}
    return {**field, "dataType": _type(kind), "source": found}


def _type(kind: pa.DataType) -> str:
    if pa.types.is_struct(kind):
        return "sc:ImageObject"
    if pa.types.is_boolean(kind):
        return "sc:Boolean"
    if pa.types.is_integer(kind):
        return "sc:Integer"
    if pa.types.is_floating(kind):
        return "sc:Float"
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        return _type(kind.value_type)
    return "sc:Text"
