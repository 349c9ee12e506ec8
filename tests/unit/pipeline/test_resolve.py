"""Where the root, the output and the settings of a run come from: real files, variables and folders."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from forgeprep.commands import where
from forgeprep.commands.flags import parse_path
from forgeprep.datasets import dataset_name, dataset_names, get_dataset
from forgeprep.datasets.base import ScanOptions
from forgeprep.datasets.find import MOST_FOLDERS, find_roots, scan_root
from forgeprep.errors import StorageError, UsageError
from forgeprep.io.storage import to_path
from forgeprep.io.user_settings import keep_root, read_roots, settings_path
from forgeprep.pipeline.precedence import Source, Taken, take
from forgeprep.pipeline.resolve import out_of, sources
from forgeprep.schemas.config import RENAMED

VERSIONS = ("celebdf-v1", "celebdf-v2")
FFPP = "original_sequences/youtube/c23/videos"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and a user without settings."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("FORGEPREP_FFPP_ROOT", raising=False)
    folder = tmp_path / "work" / "here"
    folder.mkdir(parents=True)
    return folder


def test_each_source_wins_over_the_next(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "run.yaml"
    config.write_text("root: /config\nframes: 2\n")
    (here.parent / "forgeprep.yaml").write_text("roots: {FF++: data, dfd: other}\nout: 'made/{dataset}'\nframes: 3\n")
    keep_root("ffpp", "/user")
    monkeypatch.setenv("FORGEPREP_FFPP_ROOT", "/variable")

    def root(flag: str | None = None, file: Path | None = None) -> tuple[str, str]:
        taken = take(sources("ffpp", {"root": flag}, here, config=file))
        return str(taken["root"].value), taken["root"].source.origin

    assert root("/flag", config) == ("/flag", "flag")
    assert root(None, config) == ("/config", f"--config {config}")
    assert root() == ("/variable", "FORGEPREP_FFPP_ROOT")
    # An empty variable is none.
    monkeypatch.setenv("FORGEPREP_FFPP_ROOT", "")
    project = here.parent / "forgeprep.yaml"
    assert root() == (str(here.parent / "data"), str(project))
    taken = take(sources("ffpp", {}, here, config=config))
    assert (taken["frames"].value, taken["out"].value) == (2, here.parent / "made/ffpp")
    (here / "forgeprep.yaml").write_text("")  # The nearest file alone is read.
    assert root() == ("/user", str(settings_path()))
    keep_root("ffpp", None)
    assert "root" not in take(sources("ffpp", {}, here))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("framse: 3", "unknown option 'framse': did you mean 'frames'?"),
        ("root: x", "unknown option 'root': did you mean 'roots'?"),
        ("roots: {ffp: x}", "unknown dataset 'ffp': did you mean 'ffpp'?"),
        ("roots: x", "roots must be a mapping"),
        ("roots: {ffpp: 3}", "must be the path of a folder (got 3)"),
        ("out: [a]", "out: must be the path of a folder (got ['a'])"),
        ("[1,", "not valid YAML"),
    ],
)
def test_a_wrong_project_file_is_named(here: Path, text: str, expected: str) -> None:
    file = here.parent / "forgeprep.yaml"
    file.write_text(text)
    with pytest.raises(UsageError, match=f"^{re.escape(str(file))}.*{re.escape(expected)}"):
        sources("ffpp", {}, here)


def test_a_config_file_may_have_roots_too(here: Path) -> None:
    file = here / "run.yaml"
    file.write_text("roots: {FF++: /a, dfd: /b}\n")
    for name, root in (("ffpp", "/a"), ("dfd", "/b"), ("dfdc", None)):
        taken = take(sources(name, {}, here, config=file)).get("root")
        assert (taken and taken.value) == root
    file.write_text("roots: {FF++: /a}\nroot: /c\n")
    assert take(sources("ffpp", {}, here, config=file))["root"].value == "/c"


def test_another_version_of_the_dataset_is_told(here: Path) -> None:
    root = here / "Celeb-DF-v2"
    for name in ("Celeb-real/id0_0000.mp4", "Celeb-synthesis/id0_id1_0000.mp4"):
        (root / name).parent.mkdir(parents=True)
        (root / name).touch()
    (root / "List_of_testing_videos.txt").write_text("1 Celeb-real/id0_0000.mp4\n")
    warnings = {name: scan_root(get_dataset(name), root, ScanOptions()).warnings for name in VERSIONS}
    told = f"{root} looks like celebdf-v2, and celebdf-v1 is asked for"
    assert [told in warnings[name] for name in VERSIONS] == [True, False]


def test_old_names_in_a_project_file_are_told(here: Path) -> None:
    (here / "forgeprep.yaml").write_text("clip_length: 8\n")
    told: list[tuple[str, str, Path]] = []
    taken = take(sources("ffpp", {}, here, renamed=lambda *names: told.append(names)))
    assert taken[RENAMED["clip_length"]].value == 8
    assert told == [("clip_length", "sequence_length", here / "forgeprep.yaml")]


def test_a_broken_file_at_home_stops_only_who_needs_it(here: Path) -> None:
    keep_root("dfd", "/dfd")
    file = settings_path()
    assert file is not None
    file.write_text(f"{file.read_text()}colour: blue\n")
    keep_root("ffpp", "/ffpp")
    assert read_roots() == {"dfd": "/dfd", "ffpp": "/ffpp"}
    assert "colour: blue" in file.read_text()
    file.write_text("roots: [ffpp]\n")
    assert take(sources("ffpp", {"root": "/flag"}, here))["root"].value == "/flag"
    with pytest.raises(UsageError, match=f"{file}: roots must be a mapping"):
        sources("ffpp", {}, here)


def test_a_home_that_is_missing_or_cannot_be_written(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/proc/1/forgeprep")
    assert read_roots() == {}
    with pytest.raises(StorageError, match=r"^/proc/1/forgeprep/forgeprep/settings.yaml: cannot be written \(.+\)"):
        keep_root("ffpp", "/a")
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    monkeypatch.setenv("HOME", str(here))
    assert settings_path() == here / ".config/forgeprep/settings.yaml"
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.getuid", lambda: 2**31 - 7)  # as in a container with a random user
    assert settings_path() is None
    assert read_roots() == {}
    with pytest.raises(StorageError, match="no home folder is known"):
        keep_root("ffpp", "/a")


def test_the_finder_looks_above_and_two_levels_below_and_lists_what_it_finds(here: Path) -> None:
    ffpp = get_dataset("ffpp")
    deep = here / "data/FaceForensics++"
    (deep / FFPP).mkdir(parents=True)
    assert find_roots(ffpp, here) == [deep]
    assert find_roots(ffpp, deep / FFPP) == [deep]
    assert find_roots(ffpp, here.parent) == []
    (here / "link").symlink_to(deep)  # another name of the same folder
    assert len(find_roots(ffpp, here)) == 1
    (here / "copy" / FFPP).mkdir(parents=True)
    found = find_roots(ffpp, here)
    assert {path.resolve() for path in found} == {deep, here / "copy"}
    with pytest.raises(UsageError, match=r"2 folders look like FaceForensics\+\+: .*copy.*; choose one: forgeprep run"):
        where.root_of({}, "ffpp", here, ["forgeprep", "run", "ffpp"])


def test_a_folder_with_very_many_pictures_is_not_searched(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forgeprep.datasets.find.MOST_ENTRIES", 5)
    (here / "FaceForensics++" / FFPP).mkdir(parents=True)
    for number in range(5):
        (here / "FaceForensics++" / f"{number}.png").touch()
    assert find_roots(get_dataset("ffpp"), here) == []
    (here / "FaceForensics++" / "0.png").unlink()
    assert find_roots(get_dataset("ffpp"), here) == [here / "FaceForensics++"]


def test_a_folder_of_very_many_is_not_searched_forever(here: Path) -> None:
    for number in range(MOST_FOLDERS + 20):
        (here / f"{number:05}").mkdir()
    (here / f"{MOST_FOLDERS + 19:05}" / FFPP).mkdir(parents=True)
    assert find_roots(get_dataset("ffpp"), here) == []


def test_nothing_found_says_where_it_looked_and_what_to_type(here: Path) -> None:
    words = ["forgeprep", "run", "celeb-df", "--stages", "crop,mask"]
    with pytest.raises(UsageError) as caught:
        where.root_of({}, "celebdf-v2", here, words)
    told = str(caught.value)
    for part in (str(here), "FORGEPREP_CELEBDF_V2_ROOT", "forgeprep.yaml", str(settings_path())):
        assert part in told
    assert "forgeprep run celeb-df --stages crop,mask --root DIR; " in told
    assert told.endswith("forgeprep demo Celeb-DF-v2 --layout celebdf-v2")


def test_the_output_lies_neither_in_the_root_nor_in_another_run(here: Path) -> None:
    root = here / "FaceForensics++"
    root.mkdir()

    def out(at: Path, given: str | None = None) -> Path:
        taken = None if given is None else Taken(given, Source("flag", {}))
        return Path(out_of("shards", "ffpp", taken, at, root).value)

    assert out(here) == here / "shards/ffpp"
    assert out(root) == here / "shards/ffpp"
    assert out(here, "/some/../place") == Path("/place")
    (here / "shards").mkdir()
    (here / "shards/run.json").write_text("{}")
    with pytest.raises(UsageError, match=r"lies inside another run, .*/here/shards; give a folder outside"):
        out(here)
    (here / "shards/ffpp").mkdir()
    (here / "shards/ffpp/run.json").write_text("{}")  # One that is there already goes on.
    assert out(here) == here / "shards/ffpp"


def test_what_people_call_datasets() -> None:
    called = {"FaceForensics++": "ffpp", "FF++": "ffpp", "faceforensics": "ffpp", "celeb-df": "celebdf-v2"}
    called |= {"Celeb-DF-v1": "celebdf-v1", "Celeb-DF (v2)": "Celeb-DF (v2)", "DFDC_preview": "dfdc-preview"}
    assert {text: dataset_name(text) for text in called} == called
    assert all(dataset_name(name) == name for name in dataset_names())
    assert get_dataset("FF++").name == "ffpp"


def test_paths_as_people_write_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    written = {
        "~/a": tmp_path / "a",
        "file:///a/b%20c": Path("/a/b c"),
        "FILE://localhost/a?b#c": Path("/a?b#c"),
        "./~": Path("~"),
        "a:b": Path("a:b"),
    }
    assert {text: to_path(text) for text in written} == written
    assert str(to_path("S3://Bucket/Key")) == "s3://Bucket/Key"
    for wrong in ("~nobody-of-this-name/a", "file://elsewhere/a", "s3://bucket/../a"):
        with pytest.raises(UsageError, match=re.escape(wrong)):
            to_path(wrong)
    with pytest.raises(UsageError, match="control characters"):
        parse_path("file:///a%0Ab")
