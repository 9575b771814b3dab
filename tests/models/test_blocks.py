"""TMSA blocks, groups of them and stochastic depth."""

import itertools
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import Array

from spikejax.models.blocks import BlockOptions, TMSABlock, TMSAGroup, _drop_path
from spikejax.models.remat import Remat
from tests.models import loops
from tests.models.parameters import build_random, linear, normal, values
from tests.models.quick import quick_jit

FEATURES = 4


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    """The comparisons are exact ones."""
    with jax.enable_x64(True):
        yield


def make_block(*, mutual: bool = False, window: tuple[int, ...] = (2, 4, 4)) -> TMSABlock:
    """A block with random numbers in all its parameters."""
    return build_random(lambda rngs: TMSABlock(FEATURES, BlockOptions(2, window), mutual=mutual, rngs=rngs))


def make_group(depth: int, *, mutual: bool = False, rate: float = 0.0, remat: Remat = "none") -> TMSAGroup:
    """A group with random numbers in all its parameters."""
    rates = tuple(np.linspace(0, rate, depth).tolist())
    options = BlockOptions(2, (2, 4, 4), remat=remat)
    return build_random(lambda rngs: TMSAGroup(FEATURES, options, mutual=mutual, drop_rates=rates, rngs=rngs))


def normed(layer: nnx.Module, x: np.ndarray) -> np.ndarray:
    """What a LayerNorm computes."""
    return loops.layer_norm(x, *values(layer.scale, layer.bias))


def attended_by_loops(block: TMSABlock, x: np.ndarray, shifted: bool) -> np.ndarray:
    """The block's attention of normalised x [b, t, h, w, c]: every window is collected token by token."""
    batch, *size, channels = x.shape
    window = [min(length, extent) for length, extent in zip(size, block.window, strict=True)]
    shift = [
        extent // 2 if shifted and length > extent else 0 for length, extent in zip(size, block.window, strict=True)
    ]
    padded = [-(-length // extent) * extent for length, extent in zip(size, window, strict=True)]
    result = np.zeros((batch, *padded, channels))
    attention = jax.jit(block.attention, static_argnums=1)
    for b, *first in itertools.product(
        range(batch), *(range(0, length, extent) for length, extent in zip(padded, window, strict=True))
    ):
        tokens, indices, regions = [], [], []
        for inside in np.ndindex(*window):
            rolled = [start + step for start, step in zip(first, inside, strict=True)]
            # Position p of the rolled clip holds what stood at p + shift, or at its beginning.
            position = [(p + s) % n for p, s, n in zip(rolled, shift, padded, strict=True)]
            exists = all(p < n for p, n in zip(position, size, strict=True))
            tokens.append(x[(b, *position)] if exists else np.zeros(channels))
            indices.append((b, *position))
            cuts = zip(rolled, padded, window, shift, strict=True)
            regions.append(tuple((p >= n - w) + (p >= n - s) if s else 0 for p, n, w, s in cuts))
        numbers = [sorted(set(regions)).index(region) for region in regions]
        answer = attention(
            jnp.asarray(np.array(tokens)[None, None]), tuple(window), jnp.asarray(np.array(numbers)[None], jnp.int32)
        )
        for index, token in zip(indices, np.asarray(answer[0, 0]), strict=True):
            result[index] = token
    return result[:, : size[0], : size[1], : size[2]]


@pytest.mark.parametrize("shifted", (False, True))
@pytest.mark.parametrize(("mutual", "size"), ((True, (3, 6, 9)), (False, (2, 4, 7)), (False, (3, 3, 4))))
def test_a_block_attends_window_by_window(mutual: bool, size: tuple[int, int, int], shifted: bool) -> None:
    """Catches a roll the wrong way, padding before the norm or at the start, windows larger than the clip."""
    block = make_block(mutual=mutual)
    x = normal(2, *size, FEATURES)
    middle = x + attended_by_loops(block, normed(block.norm1, x), shifted)
    y = normed(block.norm2, middle)
    mlp = block.mlp
    expected = middle + linear(mlp.fc2, loops.gelu(linear(mlp.fc11, y)) * linear(mlp.fc12, y))
    answer = jax.jit(lambda x: block(x, shifted=shifted))(jnp.asarray(x))
    np.testing.assert_allclose(answer, expected, atol=1e-11)


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "mutual"), ((1, False), (2, True), (3, True), (4, False)))
def test_a_group_is_its_blocks_one_by_one(depth: int, mutual: bool) -> None:
    """Catches a block left out or applied twice in a scan of odd or even depth, and shifts that do not alternate."""
    group = make_group(depth, mutual=mutual)
    x = jnp.asarray(normal(2, 3, 6, 9, FEATURES))
    assert group.blocks is not None
    definition, stacked = nnx.split(group.blocks)

    @jax.jit
    def one_by_one(x: Array) -> Array:
        for number in range(depth):
            block = nnx.merge(definition, jax.tree.map(lambda leaf, number=number: leaf[number], stacked))
            x = block(x, shifted=number % 2 == 1)
        return x

    np.testing.assert_allclose(jax.jit(group)(x), one_by_one(x), atol=1e-12)


@pytest.mark.slow
def test_rematerialisation_changes_nothing() -> None:
    """Catches recomputation that differs from the first one: another key for stochastic depth, another shift."""
    x, key = jnp.asarray(normal(4, 3, 6, 6, FEATURES)), jax.random.key(3)

    def answers(remat: Remat) -> tuple:
        definition, parameters = nnx.split(make_group(2, mutual=True, rate=0.5, remat=remat))

        def loss(parameters: nnx.State, x: Array) -> Array:
            return jnp.square(nnx.merge(definition, parameters)(x, key=key)).sum()

        return quick_jit(jax.value_and_grad(loss, argnums=(0, 1)))(parameters, x)

    plain = answers("none")
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(plain))
    for remat in ("blocks", "everything"):
        for a, b in zip(jax.tree.leaves(answers(remat)), jax.tree.leaves(plain), strict=True):
            # The gradients of parameters are float32.
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-5)


def test_a_clip_does_not_see_the_rest_of_its_batch() -> None:
    """Catches windows that mix clips, or a mask of another clip's windows."""
    group = jax.jit(make_group(2, mutual=True))
    x = normal(3, 3, 6, 5, FEATURES)
    changed = x.copy()
    changed[1] += 1
    a, b = (np.asarray(group(jnp.asarray(clips))) for clips in (x, changed))
    np.testing.assert_array_equal(a[[0, 2]], b[[0, 2]])
    assert np.abs(a[1] - b[1]).min() > 0


def test_a_group_without_blocks_is_the_identity() -> None:
    """Catches a stage of one block, whose groups get none and one, that cannot be built."""
    x = jnp.asarray(normal(1, 2, 4, 4, FEATURES))
    assert make_group(0)(x) is x


# Stochastic depth


def test_without_a_key_nothing_is_random() -> None:
    """Catches dropping at test time: rates of almost 1 must change nothing."""
    x = jnp.asarray(normal(2, 2, 4, 4, FEATURES))
    dropping, keeping = make_group(2, rate=0.999), make_group(2)
    run: Callable[[TMSAGroup], Array] = jax.jit(lambda group: group(x))
    assert jnp.array_equal(run(dropping), run(keeping))


@pytest.mark.slow
def test_a_high_rate_drops_both_branches_of_whole_clips() -> None:
    """Catches dropping of single tokens or of one branch only, and what is kept being scaled wrongly."""
    block = make_block()
    x = jnp.asarray(normal(64, 2, 4, 4, FEATURES))

    @jax.jit
    def run(rate: Array, key: Array | None) -> Array:
        return block(x, shifted=False, drop_rate=rate, key=key)

    assert jnp.array_equal(run(jnp.float32(0.999999), jax.random.key(0)), x)
    # A rate of 0 keeps everything, at its size; XLA may order the sums of the two programs differently.
    np.testing.assert_allclose(run(jnp.float32(0), jax.random.key(0)), run(jnp.float32(0), None), atol=1e-12)
    halves = np.asarray(run(jnp.float32(0.5), jax.random.key(0)))
    unchanged = [np.array_equal(a, b) for a, b in zip(halves, x, strict=True)]
    # Both branches are dropped together for a quarter of the clips: 16 of 64, with a deviation of 3.5.
    assert 5 <= sum(unchanged) <= 27


def test_dropping_keeps_the_expectation() -> None:
    """Catches what is kept not being grown by 1 / (1 - rate), or grown by 1 / rate."""
    rate, count = 0.3, 20000
    x = jnp.ones((count, 1, 1, 1, 2), jnp.float32)
    dropped = np.asarray(_drop_path(x, jnp.float32(rate), jax.random.key(0)))
    np.testing.assert_allclose(np.unique(dropped), [0, 1 / (1 - rate)], rtol=1e-6)
    # One number for all of a clip.
    np.testing.assert_array_equal(dropped[..., 0], dropped[..., 1])
    # Four standard deviations of the mean.
    assert abs(dropped.mean() - 1) < 4 * (rate / (1 - rate) / count) ** 0.5


def test_every_block_draws_for_itself() -> None:
    """Catches one key for all blocks of a scan: they would be dropped together or not at all."""
    group = make_group(2, rate=0.5)
    group.drop_rates = (0.5, 0.5)
    x = jnp.asarray(normal(64, 2, 4, 4, FEATURES))
    answers = np.asarray(jax.jit(group)(x, key=jax.random.key(1)))
    unchanged = [np.array_equal(a, b) for a, b in zip(answers, x, strict=True)]
    # Four branches are dropped at once for one in 16 clips, but for one in 4 if two blocks shared their keys.
    assert 1 <= sum(unchanged) <= 10
