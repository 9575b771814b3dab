"""What training minimises, the sum of the losses that the configuration asks for; and what needs weights to measure."""

from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

from spikejax.errors import InputError
from spikejax.extensions import find_entries
from spikejax.quality.losses import LOSS_TERMS, LeftOut, Loss, WeightsTerm, as_loss
from spikejax.quality.metrics import Distance, open_metrics


def make_loss(config: ConfigDict, *, note: Callable[[str], None], abstract: bool = False) -> Loss:
    """The terms of `loss.terms`, without those that are left out.

    Args:
        config: the `loss` section.
        note: told, in one line, of each term that is left out for want of weights.
        abstract: whether the terms' weights are given as their shapes: nothing is read, and the loss can be compiled
            but not computed.

    Raises:
        InputError: there is no such term, its weights cannot be read, or no term is left.
    """
    terms: dict[str, Any] = {}
    for name, factory in find_entries(LOSS_TERMS, config.terms, key="loss.terms", kind=Callable).items():
        term = factory(config)
        if isinstance(term, LeftOut):
            if term.reason:
                note(term.reason)
        elif isinstance(term, WeightsTerm) or callable(term):
            terms[name] = term
        else:
            raise InputError(f"loss.terms: expected {name} to make a function, found {type(term).__name__}")
    if not terms:
        raise InputError(f"loss.terms: expected a term that acts, found {', '.join(config.terms) or 'none'}")
    return as_loss(terms, abstract=abstract)


def make_metrics(config: ConfigDict, *, note: Callable[[str], None]) -> dict[str, Distance]:
    """What each metric of a validation is computed by; one that takes weights is left out where there are none.

    Args:
        config: the `validation` section.
        note: told, in one line, what is left out.

    Raises:
        InputError: there is no such metric, or weights cannot be read.
    """

    def left_out(title: str) -> None:
        note(
            f"validation: {title} is not measured (optional), validation.{title.lower()}_weights_file names no weights "
            "(spikejax convert to-jax makes them)"
        )

    weights = {"lpips": config.lpips_weights_file}
    return open_metrics(config.metrics, key="validation.metrics", weights=weights, without_weights=left_out)
