"""A toy experiment: two variants of the stand-in, two seeds each, six updates."""

from pathlib import Path

from tests.small_run import OVERRIDES

ROOT = Path(__file__).parents[2]
VARIANTS = ("narrow", "wide")
SEEDS = (123, 124)
STEPS = 6
_CHANGES = OVERRIDES | {
    "model.backbone": f"{ROOT / 'tests' / 'stand_ins.py'}:build_stand_in",
    "model.vrt.drop_path": 0.0,
    "data.workers": 0,
    "optimizer.frozen": "None",
    "optimizer.peak_learning_rate": 0.01,
    "training.start_at_zero": "None",
    "training.steps": STEPS,
    "training.checkpoint_every": 1,
    "training.loggers": "None",
    "validation.every": 3,
    "validation.metrics": "psnr,ssim",
}
_FILE = """
from ml_collections import ConfigDict


def get_config():
    return ConfigDict(
        dict(
            base="quickstart",
            overrides={overrides!r},
            seeds=2,
            variants=dict(narrow=dict(), wide=dict(overrides=("model.vrt.dims={dims}",){extra})),
            evaluations=dict(
                theta1=dict(),
                theta4=dict(threshold_factor=4),
                noise=dict(shot_photons=10, dark_rate=0.05),
            ),
            metric="psnr",
            acceptance=dict(variant="wide", reference="narrow", margin={margin}, evaluation="theta1"),
            pictures=dict(columns=("input", "narrow", "wide", "sharp"), sequences=1, evaluation="theta1"),
        )
    )
"""


def write_toy(folder: Path, *, margin: float = 100.0, extra: str = "", **changed: object) -> Path:
    """The file of the toy experiment.

    Args:
        folder: where it is written.
        margin: of its acceptance rule.
        extra: further arguments of the variant "wide".
        changed: further keys or other values, with `__` for the dots of a key.
    """
    values = _CHANGES | {key.replace("__", "."): value for key, value in changed.items()}
    overrides = tuple(f"{key}={value}" for key, value in values.items())
    dims = ",".join(["16"] * 8)
    path = folder / "toy.py"
    path.write_text(_FILE.format(overrides=overrides, dims=dims, margin=margin, extra=extra), encoding="utf-8")
    return path
