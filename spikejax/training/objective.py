"""What training minimises, the sum of the losses that the configuration asks for; and what needs weights to measure."""

from collections.abc import Callable

import jax
from ml_collections import ConfigDict

from spikejax.errors import InputError
from spikejax.quality.losses import charbonnier, perceptual
from spikejax.quality.metrics import Distance, open_metrics
from spikejax.quality.perceptual import load_vgg
from spikejax.training.step import Loss

NETWORKS = ("vgg19", "vgg16")
# The metric that the best checkpoint is chosen by.
BEST_BY = "psnr"


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


def make_metrics(config: ConfigDict, *, note: Callable[[str], None]) -> dict[str, Distance]:
    """What each metric of a validation is computed by; one that takes weights is left out where there are none.

    Args:
        config: the `validation` section.
        note: told, in one line, what is left out.

    Raises:
        InputError: there is no such metric, PSNR is not among them, or weights cannot be read.
    """

    def left_out(title: str) -> None:
        note(
            f"validation: without {title}, validation.{title.lower()}_weights_file names no weights "
            "(python -m convert to-jax makes them)"
        )

    weights = {"lpips": config.lpips_weights_file}
    metrics = open_metrics(config.metrics, key="validation.metrics", weights=weights, without_weights=left_out)
    if BEST_BY not in metrics:
        raise InputError(
            f'validation.metrics: expected "{BEST_BY}" among them, which chooses the best checkpoint, '
            f"found {', '.join(config.metrics) or 'none'}"
        )
    return metrics
