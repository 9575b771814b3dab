"""How the input of a run's network is made, and whether its configuration fits together on that."""

from ml_collections import ConfigDict

from spikejax.config.relations import fitting_degradations
from spikejax.data.datasets.degradation import Degradation
from spikejax.errors import InputError
from spikejax.models.traits import NetworkTraits


def degradation_of(config: ConfigDict, traits: NetworkTraits, *, validation: bool = False) -> Degradation:
    """How the input is made in training, or in validation, where noise has a fixed standard deviation.

    Args:
        config: see `spikejax.config.defaults`.
        traits: of the network that the input is for.
        validation: whether it is for that.

    Raises:
        InputError: the network is for another degradation, or for other clips.
    """
    kind = config.data.degradation
    fitting, network = fitting_degradations(
        upscale=traits.upscale, interpolates=traits.interpolates, noise_level=traits.noise_level
    )
    if kind not in fitting:
        raise InputError(f"data.degradation: expected {' or '.join(fitting)} for {network}, found {kind!r}")
    if kind == "interpolation":
        _check_interpolation(config, traits)
    sigma = (0.0, 0.0)
    if kind == "noise":
        least, largest = config.data.noise_sigma
        sigma = (config.validation.noise_sigma,) * 2 if validation else (float(least), float(largest))
    return Degradation(kind, traits.upscale, sigma)


def _check_interpolation(config: ConfigDict, traits: NetworkTraits) -> None:
    frames, validation_frames = config.data.frames, config.validation.frames
    if not frames == validation_frames == traits.window or traits.window % 2:
        raise InputError(
            "data.frames, validation.frames: expected an even number, that of the network that interpolates "
            f"({traits.window}), found {frames} and {validation_frames}"
        )
