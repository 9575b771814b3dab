"""How the input of a run's network is made, and whether its configuration fits together on that."""

from ml_collections import ConfigDict

from spikejax.data.datasets.degradation import KINDS, Degradation
from spikejax.errors import InputError


def degradation_of(config: ConfigDict, *, validation: bool = False) -> Degradation:
    """Returns how the input is made in training, or in validation, where noise has a fixed standard deviation.

    Args:
        config: see `spikejax.config.defaults`.
        validation: whether it is for that.

    Raises:
        InputError: there is no such degradation, or the network is for another one.
    """
    # Runs of before the keys existed have none.
    kind = config.data.degradation if "degradation" in config.data else "none"
    if kind not in KINDS:
        raise InputError(f"data.degradation: expected one of {', '.join(KINDS)}, got {kind!r}")
    fitting, network = _fitting(config)
    if kind not in fitting:
        raise InputError(f"data.degradation: expected {' or '.join(fitting)} for {network}, got {kind!r}")
    if kind == "interpolation":
        _check_interpolation(config)
    sigma = (0.0, 0.0)
    if kind == "noise":
        least, largest = config.data.noise_sigma
        sigma = (config.validation.noise_sigma,) * 2 if validation else (float(least), float(largest))
        if not 0 <= sigma[0] <= sigma[1] <= 255:
            key = "validation.noise_sigma" if validation else "data.noise_sigma"
            raise InputError(f"{key}: expected standard deviations from 0 to 255, got {sigma[0]:g} to {sigma[1]:g}")
    return Degradation(kind, config.model.vrt.upscale, sigma)


def _fitting(config: ConfigDict) -> tuple[tuple[str, ...], str]:
    """The degradations that the network can be for, and what it is."""
    vrt = config.model.vrt
    if vrt.warp_frames == 0:
        return ("interpolation",), "a network that interpolates (model.vrt.warp_frames is 0)"
    if vrt.noise_map:
        return ("noise",), "a network that takes a noise level (model.vrt.noise_map)"
    if vrt.upscale > 1:
        return ("bicubic", "gaussian", "none"), f"a network that enlarges (model.vrt.upscale is {vrt.upscale})"
    return ("none",), "a network that neither enlarges nor interpolates nor takes a noise level"


def _check_interpolation(config: ConfigDict) -> None:
    taken = config.model.vrt.window[0]
    found = (config.data.frames, config.validation.frames)
    if found != (taken, taken) or taken % 2:
        raise InputError(
            "data.frames, validation.frames: expected an even number, that of the network that interpolates "
            f"(model.vrt.window begins with {taken}), got {found[0]} and {found[1]}"
        )
    if config.model.spike.fusion != "none":
        raise InputError(f'model.spike.fusion: expected "none" for interpolation, got {config.model.spike.fusion!r}')
