"""Restoring a whole input into an output that keeps the frames in memory."""

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikejax.data.datasets.degradation import without_network
from spikejax.errors import InputError
from spikejax.inference.restore_job import RestoreJob, check_sharp, restore_job
from spikejax.inference.resumable_output import Output
from spikejax.inference.tiling import Extent
from spikejax.inference.video_restorer import RestoreSettings
from spikejax.io.frame_source import open_frames
from spikejax.io.pictures import write_picture
from spikejax.io.pixel_depth import to_uint8
from spikejax.models.traits import NetworkTraits
from spikejax.quality import metrics
from tests.inference import test_video_restorer
from tests.inference.small_input import FRAMES, HEIGHT, WIDTH, Brighten, read, restorer_of


class Kept:
    """An `Output` that keeps everything; it may begin with frames that are done."""

    def __init__(self, done: int = 0, tile: Extent | None = None) -> None:
        self.done, self.tile = done, tile
        self.frames: list[np.ndarray] = []
        self.scores: list[dict[str, Any]] = []

    def keep_tile(self, tile: Extent) -> None:
        """See `Output`."""
        self.tile = tile

    def write(self, frame: np.ndarray, time: Fraction | None, scores: dict[str, Any]) -> None:
        """See `Output`."""
        self.frames.append(frame)
        self.scores.append(scores)
        self.done += 1

    def room(self, total: int) -> tuple[str, bool]:
        """See `Output`."""
        return "", True

    def finish(self, report: Mapping[str, Any]) -> None:
        """See `Output`."""


def job_of(inputs: Path, *, sharp: str | None = None) -> RestoreJob:
    """All frames in `inputs`, in small tiles."""
    settings = restorer_of(Brighten(None)).settings(RestoreSettings())
    true = None if sharp is None else open_frames(inputs / sharp, own_depth=True)
    return RestoreJob(open_frames(inputs / "blur", own_depth=True), settings, sharp=true)


@pytest.mark.parametrize("done", [0, 3, FRAMES - 1])
def test_frames_and_their_scores(inputs: Path, done: int) -> None:
    """Catches scores of other frames than those written, also where a run goes on, and a wrong count of frames."""
    output = Kept(done)
    assert isinstance(output, Output)
    report = restore_job(restorer_of(Brighten(None)), job_of(inputs, sharp="sharp"), output)
    np.testing.assert_array_equal(np.stack(output.frames), read(inputs / "sharp")[done:])
    pairs = list(zip(read(inputs / "blur"), read(inputs / "sharp"), strict=True))[done:]
    assert [frame["psnr_blur"] for frame in output.scores] == [metrics.psnr(*pair) for pair in pairs]
    assert (report.frames, report.resumed_at) == (FRAMES, done)
    assert (report.restored_height, report.restored_width) == (HEIGHT, WIDTH)
    assert 0 < report.seconds["decode"] and report.seconds["total"] < 60
    assert report.shares["write"] == pytest.approx(report.seconds["write"] / report.seconds["total"])


def test_a_larger_picture_is_compared_as_in_evaluating(tmp_path: Path) -> None:
    """Catches scores before restoring by another enlargement than the one that a validation compares with."""
    frames = np.random.default_rng(0).integers(0, 256, (4, 16, 24, 3), dtype=np.uint8)
    sharp = frames.repeat(2, 1).repeat(2, 2)
    for folder, clip in (("blur", frames), ("sharp", sharp)):
        (tmp_path / folder).mkdir()
        for number, frame in enumerate(clip):
            write_picture(tmp_path / folder / f"{number}.png", frame)
    restorer = test_video_restorer.restorer_of(test_video_restorer.Enlarge(2), NetworkTraits(upscale=2))
    job = replace(job_of(tmp_path, sharp="sharp"), settings=restorer.settings(RestoreSettings()))
    output = Kept()
    restore_job(restorer, job, output)
    enlarged = [without_network(frame[np.newaxis], 32, 48) for frame in frames]
    expected = [metrics.psnr(*pair) for pair in zip(enlarged, sharp, strict=True)]
    assert [frame["psnr_blur"] for frame in output.scores] == expected


def test_a_tile_that_was_chosen_stays(inputs: Path) -> None:
    """Catches frames that are cut up in two ways because there is another amount of memory when a run goes on."""
    job = job_of(inputs)
    job = replace(job, settings=replace(job.settings, auto=True))
    output = Kept(3, tile=Extent(4, 16, 32))
    assert restore_job(restorer_of(Brighten(None)), job, output).tile == Extent(4, 16, 32)
    first = Kept()
    assert restore_job(restorer_of(Brighten(None)), job, first).tile == Extent(4, HEIGHT, WIDTH) == first.tile


def test_frames_of_sixteen_bits_stay_so(inputs: Path) -> None:
    """Catches a depth that is lost on the way through the network, or scores that are not of 8 bits."""
    frames = np.random.default_rng(0).integers(0, 30000, (4, HEIGHT, WIDTH, 3), dtype=np.uint16)
    for folder, factor in (("blur", 1), ("sharp", 2)):
        for file in (inputs / folder).iterdir():
            file.unlink()
        for number, frame in enumerate(frames):
            write_picture(inputs / folder / f"{number}.png", frame * np.uint16(factor))
    output = Kept()
    restore_job(restorer_of(Brighten(None)), job_of(inputs, sharp="sharp"), output)
    restored = np.stack(output.frames)
    assert restored.dtype == np.uint16
    np.testing.assert_allclose(restored.astype(int), 2 * frames.astype(int), atol=1)
    expected = [metrics.psnr(to_uint8(frame), to_uint8(frame * np.uint16(2))) for frame in frames]
    assert [frame["psnr_blur"] for frame in output.scores] == expected


def test_true_frames_that_do_not_fit(inputs: Path) -> None:
    """Catches hours of work before it shows that the true frames are fewer, of another size, or too small."""
    restorer, job = restorer_of(Brighten(None)), job_of(inputs, sharp="sharp")
    check_sharp(restorer, job)

    def refuse(picture: np.ndarray, reference: np.ndarray) -> float:
        assert picture.shape == reference.shape == (HEIGHT, WIDTH, 3)
        raise InputError("expected pictures of at least 99x99")

    with pytest.raises(InputError, match="at least 99x99"):
        check_sharp(restorer, replace(job, measures={"refuse": refuse}))
    (inputs / "sharp" / "000006.png").unlink()
    with pytest.raises(InputError, match=r"\(7 frames of 36x52, height x width\), found 6 frames of 36x52"):
        check_sharp(restorer, job_of(inputs, sharp="sharp"))
