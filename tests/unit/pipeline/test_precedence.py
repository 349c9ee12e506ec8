"""Which source a setting is taken from, and where a run goes if nobody says."""

from __future__ import annotations

from pathlib import PurePosixPath

from hypothesis import given
from hypothesis import strategies as st

from forgeprep.pipeline.precedence import Source, default_out, root_variable, take

NAMES = st.sampled_from(["root", "out", "frames", "size"])
VALUES = st.dictionaries(NAMES, st.none() | st.integers())
PARTS = st.lists(st.sampled_from(["a", "b", "shards", "ffpp", "shards-shards"]), max_size=4)


@given(st.lists(VALUES, max_size=6))
def test_the_first_that_gives_a_value_wins(layers: list[dict[str, int | None]]) -> None:
    sources = [Source(str(number), values) for number, values in enumerate(layers)]
    taken = take(sources)
    assert set(taken) == {name for values in layers for name, value in values.items() if value is not None}
    for name, one in taken.items():
        before = layers[: int(one.source.origin)]
        assert all(values.get(name) is None for values in before)
        assert one.value == layers[int(one.source.origin)][name]


@given(st.lists(VALUES, max_size=4), st.integers(0, 4), VALUES)
def test_a_source_changes_only_what_none_before_it_gives(
    layers: list[dict[str, int | None]], at: int, more: dict[str, int | None]
) -> None:
    sources = [Source(str(number), values) for number, values in enumerate(layers)]
    before = take(sources[:at])
    after = take([*sources[:at], Source("more", more), *sources[at:]])
    assert {name: after[name] for name in before} == before


@given(PARTS, PARTS.filter(bool))
def test_the_default_is_here_and_never_inside_the_root(here_parts: list[str], root_parts: list[str]) -> None:
    here, root = PurePosixPath("/", *here_parts), PurePosixPath("/", *root_parts)
    out = default_out("shards", "ffpp", here, root)
    assert out.is_absolute()
    assert out.name == "ffpp"
    assert not out.is_relative_to(root)
    usual = here / "shards/ffpp"
    assert out == usual or usual.is_relative_to(root)
    assert default_out("shards", "ffpp", here, None) == usual


@given(st.text("aZ9-_.+ äß€", max_size=12))
def test_a_variables_name_is_one_that_a_shell_takes(dataset: str) -> None:
    name = root_variable(dataset)
    assert name.isascii()
    assert name.replace("_", "").isalnum()
    assert name == name.upper()
