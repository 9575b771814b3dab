"""What the keys of a run have to do with each other; tests/config/test_keys.py breaks every relation once."""

import pytest

from spikejax.config.relations import fitting_degradations
from spikejax.training.workdir import BEST_BY
from tests.config.test_keys import BROKEN


@pytest.mark.parametrize(
    ("upscale", "interpolates", "noise_level", "expected"),
    [
        (1, False, False, ("none",)),
        (4, False, False, ("bicubic", "gaussian", "none")),
        (1, False, True, ("noise",)),
        (1, True, False, ("interpolation",)),
    ],
)
def test_degradations_that_fit(upscale: int, interpolates: bool, noise_level: bool, expected: tuple[str, ...]) -> None:
    """Catches a network that is trained on the input of another."""
    fitting, _ = fitting_degradations(upscale=upscale, interpolates=interpolates, noise_level=noise_level)
    assert fitting == expected


def test_the_metric_of_the_best_checkpoint_is_the_one_that_is_asked_for() -> None:
    """Catches checkpoints that are chosen by another metric than the one that a configuration must measure."""
    assert any(f"validation.metrics: expected {BEST_BY} among them" in message for _, _, message in BROKEN)
