"""What is said about a restored input."""

import json
import math

from spikejax.inference.restore_report import RestoreReport
from spikejax.inference.tiling import Extent


def report_of(scores: list[dict[str, float]], *, again: int = 0) -> RestoreReport:
    """A report of a run that took two seconds."""
    return RestoreReport(
        frames=len(scores),
        resumed_at=0,
        height=4,
        width=6,
        restored_height=8,
        restored_width=12,
        tile=Extent(2, 4, 6),
        overlap=Extent(1, 0, 0),
        protocol="tapered",
        devices=1,
        compile_seconds=0.5,
        seconds_per_frame=1.0,
        seconds={"total": 2.0, "decode": 1.0},
        shares={"decode": 0.5},
        peak_host_bytes=1,
        peak_device_bytes=None,
        program_bytes=1,
        tiles_in_float32=again,
        damage=None,
        scores=scores,
    )


def test_frames_between_two_have_no_scores_before() -> None:
    """Catches a mean that counts a missing score as zero, and an infinity that JSON cannot hold."""
    report = report_of([{"psnr_blur": 20.0, "psnr_recon": math.inf}, {"psnr_recon": 30.0}])
    assert report.means == {"psnr_blur": 20.0, "psnr_recon": math.inf}
    content = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert (content["psnr_blur"], content["psnr_recon"]) == (20.0, None)
    assert content["per_frame"] == [{"psnr_blur": 20.0, "psnr_recon": None}, {"psnr_recon": 30.0}]
    assert content["tile"] == {"frames": 2, "height": 4, "width": 6}
    assert "scores" not in content


def test_the_summary() -> None:
    """Catches a metric before restoring that is shown as the one after, and lines where nothing was measured."""
    scores = {"psnr_blur": 20.0, "psnr_y_blur": 1.0, "ssim_blur": 0.5, "psnr_recon": 30.126, "ssim_recon": 0.75}
    assert list(report_of([scores]).summary()) == [
        "PSNR 20.00 dB before, 30.13 dB after",
        "SSIM 0.5000 before, 0.7500 after",
    ]
    assert list(report_of([{"psnr_recon": 30.0}]).summary()) == ["PSNR 30.00 dB after"]
    assert list(report_of([{}]).summary()) == []


def test_tiles_that_were_computed_again_are_counted() -> None:
    """Catches a fault of the hardware, or of bfloat16, that nobody is told of."""
    assert list(report_of([], again=2).summary()) == ["2 tiles were not finite and were computed again in float32"]
    assert report_of([], again=2).to_json()["tiles_in_float32"] == 2
