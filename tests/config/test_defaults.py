"""The defaults of a run."""

from pathlib import Path

from spikejax.config import defaults
from spikejax.config.files import differences, load_config


def test_the_defaults_are_locked_and_fresh() -> None:
    """Catches a typing error that would add a key, and a change of one configuration that reaches the next."""
    config = defaults.get_config()
    assert config.is_locked and config.model.vrt.is_locked
    config.training.steps = 1
    assert defaults.get_config().training.steps != 1


def test_the_defaults_are_a_configuration() -> None:
    """Catches defaults that cannot be trained as they are, but for the place of the data."""
    config = load_config(Path(defaults.__file__))
    assert differences(config, defaults.get_config()) == []


def test_the_defaults_are_the_recipe_of_the_spike_design() -> None:
    """Catches a default that drifts away from the design's recipe."""
    config = defaults.get_config()
    assert (config.seed, config.data.crop, config.data.frames) == (123, 256, 5)
    assert (config.optimizer.kind, config.optimizer.peak_learning_rate) == ("adamw", 2e-4)
    assert (config.loss.charbonnier_epsilon, config.loss.perceptual_weight) == (1e-3, 0.1)
    assert (config.model.spike.bins, config.model.spike.fused_stages) == (32, (1, 2, 3, 4))
