"""Files of scores: whole, in order, and such that others can read them."""

import csv
import json
import math
from pathlib import Path

import pytest

from spikejax.errors import InputError
from spikejax.quality.score_files import (
    check_score_folder,
    finite_scores,
    mean_scores,
    metrics_path,
    write_score_folder,
)


def read_csv(path: Path) -> list[dict[str, str]]:
    """The lines of a table, by column."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_frame_and_sequence_has_its_line(tmp_path: Path) -> None:
    """Catches frames out of order, a mean over all frames at once, an infinity that JSON cannot hold."""
    # Sequences of different lengths: means over frames and over sequences differ.
    scores = {
        "b": [{"psnr_blur": 20.0, "psnr_recon": math.inf}],
        "a": [{"psnr_blur": 30.0 + number, "psnr_recon": 32.0} for number in range(3)],
    }
    total = write_score_folder(tmp_path / "out", scores, header={"split": "val"})
    rows = read_csv(tmp_path / "out" / "frames.csv")
    assert [(row["sequence"], row["frame"]) for row in rows] == [("b", "0"), ("a", "0"), ("a", "1"), ("a", "2")]
    assert [row["psnr_recon"] for row in rows] == ["inf", "32.0", "32.0", "32.0"]
    clips = read_csv(tmp_path / "out" / "clips.csv")
    assert [(clip["sequence"], clip["frames"], float(clip["psnr_blur"])) for clip in clips] == [
        ("b", "1", 20.0),
        ("a", "3", 31.0),
    ]
    assert total["psnr_blur"] == 25.5
    line, over_frames = read_csv(tmp_path / "out" / "total.csv")
    assert (line.pop("total"), over_frames["total"]) == ("mean over sequences", "mean over frames")
    assert float(over_frames["psnr_blur"]) == (20 + 30 + 31 + 32) / 4
    assert line == {"sequences": "2", "frames": "4", "psnr_blur": "25.5", "psnr_recon": "inf"}
    text = (tmp_path / "out" / "metrics.json").read_text()
    content = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert content["split"] == "val"
    assert content["total"] == {"psnr_blur": 25.5, "psnr_recon": None}
    assert content["mean_over_frames"] == {"psnr_blur": 28.25, "psnr_recon": None}
    assert content["clips"]["a"] == {"frames": 3, "psnr_blur": 31.0, "psnr_recon": 32.0}
    assert content["frames"]["a"][2]["psnr_blur"] == 32.0


def test_means_of_what_was_measured() -> None:
    """Catches a metric that some frames lack (those made between two frames have no frame before) counted as zero."""
    assert mean_scores([{"a": 1.0, "b": 2.0}, {"b": 4.0}]) == {"a": 1.0, "b": 3.0}
    assert mean_scores([]) == {}
    assert finite_scores({"a": math.inf, "b": math.nan, "c": 1.0}) == {"a": None, "b": None, "c": 1.0}


def test_only_scores_are_replaced(tmp_path: Path) -> None:
    """Catches a folder of photographs that a slip of the pen replaces, and scores that cannot be replaced."""
    scores = {"a": [{"psnr_blur": 1.0}]}
    check_score_folder(tmp_path / "out", overwrite=False)
    write_score_folder(tmp_path / "out", scores, header={})
    with pytest.raises(InputError, match="expected a new or empty folder"):
        check_score_folder(tmp_path / "out", overwrite=False)
    check_score_folder(tmp_path / "out", overwrite=True)
    (tmp_path / "photographs").mkdir()
    (tmp_path / "photographs" / "a.png").write_bytes(b"")
    with pytest.raises(InputError, match="expected an earlier evaluation to replace"):
        check_score_folder(tmp_path / "photographs", overwrite=True)


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_output_that_cannot_be_written(overwrite: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches hours of measuring whose scores have no place to go: below a file, of a disk that is only read."""
    (tmp_path / "file").write_text("")
    for output in (tmp_path / "file" / "out", tmp_path / ("x" * 300)):
        with pytest.raises(InputError, match="expected a place to write to, found (Not a dir|File name too long)"):
            check_score_folder(output, overwrite=overwrite)
    write_score_folder(tmp_path / "earlier", {"a": [{"psnr_blur": 1.0}]}, header={})

    def refuse(path: Path, **options: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "touch", refuse)
    for output in (tmp_path / "new" / "out", tmp_path / "earlier"):
        with pytest.raises(InputError, match="expected a (place to write to, found Permission denied|new or empty)"):
            check_score_folder(output, overwrite=overwrite)


def test_where_the_scores_of_an_output_are() -> None:
    """Catches two videos of one folder that share a file, and a report that looks elsewhere than restoring wrote."""
    assert metrics_path(Path("a/out")) == Path("a/out/metrics.json")
    assert metrics_path(Path("a/b.mkv")) == Path("a/b.metrics.json")
