"""Do spikes deblur better than pictures alone, by which fusion, and what is left of it with another camera?

    python -m spikejax.experiment --config spikes_pay --workdir DIR
    python -m spikejax.experiment --config spikes_pay:gopro --workdir DIR --config.data.root=ROOT

The first is of the quick start's size, with clips of 5 frames, on the embedded data set: for two cores and some hours.
The second is the design at full size on a data set in a folder, such as GoPro with spikes: for accelerators and days;
`--shard I/N` on each of N machines spreads it.

Every variant but the backbone, which takes no spikes, is trained once more with thresholds up to four times as high
(`+theta`). `baseline+time` learns a bias per time difference; `local` does, and attends two frames far alone.
Evaluations: the camera trained with (theta1), thresholds twice and four times as high, and a noisy camera.
"""

from ml_collections import ConfigDict

from spikejax.config.files import choose

# Variants by name: changes of the spike design's baseline, and how many networks are trained.
_BACKBONE = "backbone"
_WITHOUT_TIME = "model.spike.time=none"
_BEST = "local"  # the one that has to pass
_VARIANTS = {
    _BACKBONE: (("model.spike.fusion=none", _WITHOUT_TIME), 3),
    "concat": (("model.spike.fusion=concat", _WITHOUT_TIME), 3),
    "baseline": ((_WITHOUT_TIME,), 3),
    "baseline+time": (("model.spike.time=relative",), 3),
    _BEST: (("model.spike.time=local", "model.spike.time_reach=2"), 3),
    "normalized_query": (("model.spike.residual=normalized_query", _WITHOUT_TIME), 1),
    "stages_1_to_7": (("model.spike.fused_stages=1,2,3,4,5,6,7", _WITHOUT_TIME), 1),
}
_THRESHOLDS = "data.threshold_factor=4"
_THETAS = {f"theta{factor}": dict(threshold_factor=float(factor)) for factor in (1, 2, 4)}
# A camera of the simulation's with all of its imperfections, as `simulate` takes them.
_NOISE = dict(shot_photons=20.0, threshold_variation=0.05, dark_rate=0.01, dark_variation=0.5)


def get_config(name: str = "small") -> ConfigDict:
    """Returns the experiment.

    Args:
        name: its size, "small" or "gopro".

    Raises:
        InputError: there is no such size.
    """
    return choose({"small": _small, "gopro": _gopro}, name)()


def _small() -> ConfigDict:
    config = _experiment(channels=24)
    config.base = "quickstart"
    config.overrides = ("data.frames=5", "validation.frames=5", "validation.every=125", "restore.tile=5,128,128")
    config.evaluations = ConfigDict({**_THETAS, "noise": _NOISE}, sort_keys=False)
    return config


def _gopro() -> ConfigDict:
    config = _experiment(channels=96)
    config.base = "spike:baseline"
    config.overrides = ()
    # Noise is that of the data; of a data set that `simulate` made with noise: noise=dict(data="ROOT").
    config.evaluations = ConfigDict(_THETAS, sort_keys=False)
    for variant in config.variants.values():
        variant.seeds = 1
    return config


def _experiment(*, channels: int) -> ConfigDict:
    """What both sizes share; `channels` of the spikes' features in each stage."""
    variants = {}
    for name, (changes, seeds) in _VARIANTS.items():
        if name == "stages_1_to_7":
            changes = (*changes, f"model.spike.channels={','.join([str(channels)] * 7)}")
        variants[name] = dict(overrides=changes, seeds=seeds)
        if name != _BACKBONE:
            variants[f"{name}+theta"] = dict(overrides=(*changes, _THRESHOLDS), seeds=1)
    return ConfigDict(
        dict(
            variants=ConfigDict(variants, sort_keys=False),
            metric="psnr",
            acceptance=dict(variant=_BEST, reference=_BACKBONE, margin=0.05, evaluation="theta1"),
            pictures=dict(columns=("input", _BACKBONE, _BEST, "sharp"), sequences=4, evaluation="theta1"),
        )
    )
