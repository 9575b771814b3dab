"""What restoring an input took and gave, as metrics.json and the terminal state it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from spikejax.inference.tiling import Extent
from spikejax.quality.metrics import AFTER, BEFORE, measured_metrics, metric_named
from spikejax.quality.score_files import finite_scores, mean_scores


@dataclass(frozen=True)
class RestoreReport:
    """What restoring an input took and gave; times are of this run, scores of all frames.

    Attributes:
        frames: how many restored frames there are.
        resumed_at: how many of them an earlier run had made.
        height, width: of a frame of the input.
        restored_height, restored_width: of a restored frame.
        tile: frames, rows and columns that the network saw at once.
        overlap: of neighbouring tiles.
        protocol: how they were blended.
        devices: how many restored.
        compile_seconds: what compiling the network took.
        seconds_per_frame: from the first frame that was read to the last that was written.
        seconds: the same for all frames ("total"), and how long reading ("decode"), the network and blending
            ("compute") and measuring and encoding ("write") took, which go on at the same time.
        shares: of the total, as far as they were busy.
        peak_host_bytes: the largest memory of the process.
        peak_device_bytes: the same of the accelerator; None on a CPU, where it is part of the host's.
        program_bytes: what the compiler says that the network needs on a device.
        tiles_in_float32: how many restored tiles were not finite, and were computed again in float32.
        damage: what of the input did not decode, in words; None if all did.
        scores: if there are sharp frames, the metrics of each, before (`psnr_blur`, ...) and after (`psnr_recon`, ...).
    """

    frames: int
    resumed_at: int
    height: int
    width: int
    restored_height: int
    restored_width: int
    tile: Extent
    overlap: Extent
    protocol: str
    devices: int
    compile_seconds: float
    seconds_per_frame: float
    seconds: dict[str, float]
    shares: dict[str, float]
    peak_host_bytes: int
    peak_device_bytes: int | None
    program_bytes: int
    tiles_in_float32: int
    damage: str | None
    scores: list[dict[str, float]]

    @property
    def means(self) -> dict[str, float]:
        """Each metric's mean over the frames that have it."""
        return mean_scores(self.scores)

    def to_json(self) -> dict[str, Any]:
        """The report as JSON can hold it."""
        fields = asdict(self)
        scores = fields.pop("scores")
        return fields | finite_scores(self.means) | {"per_frame": [finite_scores(frame) for frame in scores]}

    def summary(self) -> Iterator[str]:
        """Yields a line for tiles that were computed again, and for each of the metrics that papers state, if any."""
        if self.tiles_in_float32:
            yield f"{self.tiles_in_float32} tiles were not finite and were computed again in float32"
        means = self.means
        for name in measured_metrics(means):
            metric = metric_named(name)
            if not metric.headline:
                continue
            stated = (
                f"{metric.text(means[f'{name}_{end}'])}{metric.unit_text} {when}"
                for end, when in ((BEFORE, "before"), (AFTER, "after"))
                if f"{name}_{end}" in means
            )
            yield f"{metric.title} {', '.join(stated)}"
