"""Score files as forgeprep and other people write them, and what is said of what does not fit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forgeprep.errors import ForgeprepError, UsageError, VerifyError
from forgeprep.training.evaluation.details import entries
from forgeprep.training.evaluation.document import evaluation_parts, markdown
from forgeprep.training.evaluation.match import Matched, Names, match, plain_path
from forgeprep.training.evaluation.score import (
    Rules,
    Scorer,
    _below_chance,
    comparisons,
    evaluation_of,
    same_frames,
    thresholds_of_val,
)
from forgeprep.training.evaluation.score_files import Columns, read_score_file, write_score_files
from forgeprep.training.evaluation.truth import ClipFacts, read_truth
from tests.conftest import UInt8, run_cli
from tests.helpers.shards_run import make_run


@pytest.fixture(scope="module")
def run(face_photo: UInt8, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose test split has 9 samples: 3 frames of a real and of two fakes."""
    out = tmp_path_factory.mktemp("scored") / "out"
    return make_run(out, face_photo, size=32, formats=("parquet",), stages=("crop",))


REAL, FAKE, SWAP = "ffpp/c23/original/010", "ffpp/c23/Deepfakes/010_011", "ffpp/c23/FaceSwap/010_011"
IDS = [f"{clip}/0/{frame:06d}" for clip in (REAL, FAKE, SWAP) for frame in (0, 12, 24)]
SCORES = [0.1, 0.2, 0.6, 0.7, 0.8, 0.9, 0.55, 0.3, 0.4]


def lines(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(rows) + "\n")
    return path


def csv_of(path: Path, ids: list[str], head: str = "id,score") -> Path:
    return lines(path, head, *(f"{name},{score}" for name, score in zip(ids, SCORES, strict=True)))


def scored(run: Path, path: Path, **rules: Any) -> dict[str, float]:
    one = Scorer(Rules(**rules)).score(path, run, "test")
    rows = one.judged.verdicts.rows
    return dict(zip([row["sample_id"] for row in rows], one.judged.verdicts.scores.tolist(), strict=True))


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    facts = {"model": "m", "level": "sample", "threshold": 0.1 + 0.2}
    files = write_score_files(tmp_path / "s", ["a", "b,c"], [1 / 3, float("nan")], facts, [{"label": 0}, {"label": 1}])
    assert [file.name for file in files] == ["s.parquet", "s.csv"]
    for file in files:
        found = read_score_file(file)
        assert (found.ids, found.status) == (["a", "b,c"], ["ok", "error"])
        assert found.scores[0] == 1 / 3
        assert found.facts.items() >= facts.items()
    assert files[1].read_text().splitlines()[-3:] == ["id,score,status", "a,0.3333333333333333,ok", '"b,c",,error']
    assert pq.read_table(files[0]).column_names == ["id", "score", "status", "label"]
    zero = lines(tmp_path / "zero.csv", "# forgeprep-scores: 1", "# threshold: 0", "id,score", f"{FAKE}/0/000000,1")
    assert Scorer(Rules())._threshold(read_score_file(zero)) == 0
    newer = lines(tmp_path / "newer.csv", "# forgeprep-scores: 2", "id,score", "a,1")
    with pytest.raises(VerifyError, match=r"newer.csv: a newer forgeprep wrote it \(version 2\)"):
        read_score_file(newer)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"name_of_it;other\na;1\n", "which column holds the id? Its first line has name_of_it, other; name the col"),
        (b"id,other\na,1\n", "which column holds the score? Its first line has id, other"),
        (b"", "which column holds the id? Its first line has no columns"),
        (b"id,score\n\na\n", "row 3 has 1 cells, and the first line names 2"),
        (b"id,score,score\na,0.1,0.2\n", "two columns are called 'score'"),
        (b'# forgeprep-scores: 1\n# threshold: "a"\nid,score\na,0.1\n', "what it says of its 'threshold' is damaged"),
        (b'# forgeprep-scores: 1\n# sequence: [1, "b"]\nid,score\n', "what it says of its 'sequence' is damaged"),
        (b"PAR1 and nothing more", "damaged"),
        (b"\xff\xfe\x00", "is neither UTF-8 text nor Parquet"),
    ],
)
def test_files_that_are_none_are_told_in_a_line(text: bytes, problem: str, tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_bytes(text)
    with pytest.raises(ForgeprepError) as error:
        read_score_file(tmp_path / "f.csv")
    assert problem in str(error.value)
    assert str(tmp_path / "f.csv") in str(error.value)
    with pytest.raises(UsageError, match=r"none: cannot be read \(No such file"):
        read_score_file(tmp_path / "none")


def test_samples_are_found_by_id_by_clip_and_frame_and_by_the_paths_of_exports(run: Path, tmp_path: Path) -> None:
    wanted = dict(zip(IDS, SCORES, strict=True))
    assert scored(run, csv_of(tmp_path / "ids.csv", IDS)) == wanted
    for number, (head, clips) in enumerate(
        [
            ("video;frame;prob", ["youtube/010.mp4", "Deepfakes/010_011.mp4", "FaceSwap/010_011.mp4"]),
            ("clip_id\tframe_index\tscore", [REAL, FAKE, SWAP]),
        ]
    ):
        clips[0] = clips[0].replace("youtube", "original")
        mark = ";" if ";" in head else "\t"
        names = [f"{clip}{mark}{frame}" for clip in clips for frame in ("frame_000.png", "12", "000024.jpg")]
        # With semicolons, as a spreadsheet writes them: a decimal comma.
        texts = [str(score).replace(".", "," if mark == ";" else ".") for score in SCORES]
        rows = [f"{name}{mark}{score}" for name, score in zip(names, texts, strict=True)]
        assert scored(run, lines(tmp_path / f"frames{number}.csv", head, *rows)) == wanted
    for name in ("pictures", "deepfakebench", "gend", "imagefolder"):
        to = tmp_path / name
        assert run_cli("export", name, str(run), "--to", str(to), "--workers", "1") == 0
        there = {path for path in to.rglob("*.*") if path.suffix == ".png" and "mask" not in str(path)}
        found = scored(run, lines(tmp_path / f"{name}.csv", "path,score", *(f"{p},0.5" for p in sorted(there))))
        assert found.keys() == wanted.keys(), name


def test_a_clip_that_is_not_there_is_not_found_by_another_ones_name() -> None:
    names = Names([("ffpp/c23/Deepfakes/010_011", 0), ("ffpp/c23/original/010", 1), ("ffpp/c40/original/010", 2)])
    found = [names.find(text) for text in ("Deepfakes/010_011", "010_011", "/data/ffpp/c23/Deepfakes/010_011.mp4")]
    assert found == [0, 0, 0]
    assert names.find("FaceShifter/010_011") is None
    assert names.find("original/010") == -1
    assert plain_path("a\\b\\c.PNG") == "a/b/c"


def test_what_does_not_fit_is_counted_in_a_line_each(run: Path, tmp_path: Path) -> None:
    rows = [f"{name},{score}" for name, score in zip(IDS, SCORES, strict=True)]
    rows[1] = f"{IDS[1]},nan"
    rows[5] = f"{IDS[5]},7.5"
    file = lines(tmp_path / "f.csv", "id,score", *rows[:-1], rows[0], f"{IDS[2]},0.7", "who/knows,0.5")
    one = Scorer(Rules(missing="drop")).score(file, run)
    told = [note.removeprefix(f"{file}: ") for note in one.notes]
    assert told == [
        f"11 lines, of 8 of the 9 samples of {run}, split test",
        "1 id is no sample of " + f"{run}, split test, such as 'who/knows'",
        "2 samples come more than once, 1 of them with another score; the first line counts",
        "1 score outside [0, 1], logits perhaps: --sigmoid makes them probabilities; until then fake is above 0.5",
    ]
    assert one.judged.lost == {"missing": 1, "error": 1}
    assert len(one.judged.verdicts.rows) == 7
    with pytest.raises(
        UsageError, match=r"f.csv: 2 of 9 frames have no score \(1 missing, 1 error\), and 1 id of none"
    ):
        Scorer(Rules()).score(file, run)
    worst, half = scored(run, file, missing="worst"), scored(run, file, missing=0.5)
    assert (worst[IDS[1]], worst[IDS[8]]) == (7.5, 0.1)
    assert (half[IDS[1]], half[IDS[8]]) == (0.5, 0.5)
    rules = Rules(missing="worst")
    found = evaluation_of(Scorer(rules).score(file, run), run, rules, {})
    text = markdown(evaluation_parts([found]))
    assert "Without a score: 1 missing, 1 error; taken as wrong." in text
    assert "Calibration undefined: 2 scores lie outside [0, 1]." in text
    turned = scored(run, file, missing="drop", sigmoid=True)
    assert turned[IDS[5]] == pytest.approx(1 / (1 + np.exp(-7.5)))
    lines(tmp_path / "none.csv", "id,score", "a,1")
    with pytest.raises(UsageError, match=r"none of its ids is a sample of .* it has 'a', we have 'ffpp/c23/"):
        Scorer(Rules()).score(tmp_path / "none.csv", run)
    with pytest.raises(UsageError, match=r"unknown column of .*f.csv 'scor': did you mean 'score'"):
        Scorer(Rules(Columns(score="scor"))).score(file, run)


def test_what_may_be_meant_otherwise_is_told_in_a_line(run: Path, tmp_path: Path) -> None:
    def notes(name: str, *rows: str, facts: Any = None, **rules: Any) -> str:
        file = lines(tmp_path / name, *(facts or ()), *rows)
        return "\n".join(Scorer(Rules(**rules)).score(file, run, "test").notes[1:])

    both = [f"{name},{score},{1 - score}" for name, score in zip(IDS, SCORES, strict=True)]
    assert "of its column 'prob', not of 'pred'; --score-column" in notes("two.csv", "id,pred,prob", *both)
    assert notes("two.csv", "id,pred,prob", *both, columns=Columns(score="pred")) == ""
    rows = [f"{name},{score}" for name, score in zip(IDS, SCORES, strict=True)]
    assert "all its scores lie in [0, 1], probabilities perhaps" in notes("p.csv", "id,score", *rows, sigmoid=True)
    own = ["# forgeprep-scores: 1", '# score: "probability"', "# val_threshold: 0.3"]
    told = notes("own.csv", "id,score", *rows, facts=own, sigmoid=True, invert=True)
    assert told.endswith("its scores are of fake already: taken without --sigmoid and --invert")
    assert scored(run, tmp_path / "own.csv", sigmoid=True, invert=True) == dict(zip(IDS, SCORES, strict=True))
    # Frames that count from 1, and names that several clips share.
    late = [f"{clip},{frame},0.5" for clip in (REAL, FAKE) for frame in (1, 13, 25)]
    fits = f"{SWAP},12,0.5"
    assert "6 lines of clips that are there and of frames that are not, such as frame 1 of" in (
        told := notes("late.csv", "clip,frame,score", *late, fits, missing="drop")
    )
    assert told.endswith("perhaps its frames count from 1, ours from 0")
    shifted = [f"Deepfakes/010_011/{frame:06d}.png,0.5" for frame in (1, 13)]
    with pytest.raises(UsageError, match=r"of frames that are not, such as frame 1 of .* count from 1, ours from 0"):
        notes("paths.csv", "path,score", *shifted)
    with pytest.raises(UsageError, match=r"none of its ids is a clip .*; 1 id fits several clips each, such as '010_0"):
        notes("tail.csv", "clip,score", "010_011,0.5")


def test_scores_below_chance_are_told() -> None:
    rows: list[Any] = [{"sample_id": f"{n}", "clip_id": f"{n}", "label": n % 2} for n in range(12)]
    for wrong, below in ((12, True), (11, True), (6, False), (0, False)):
        scores = np.array([(row["label"] ^ (n < wrong)) + n / 100 for n, row in enumerate(rows)])
        assert _below_chance(Matched("frames", rows, scores, ["ok"] * 12)) is below, wrong


def test_each_file_has_its_own_scores_of_val(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(run, out)
    (out / "shards/train").rename(out / "shards/val")
    rows = read_truth(out, "val").rows
    val = [
        lines(tmp_path / f"val{best}.csv", "id,score", *(f"{row['sample_id']},{best * row['label']}" for row in rows))
        for best in (0.5, 1)
    ]
    theirs, ours = csv_of(tmp_path / "theirs.csv", IDS), tmp_path / "ours.csv"
    ours.write_text('# forgeprep-scores: 1\n# score: "probability"\n# val_threshold: 0.125\n' + theirs.read_text())
    scorer = Scorer(Rules())
    assert thresholds_of_val(scorer, [theirs, theirs], val, out) == [0.25, 0.5]
    assert thresholds_of_val(scorer, [ours, theirs], val[:1], out) == [None, 0.25]
    assert thresholds_of_val(scorer, [ours], val[:1], out) == [0.25]
    assert scorer.score(ours, out).judged.val_threshold == 0.125
    for files, given in (([theirs, theirs], val[:1]), ([ours], val), ([ours, theirs], [*val, val[0]])):
        with pytest.raises(UsageError, match=r"--val: . files? for . files? of scores; give one for each"):
            thresholds_of_val(scorer, files, given, out)


def test_a_file_of_clips_gives_figures_of_clips_alone(run: Path, tmp_path: Path) -> None:
    file = lines(tmp_path / "clips.csv", "video,logit", "original/010,-1", "Deepfakes/010_011.mp4,2", f"{SWAP},1")
    rules = Rules(sigmoid=True)
    one = Scorer(rules).score(file, run)
    assert one.judged.level == "clips"
    found = evaluation_of(one, run, rules, {})["sets"][str(run)]
    assert found["clips"]["auc"] == 1.0
    assert found["level"] == "clips"
    assert found["intervals"].keys() == {"clips", "how"}
    # Clips are compared by the frames that both files score: the odd one out, and wrong, is in neither mean.
    right, odd = [0.1] * 3 + [0.9] * 6, [0.1] * 2 + [99] + [0.9] * 6
    for name, values, left_out in (("few.csv", right, 2), ("all.csv", odd, None)):
        lines(tmp_path / name, "id,score", *(f"{i},{v}" for n, (i, v) in enumerate(zip(IDS, values, strict=True))
                                            if n != left_out))  # fmt: skip
    both = [Scorer(Rules(missing="drop")).score(tmp_path / name, run) for name in ("few.csv", "all.csv")]
    _, second = same_frames([one.judged for one in both])
    assert entries(second, "clips").scores.tolist() == pytest.approx([0.9, 0.9, 0.1])
    assert comparisons(both, "clips", rules.bootstrap)[0]["entries"] == 3
    with pytest.raises(UsageError, match="a file of clips has no frames; compare with --level clips"):
        comparisons([one, one], "frames", rules.bootstrap)


def test_the_command_compares_files_and_keeps_to_its_folder(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = csv_of(tmp_path / "one.csv", IDS), csv_of(tmp_path / "other.csv", IDS[::-1])
    command = ["score", str(one), str(other), "--shards", str(run), "--bootstrap", "50"]
    assert run_cli(*command, "--level", "frames") == 0
    printed = capsys.readouterr().out
    assert "Do they differ? 9 frames that all of them score" in printed
    assert "p is too small" in printed
    folder = tmp_path / "one-figures"
    [test] = json.loads((folder / "comparisons.json").read_text())
    assert (test["first"], test["second"], test["entries"]) == ("one.csv", "other.csv", 9)
    assert test["by_source"] is None  # of a single source group
    assert "| one.csv → other.csv |" in (folder / "evaluation.md").read_text()
    assert run_cli(*command[:2], *command[3:]) == 2
    assert "one-figures: holds the evaluation of one.csv on test" in capsys.readouterr().err
    assert run_cli(*command, "--missing", "never") == 2
    assert "--missing never: give error, drop, worst, or a score such as score=0.5" in capsys.readouterr().err
    assert run_cli(*command, "--perturbed", f"{one}={run}") == 2
    assert "goes with a single file" in capsys.readouterr().err


def test_a_video_at_two_qualities_is_one_group(run: Path) -> None:
    truth = read_truth(run, "test")
    assert truth.clips[FAKE].units("source") == ("ffpp/010",)
    assert truth.clips[FAKE].units("identity") == ("ffpp/010",)
    assert truth.absent == {"frames": 1, "clips": 0}
    assert ClipFacts("g", ("b", "c")).units("identity") == ("b", "c")
    table = pa.table({"sample_id": IDS, "score": SCORES})
    pq.write_table(table, run.parent / "plain.parquet")
    assert match(read_score_file(run.parent / "plain.parquet"), truth, "here").status == ["ok"] * 9
