"""Which label is learnt: that of the samples, or what is seen or heard alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from forgeprep.shards.sequences import MARK

Target = Literal["label", "visual_label", "audio_label"]
AUDIO = "audio"
"""Method and forgery of a sample that is a fake by its sound, where the shards call it a real."""


def table_by_target(table: pa.Table, target: Target) -> pa.Table:
    """The table with ``target`` as ``label``; samples of which it is not known are left out.

    Args:
        table: the columns ``label``, ``forgery``, ``family``, ``method`` and ``target``; of sequences, ``target`` is a
            list with an entry a frame, and one forged frame makes a fake.
        target: a column.
    """
    if target == "label":
        return table
    told = table[target]
    if pa.types.is_list(told.type):
        values = [None if row is None or None in row else max(row) for row in told.to_pylist()]
        told = pa.chunked_array([pa.array(values, pa.int8())])
    known = pc.is_valid(told)
    table, told = table.filter(known), told.filter(known)
    fake = pc.equal(told.cast(pa.int8()), 1)
    texts = {name: table[name].cast(pa.string()) for name in ("forgery", "family", "method")}
    was_fake, none = pc.not_equal(texts["forgery"], "real"), pa.scalar(None, pa.string())
    columns = {
        "label": told.cast(pa.int8()),
        "forgery": pc.if_else(fake, pc.if_else(was_fake, texts["forgery"], AUDIO), "real"),
        "family": pc.if_else(fake, texts["family"], none),
        "method": pc.if_else(fake, pc.coalesce(texts["method"], AUDIO), none),
    }
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), name, values)
    return table


def row_by_target(row: Mapping[str, Any], target: Target) -> dict[str, Any]:
    """The same of one sample."""
    if target == "label":
        return dict(row)
    told = row[target]
    label = max(told) if isinstance(told, list) else told
    kinds: dict[str, Any] = {"forgery": "real", "family": None, "method": None}
    if label:
        was_fake = row.get("forgery") != "real"
        kinds = {"forgery": row.get("forgery") if was_fake else AUDIO, "family": row.get("family"),
                 "method": row.get("method") or AUDIO}  # fmt: skip
    frames = {MARK: told} if isinstance(told, list) else {}
    return {**row, "label": label, **kinds, **frames}
