"""How the input of a run's network is made, and whether its configuration fits together on that."""

from ml_collections import ConfigDict

from spikejax.data.datasets.degradation import KINDS, Degradation
from spikejax.errors import InputError
from spikejax.models.traits import NetworkTraits


def degradation_of(config: ConfigDict, traits: NetworkTraits, *, validation: bool = False) -> Degradation:
    """How the input is made in training, or in validation, where noise has a fixed standard deviation.

    Args:
        config: see `spikejax.config.defaults`.
        traits: of the network that the input is for.
        validation: whether it is for that.

    Raises:
        InputError: there is no such degradation, or the network is for another one.
    """
    # Runs of before the keys existed have none.
    kind = config.data.degradation if "degradation" in config.data else "none"
    if kind not in KINDS:
        raise InputError(f"data.degradation: expected one of {', '.join(KINDS)}, found {kind!r}")
    fitting, network = _fitting(traits)
    if kind not in fitting:
        raise InputError(f"data.degradation: expected {' or '.join(fitting)} for {network}, found {kind!r}")
    if kind == "interpolation":
        _check_interpolation(config, traits)
    sigma = (0.0, 0.0)
    if kind == "noise":
        least, largest = config.data.noise_sigma
        sigma = (config.validation.noise_sigma,) * 2 if validation else (float(least), float(largest))
        if not 0 <= sigma[0] <= sigma[1] <= 255:
            key = "validation.noise_sigma" if validation else "data.noise_sigma"
            raise InputError(f"{key}: expected standard deviations from 0 to 255, found {sigma[0]:g} to {sigma[1]:g}")
    return Degradation(kind, traits.upscale, sigma)


def _fitting(traits: NetworkTraits) -> tuple[tuple[str, ...], str]:
    """The degradations that the network can be for, and what it is."""
    if traits.interpolates:
        return ("interpolation",), "a network that interpolates"
    if traits.noise_level:
        return ("noise",), "a network that takes a noise level"
    if traits.upscale > 1:
        return ("bicubic", "gaussian", "none"), f"a network that enlarges {traits.upscale} times"
    return ("none",), "a network that neither enlarges nor interpolates nor takes a noise level"


def _check_interpolation(config: ConfigDict, traits: NetworkTraits) -> None:
    frames, validation_frames = config.data.frames, config.validation.frames
    if not frames == validation_frames == traits.window or traits.window % 2:
        raise InputError(
            "data.frames, validation.frames: expected an even number, that of the network that interpolates "
            f"({traits.window}), found {frames} and {validation_frames}"
        )
