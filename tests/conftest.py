"""What holds in every test: checked array shapes, no silent promotion, and a compilation cache between runs."""

import os
from pathlib import Path

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
