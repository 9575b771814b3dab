"""What an evaluation is asked to do, checked before anything long begins."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from spikejax.data.datasets.layout import TRAINING_SPLIT
from spikejax.data.simulation.camera_settings import SensorNoise
from spikejax.errors import InputError
from spikejax.inference.tiling import PROTOCOLS, UNLIMITED, Extent

# What may change when an evaluation goes on: the same scores come out.
_FREE = frozenset({"output", "overwrite", "devices", "space", "compile_cache", "trust_code", "accept_license"})


@dataclass(frozen=True)
class EvaluationOptions:
    """What is evaluated, on what and how; None where it is left to the network or its training.

    Attributes:
        network: a workdir, or weights.
        output: folder for the scores.
        data: the data set (None = the one it was trained on), of which `split` is measured.
        split: which part of it.
        which: checkpoint of a workdir.
        input: root of folders of pictures, in place of a data set.
        sharp: root of the true pictures; with it alone the input is made of them.
        sigma: standard deviation of the noise, of 255.
        protocol: how overlapping tiles are blended, see `spikejax.inference.tiling`.
        test_set: of the published ones, whose tile is taken and whose frames count.
        tile: frames, rows and columns that the network sees at once; 0 = all there are.
        overlap: of neighbouring tiles.
        frames: of the tile alone, of a validation's.
        sequences: how many are measured, from the first; 0 = all.
        metrics: what is measured, by name.
        lpips: weights of that metric.
        statistics: a file of those of the network's spikes, if it comes without.
        threshold_factor: the spikes are those of a camera whose threshold is so many times as high.
        noise: of the camera that films the embedded scenes again.
        dtype: of features.
        precision: of float32 products; None = "highest".
        devices: how many restore tiles of their own.
        space: how many share the rows of each tile instead.
        save_frames: whether the frames are written as well.
        compile_cache: folder of compiled programs.
        trust_code: whether code that the network's configuration names is run.
        accept_license: whether the licence of published weights that are downloaded is accepted.
        overwrite: whether an earlier evaluation is replaced.
    """

    network: str
    output: str
    data: str | None = None
    split: str = "val"
    which: str | None = None
    input: str | None = None
    sharp: str | None = None
    sigma: float | None = None
    protocol: str = PROTOCOLS[0]
    test_set: str | None = None
    tile: Extent | None = None
    overlap: Extent | None = None
    frames: int | None = None
    sequences: int = 0
    metrics: tuple[str, ...] | None = None
    lpips: str | None = None
    statistics: str | None = None
    threshold_factor: float = 1.0
    noise: SensorNoise = field(default_factory=SensorNoise)
    dtype: str | None = None
    precision: str | None = None
    devices: int | None = None
    space: int | None = None
    save_frames: bool = False
    compile_cache: str | None = None
    trust_code: bool = False
    accept_license: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        """Raises InputError for options that do not fit together."""
        if self.input is not None and self.sharp is None:
            raise InputError("expected --sharp, the true pictures, with --input, found none")
        if self.sharp is not None and self.data is not None:
            raise InputError("expected --data (a data set) or --sharp (folders of pictures), found both")
        if self.sharp is not None and (self.filmed_again or self.threshold_factor != 1):
            raise InputError("expected a data set for another spike camera, found --sharp")
        if self.filmed_again and (self.data is not None or self.split == TRAINING_SPLIT):
            raise InputError(
                "expected the noise of the camera with the validation split of the data that the network was trained "
                f"on, found --data {self.data} and --split {self.split}"
            )
        if self.test_set is not None and self.protocol != "published":
            raise InputError("expected --protocol published with --test-set, whose tile and frames are of it")
        if self.frames is not None and self.tile is not None:
            raise InputError("expected --frames or --tile, whose first number is the frames, found both")
        if self.tile is not None and self.overlap is not None:
            if not self.overlap.smaller_than(self.tile.or_all(UNLIMITED)):
                raise InputError(f"expected an --overlap smaller than --tile {self.tile}, found {self.overlap}")

    def check_one_tile(self) -> None:
        """Raises InputError for a tile beside a test set, which has one."""
        if self.test_set is not None and self.tile is not None:
            raise InputError("expected --test-set, which has a tile, or --tile, found both")

    @property
    def filmed_again(self) -> bool:
        """Whether the embedded scenes are filmed again by a noisy camera."""
        return self.noise != SensorNoise()

    @property
    def decisive(self) -> dict[str, str]:
        """What decides the scores: an evaluation that was stopped goes on if it is the same."""
        fields = (field.name for field in dataclasses.fields(self) if field.name not in _FREE)
        return {name: str(getattr(self, name)) for name in fields}
