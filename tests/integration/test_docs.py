"""The site builds without warnings, and what its pages tell to type works."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import LaidOut, run_cli

HERE = Path(__file__).resolve().parents[2]
DOCS = HERE / "docs"
FENCE = re.compile(r"^```(bash|python)\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
PAGES = sorted(
    page
    for page in [HERE / "README.md", *DOCS.rglob("*.md")]
    if not {"reference", "_build"} & set(page.relative_to(HERE).parts) and FENCE.search(page.read_text("utf-8"))
)
SMALLER = {
    "run": ["--workers", "0", "--frames", "8"],
    "splice": ["--workers", "0"],
    "export": ["--workers", "0"],
    "train": ["--set", "epochs=1", "--set", "steps=8", "--set", "batch=2", "--set", "workers=0", "--set", "size=64"],
    "train bmn": ["--model-option", "scale=16"],
    "evaluate": ["--workers", "0"],
    "evaluate --protocol": ["--set", "steps=4", "--set", "size=64"],
    "demo": ["--people", "6", "--seconds", "0.5"],
}
"""What is added to commands, so that a page runs in seconds; options that a page gives itself stay as they are."""


@pytest.fixture(scope="session")
def place(demo: Path, laid_out: LaidOut, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the pages take for granted: two datasets, a folder of one's own, a video and photographs."""
    folder = tmp_path_factory.mktemp("pages") / "place"
    folder.mkdir()
    for part in ("original_sequences", *(f"manipulated_sequences/{method}" for method in ("Deepfakes", "FaceSwap"))):
        (folder / "FaceForensics++" / part).parent.mkdir(parents=True, exist_ok=True)
        (folder / "FaceForensics++" / part).symlink_to(demo / part)
    (folder / "Celeb-DF-v2").symlink_to(laid_out("celebdf-v2"))
    videos = sorted((demo / "original_sequences/youtube/c23/videos").glob("*.mp4"))
    fakes = sorted((demo / "manipulated_sequences/Deepfakes/c23/videos").glob("*.mp4"))
    for real, fake in zip(videos[:3], ("071", "072", "073"), strict=True):
        copy(real, folder / f"mine/real/{fake}.mp4")
        match = next(path for path in fakes if path.name.startswith(real.stem))
        copy(match, folder / f"mine/fake/swap/{fake}_054.mp4")
    copy(fakes[0], folder / "video.mp4")
    copy(DOCS / "contact_sheet.png", folder / "photos/sheet.png")
    rows = [f"real/{n}.mp4,0,,train" for n in ("071", "072", "073")]
    rows += [f"fake/swap/{n}_054.mp4,1,real/{n}.mp4,train" for n in ("071", "072", "073")]
    (folder / "mine/manifest.csv").write_text("\n".join(["path,label,original,split", *rows]) + "\n")
    return folder


def copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def commands(block: str) -> list[list[str]]:
    lines = re.sub(r"\\\n\s*", " ", block).splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.strip()]


def smaller(arguments: list[str]) -> list[str]:
    """The command with what makes it quick; its own options come last, so that they win."""
    extra = SMALLER.get(arguments[0], []) + SMALLER.get(" ".join(arguments[:2]), [])
    kept = [
        part
        for at in range(0, len(extra), 2)
        for part in extra[at : at + 2]
        if extra[at] not in arguments or extra[at] in ("--set", "--model-option")
        # One setting by a flag and by --set is refused.
        if extra[at] != "--set" or "--" + extra[at + 1].partition("=")[0] not in arguments
    ]
    if "--address" in arguments or "--dry-run" in arguments:
        kept = []
    return [arguments[0], *kept, *arguments[1:]]


def beginnings(page: Path) -> list[tuple[str, ...]]:
    """The commands of a page: the first one, the first two, and so on."""
    blocks = [block for language, block in FENCE.findall(page.read_text(encoding="utf-8")) if language == "bash"]
    lines = [shlex.join(words) for block in blocks for words in commands(block)]
    return [tuple(lines[:count]) for count in range(1, len(lines) + 1)]


SHARED = {begin for begin, pages in Counter(begin for page in PAGES for begin in beginnings(page)).items() if pages > 1}
"""What several pages begin with: it is done once, and each of them goes on from there."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(HERE)))
def test_a_page_can_be_followed(page: Path, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # All pages are followed in one folder: its name stands in what they make, and processes that read media stay in it.
    work, kept = place.parent / "work", place.parent / "kept"
    work.mkdir(exist_ok=True)
    for part in work.iterdir():
        shutil.rmtree(part) if part.is_dir() and not part.is_symlink() else part.unlink()
    there = {begin: kept / str(abs(hash(begin))) for begin in beginnings(page) if begin in SHARED}
    done = max((begin for begin, folder in there.items() if folder.exists()), key=len, default=())
    if done:
        shutil.copytree(there[done], work, symlinks=True, dirs_exist_ok=True)
    else:
        for part in place.iterdir():
            (work / part.name).symlink_to(part)
    monkeypatch.chdir(work)
    for begin in beginnings(page)[len(done) :]:
        words = shlex.split(begin[-1])
        assert words[0] == "forgeprep", f"a block of bash with another program: {words}"
        with contextlib.redirect_stdout(io.StringIO()) as said:
            code = run_cli(*smaller(words[1:]))
        assert code == 0, f"{begin[-1]}: exit code {code}\n{said.getvalue()[-2000:]}"
        if begin in there:
            shutil.copytree(work, there[begin], symlinks=True)
    python = [block for language, block in FENCE.findall(page.read_text(encoding="utf-8")) if language == "python"]
    if python:
        environment = {**os.environ, "PYTHONPATH": str(HERE), "HF_HOME": str(tmp_path), "HF_DATASETS_OFFLINE": "1"}
        told = subprocess.run(
            [sys.executable, "-c", "\n".join(python)], capture_output=True, text=True, check=False, env=environment
        )
        assert told.returncode == 0, told.stderr


def test_commands_that_no_test_runs_have_options_that_exist() -> None:
    """Those of ``sh``, which need a dataset, a cluster, a GPU or the network, and the examples in every ``--help``."""
    import click
    import typer.main

    from forgeprep.cli import app

    def examples(group: Any) -> Iterator[str]:
        for name in group.list_commands(click.Context(group)):
            command = group.get_command(click.Context(group), name)
            if hasattr(command, "list_commands"):
                yield from examples(command)
            else:
                assert command.epilog, name
                yield command.epilog

    pages = [HERE / "README.md", *(page for page in DOCS.rglob("*.md") if "reference" not in page.parts)]
    blocks = [
        block
        for page in pages
        for block in re.findall(r"^```sh\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    ]
    blocks += examples(typer.main.get_command(app))
    lines = [words for block in blocks for words in commands(block) if words[0] == "forgeprep"]
    assert len(lines) > 80
    for _, *words in lines:
        if ">" in words:
            del words[words.index(">") :]
        command = typer.main.get_command(app)
        while hasattr(command, "get_command"):
            command = command.get_command(None, words.pop(0))
            assert command is not None, words
        command.make_context("forgeprep", words)


@pytest.mark.long
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-d", str(tmp_path / "trees")]
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    done = subprocess.run(
        [*command, str(DOCS), str(tmp_path / "html")], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr[-3000:]
    pages = {path.stem for path in (tmp_path / "html" / "reference").glob("*.html")}
    assert pages == {"cli", "columns", "datasets", "drops", "index", "models", "perturbations", "python"}
    # Whoever changes an example can look up all that it imports.
    python = (tmp_path / "html/reference/python.html").read_text(encoding="utf-8")
    sources = [path.read_text(encoding="utf-8") for path in (HERE / "examples/extend").rglob("*.py")]
    used = {name for source in sources for name in re.findall(r"^from (forgeprep\.\S+)", source, flags=re.MULTILINE)}
    assert [name for name in sorted(used) if f'id="module-{name}"' not in python] == []


def test_the_readme_is_short() -> None:
    assert len((HERE / "README.md").read_text(encoding="utf-8").splitlines()) <= 150
