"""What training minimises, the sum of the losses that the configuration asks for; and what needs weights to measure."""

from collections.abc import Callable

import jax
from ml_collections import ConfigDict

from spikejax.errors import InputError
from spikejax.quality.losses import charbonnier, perceptual
from spikejax.quality.metrics import Distance
from spikejax.quality.perceptual import load_lpips, load_vgg, lpips_distance
from spikejax.training.step import Loss

NETWORKS = ("vgg19", "vgg16")


def make_loss(config: ConfigDict, *, note: Callable[[str], None]) -> Loss:
    """Returns Charbonnier's loss, and with it the perceptual one where there are weights for it.

    Args:
        config: the `loss` section.
        note: told, in one line, if the perceptual term is left out for want of weights.

    Raises:
        InputError: the network does not exist, or its weights cannot be read.
    """
    if config.perceptual_network not in NETWORKS:
        raise InputError(
            f"loss.perceptual_network: expected {' or '.join(NETWORKS)}, got {config.perceptual_network!r}"
        )
    network = None
    if config.perceptual_weight and config.perceptual_weights_file:
        network = load_vgg(config.perceptual_weights_file, config.perceptual_network)
    elif config.perceptual_weight:
        note(
            "loss: without its perceptual term, loss.perceptual_weights_file names no weights of "
            f"{config.perceptual_network} (python -m convert to-jax makes them)"
        )

    def loss(recon: jax.Array, sharp: jax.Array) -> jax.Array:
        value = charbonnier(recon, sharp, epsilon=config.charbonnier_epsilon)
        if network is not None:
            value = value + config.perceptual_weight * perceptual(recon, sharp, network=network)
        return value

    return loss


def make_distance(config: ConfigDict, *, note: Callable[[str], None]) -> Distance | None:
    """Returns LPIPS where there are weights for it.

    Args:
        config: the `validation` section.
        note: told, in one line, if there are none.

    Raises:
        InputError: the weights cannot be read.
    """
    if config.lpips_weights_file:
        return lpips_distance(load_lpips(config.lpips_weights_file))
    note(
        "validation: without LPIPS, validation.lpips_weights_file names no weights "
        "(python -m convert to-jax makes them)"
    )
    return None
