"""The files of configs/: their keys, recipes and names."""

from pathlib import Path

import pytest

from spikejax.config.files import load_config
from spikejax.config.keys import KEYS, leaves
from spikejax.config.networks import PUBLISHED, SPIKE_VARIANTS
from spikejax.errors import InputError

CONFIGS = Path(__file__).parents[2] / "configs"
# Of a file that holds several configurations, all of them.
NAMES = {"vrt.py": PUBLISHED, "spike.py": SPIKE_VARIANTS}
FILES = [
    f"{path}{name}"
    for path in sorted(CONFIGS.glob("*.py"))
    if path.name != "__init__.py"
    for name in ([f":{name}" for name in NAMES[path.name]] if path.name in NAMES else [""])
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.rpartition("/")[2])
def test_every_file_has_the_default_keys(path: str) -> None:
    """Catches a config that adds a key of its own, or leaves itself unlocked so that a typing error would add one."""
    config = load_config(path)
    assert config.is_locked
    assert {key for key, _ in leaves(config)} == KEYS.keys()


def test_recipe_of_the_spike_design() -> None:
    """Catches a default that drifts away from the design's recipe."""
    config = load_config(CONFIGS / "spike.py:baseline")
    assert (config.seed, config.data.crop, config.data.frames) == (123, 256, 5)
    assert (config.optimizer.peak_learning_rate, config.optimizer.weight_decay) == (2e-4, 1e-4)
    assert (config.optimizer.kind, config.optimizer.beta1, config.optimizer.beta2) == ("adamw", 0.9, 0.99)
    assert (config.optimizer.warmup_steps, config.optimizer.clip_norm) == (5_000, 1.0)
    assert (config.loss.perceptual_weight, config.optimizer.final_learning_rate) == (0.1, 0.0)
    assert (config.validation.every, config.validation.pictures_every) == (1_000, 10_000)
    assert config.loss.charbonnier_epsilon == 1e-3
    assert config.model.compute_dtype == "bfloat16"
    assert (config.model.spike.bins, config.model.spike.fused_stages) == (32, (1, 2, 3, 4))
    assert (config.model.spike.residual, config.model.vrt.window) == ("features", (5, 8, 8))


def test_recipe_of_vrt() -> None:
    """Catches a published model whose recipe or evaluation is another's, or the spike design's."""
    config = load_config(f"{CONFIGS}/vrt.py:006")
    assert (config.optimizer.peak_learning_rate, config.optimizer.final_learning_rate) == (4e-4, 1e-7)
    assert (config.optimizer.kind, config.optimizer.beta1, config.optimizer.beta2) == ("adam", 0.9, 0.99)
    assert (config.optimizer.warmup_steps, config.optimizer.weight_decay, config.optimizer.clip_norm) == (0, 0.0, 0.0)
    assert (config.optimizer.slow_steps, config.optimizer.slow_factor) == (20_000, 1 / 8)
    assert (config.loss.perceptual_weight, config.model.vrt.drop_path, config.model.compute_dtype) == (
        0,
        0.2,
        "float32",
    )
    assert (config.training.steps, config.data.batch_size) == (300_000, 8)
    assert config.loss.charbonnier_epsilon**2 == pytest.approx(1e-9)
    sizes = {}
    for name in PUBLISHED:
        config = load_config(f"{CONFIGS}/vrt.py:{name}")
        sizes[name] = (config.data.frames, config.data.crop, config.restore.tile, config.restore.overlap)
    assert sizes["001"] == (6, 64, (40, 128, 128), (2, 20, 20))
    assert sizes["002"] == (16, 64, (40, 128, 128), (2, 20, 20))
    assert sizes["003"] == sizes["004"] == (8, 64, (32, 128, 128), (2, 20, 20))
    assert sizes["005"] == sizes["007"] == sizes["008"] == (6, 192, (12, 256, 256), (2, 20, 20))
    assert sizes["006"] == (6, 192, (18, 192, 192), (2, 20, 20))
    assert sizes["009"] == (4, 192, (0, 256, 256), (0, 20, 20))
    of_septuplets = {}
    for name in PUBLISHED:
        config = load_config(f"{CONFIGS}/vrt.py:{name}")
        of_septuplets[name] = (config.data.repeat_last, config.data.reverse_time, config.validation.middle_frame)
    assert of_septuplets.pop("003") == of_septuplets.pop("004") == (1, True, True)
    assert of_septuplets.pop("009") == (0, True, False)
    assert set(of_septuplets.values()) == {(0, False, False)}
    made = [load_config(f"{CONFIGS}/vrt.py:{name}").data.degradation for name in sorted(PUBLISHED)]
    assert made == ["bicubic"] * 3 + ["gaussian"] + ["none"] * 3 + ["noise", "interpolation"]


@pytest.mark.parametrize(
    ("path", "told"),
    [
        (
            "vrt.py",
            'expected ":NAME" behind the file, NAME one of 001, 002, 003, 004, 005, 006, 007, 008, 009; found none',
        ),
        ("vrt.py:010", "one of 001, 002, 003, 004, 005, 006, 007, 008, 009; found '010'"),
        ("quickstart.py:006", 'expected no name, since the file holds one configuration, found ":006"'),
        ("nothing.py:006", "found no file"),
    ],
)
def test_wrong_name_stops(path: str, told: str) -> None:
    """Catches a name that is ignored, and a missing or mistyped one that ends in a traceback."""
    with pytest.raises(InputError) as caught:
        load_config(CONFIGS / path)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
