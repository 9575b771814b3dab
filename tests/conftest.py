"""What holds in every test: checked array shapes, no silent promotion, and a compilation cache between runs.

And which tests are run: those marked `resolver` where that is asked for (`-m resolver`), those marked `needs(...)`
where what they need is installed. Where SPIKEJAX_REQUIRE names it (plan-tpu,chromium) its absence is a failure.
"""

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

# Before anything imports JAX. Compiling is most of the suite's time, so compiled programs are kept between runs.
_CACHE = Path(__file__).parents[1] / ".cache" / "jax"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_CACHE))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")
os.environ.setdefault("JAX_NUMPY_DTYPE_PROMOTION", "strict")
os.environ.setdefault("JAX_NUMPY_RANK_PROMOTION", "raise")

from jaxtyping import install_import_hook  # noqa: E402

# Every annotated type, shape and dtype of the packages is checked at every call; an int may stand for a float, as type
# checkers have it.
install_import_hook(["spikejax", "convert"], "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")

import pytest  # noqa: E402

from spikejax import cli  # noqa: E402
from spikejax.extras import EXTRAS, missing_module  # noqa: E402
from tests.fake_bucket import bucket  # noqa: E402, F401

# A command takes SIGTERM for its process, for good; the process of tests that call one goes on.
cli.end_on_sigterm = lambda: None
# And it ends its process, where theirs goes on.
cli.ProcessEnd = SimpleNamespace

_REQUIRED = {name for name in os.environ.get("SPIKEJAX_REQUIRE", "").split(",") if name}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what asks PyPI, unless the command line's -m speaks of it."""
    if "resolver" in config.option.markexpr:
        return
    left_out = [item for item in items if item.get_closest_marker("resolver")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips a test whose need is not met, or fails it where the need must be met."""
    for marker in item.iter_markers("needs"):
        (thing,) = marker.args
        missing = missing_module(thing) if thing in EXTRAS else None if shutil.which(thing) else thing
        if missing and thing in _REQUIRED:
            pytest.fail(f"expected {missing} to be installed, as SPIKEJAX_REQUIRE names {thing}", pytrace=False)
        if missing:
            pytest.skip(f"needs {thing}")
