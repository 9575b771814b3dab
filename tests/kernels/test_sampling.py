"""Deformable convolution and warping by kernels, interpreted here, against the plain forms in float64."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from einops import rearrange
from jax import Array

from spikejax.kernels import sampling as kernel
from spikejax.kernels import sampling_tpu_frame
from spikejax.kernels.choice import Choice, Form
from spikejax.kernels.sampling_layout import PART, TAPS, Sampling, of_warp
from spikejax.models import warp as warping
from spikejax.models.alignment import sampling_positions
from spikejax.models.deformable import deformable_convolution
from spikejax.models.warp import pixel_grid, warp, warp_nearest4
from spikejax.planning.compilers import quiet
from spikejax.planning.topology import open_topology
from tests.kernels.comparison import assert_close, cast, with_gradients
from tests.models.parameters import normal

FORMS = ("tpu", "gpu")


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    """The plain form is exact."""
    with jax.enable_x64(True):
        yield


def plain(sampling: Sampling, image: Array, offsets: Array, flows: Array, weights: Array) -> Array:
    """The deformable convolution that the kernels have to compute."""
    position, mask = sampling_positions(offsets, flows, sampling)
    position, mask = (rearrange(x, "b n h w ... -> b n (h w) ...") for x in (position, mask))
    merged = deformable_convolution(image, position, mask, weights)
    return rearrange(merged, "b n (h w) c -> b n h w c", h=image.shape[2])


def by_kernel(form: Form, sampling: Sampling, image: Array, offsets: Array, flows: Array, weights: Array) -> Array:
    """The same by a kernel."""
    height, width = flows.shape[3:5]
    base = pixel_grid(height, width, flows.dtype).reshape(1, 1, 1, height, width, 2) + flows
    offsets = kernel.arrange_offsets(offsets, sampling)
    return kernel.sample(image, offsets, base, weights, sampling, Choice(form, interpret=True))


def arguments(
    sampling: Sampling, height: int, width: int, *, clips: int = 1, targets: int = 1, spread: float = 3.0
) -> tuple[Array, ...]:
    """Image, offsets, flows (whole numbers in the first rows, and some that lead outside) and weights."""
    groups = sampling.sources * sampling.groups
    flows = spread * normal(clips, targets, sampling.sources, height, width, 2, seed=2)
    flows[..., :2, :, :] = np.round(flows[..., :2, :, :])
    fan_in = TAPS * sampling.groups * sampling.channels
    return tuple(
        jnp.asarray(x)
        for x in (
            normal(clips, targets, height, width, groups, sampling.channels),
            normal(clips, targets, height, width, 3 * TAPS * groups, seed=1),
            flows.astype(np.float32).astype(np.float64),
            normal(sampling.sources, fan_in, sampling.outputs, seed=3) * fan_in**-0.5,
        )
    )


def compare(form: Form, sampling: Sampling, given: tuple[Array, ...], dtype: str = "float32") -> None:
    """Compares the results and all gradients; image and weights have the dtype, positions are float32."""
    image, offsets, flows, weights = given
    given = cast((image, weights), dtype)
    image, weights = cast(given, "float64")
    offsets, flows = (x.astype("float32").astype("float64") for x in (offsets, flows))
    expected = with_gradients(partial(plain, sampling), image, offsets, flows, weights)
    ours = with_gradients(
        partial(by_kernel, form, sampling),
        given[0], offsets.astype("float32"), flows.astype("float32"), given[1],
    )  # fmt: skip
    assert_close(ours, expected, dtype)


@pytest.mark.parametrize("form", FORMS)
def test_convolution_and_its_gradients(form: Form) -> None:
    """Catches another group's or source's positions, x for y, a lost mask, zeros that are not outside, wrong slopes."""
    sampling = Sampling(sources=2, groups=2, channels=6, outputs=5, scale=10.0)
    compare(form, sampling, arguments(sampling, 8, 16))


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", ("float32", "bfloat16"))
@pytest.mark.parametrize(
    ("sources", "groups", "channels", "outputs", "scale"),
    [(1, 16, 6, 96, 10.0), (2, 6, 20, 60, 5.0), (1, 3, 32, 96, 1.25)],
)
def test_groups_of_the_networks(
    form: Form, dtype: str, sources: int, groups: int, channels: int, outputs: int, scale: float
) -> None:
    """Catches parts of four, three or two groups that mix, channels that fill no register, samples that are rounded."""
    sampling = Sampling(sources, groups, channels, outputs, scale)
    compare(form, sampling, arguments(sampling, 8, 8), dtype)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_neighbours_that_look_far_apart(form: Form) -> None:
    """Catches a patch that is left out or counted twice: rows and columns that several patches of a tile have."""
    sampling = Sampling(sources=1, groups=1, channels=6, outputs=4, scale=10.0)
    compare(form, sampling, arguments(sampling, 48, 136, spread=40.0))


@pytest.mark.slow
def test_pictures_in_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches samples between two bands that one of them leaves out, and rows counted from another band's first."""
    monkeypatch.setattr(sampling_tpu_frame, "_BAND_BYTES", 6 * 128 * 4 * 20)
    sampling = Sampling(sources=1, groups=1, channels=6, outputs=4, scale=10.0)
    given = arguments(sampling, 44, 8, targets=2, spread=10.0)
    frame = sampling_tpu_frame.make_frame(given[0][0], given[2][0], sampling, interpret=True)
    assert (frame.bands, frame.band_rows) == (3, 20)
    compare("tpu", sampling, given)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("seed", range(4))
def test_any_shape(form: Form, seed: int) -> None:
    """Catches what holds for round numbers alone: odd groups, channels, rows, several clips and targets."""
    random = np.random.default_rng(seed)
    sources, groups, channels, outputs = (int(random.integers(1, limit)) for limit in (4, 6, 9, 9))
    sampling = Sampling(sources, groups, channels, outputs, float(random.choice([1.25, 10.0])))
    height, width = int(random.integers(3, 20)), 8 * int(random.integers(1, 4))
    compare(form, sampling, arguments(sampling, height, width, clips=2, targets=2, spread=float(random.uniform(0, 9))))


@pytest.mark.parametrize("form", FORMS)
def test_positions_without_end(form: Form) -> None:
    """Catches loops that do not end and reads from anywhere, where a flow is no number or infinite."""
    sampling = Sampling(sources=1, groups=1, channels=2, outputs=2, scale=1.25)
    image, offsets, flows, weights = cast(arguments(sampling, 4, 8), "float32")
    for row, value in enumerate((np.nan, np.inf, -np.inf, 1e30)):
        flows = flows.at[0, 0, 0, row].set(value)
    result = by_kernel(form, sampling, image, offsets, flows, weights)
    np.testing.assert_array_equal(result, np.zeros(result.shape))


def of_warping(
    monkeypatch: pytest.MonkeyPatch, function: Callable[..., Array], image: np.ndarray, flow: np.ndarray, dtype: str
) -> None:
    """Compares warping by the kernel with the plain one, gradients included."""
    image = cast(jnp.asarray(image), dtype)
    flow = jnp.asarray(flow).astype("float32")
    expected = with_gradients(function, image.astype("float64"), flow.astype("float64"))
    used = []

    def choose(fits: Any) -> Choice:
        assert fits("tpu")
        used.append("tpu")
        return Choice("tpu", interpret=True)

    monkeypatch.setattr(warping, "choose", choose)
    ours = with_gradients(function, image, flow)
    assert used
    if not np.any(expected[1][1]):  # of nearest4, no gradient reaches the flow
        assert not np.any(ours[1][1])
        expected, ours = ((results, gradients[0]) for results, gradients in (expected, ours))
    assert_close(ours, expected, dtype)


def flow_of(height: int, width: int) -> np.ndarray:
    """A flow that leaves the picture here and there, with whole numbers in it."""
    flow = 4 * normal(2, height, width, 2, seed=5)
    flow[:, 0] = np.round(flow[:, 0])
    return flow


@pytest.mark.parametrize("padding", ("zeros", "border"))
def test_warped_pictures(padding: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches borders that are zero, or zeros that are the border, and the gradient of a flow."""
    of_warping(monkeypatch, partial(warp, padding=padding), normal(2, 6, 8, 3), flow_of(6, 8), "float32")


@pytest.mark.slow
@pytest.mark.parametrize(("channels", "dtype"), ((96, "bfloat16"), (120, "float32"), (10, "float32")))
def test_warped_features(channels: int, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches channels that end in another group's place."""
    of_warping(monkeypatch, warp, normal(2, 8, 8, channels), flow_of(8, 8), dtype)


@pytest.mark.slow
def test_nearest_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches another order of the four, and neighbours that are mixed."""
    of_warping(monkeypatch, warp_nearest4, normal(2, 6, 8, 3), flow_of(6, 8), "float32")


@pytest.mark.parametrize(
    ("form", "topology"),
    [
        pytest.param("tpu", "v5e:1x1", marks=pytest.mark.needs("plan-tpu")),
        pytest.param("gpu", "h100:1", marks=pytest.mark.needs("plan-gpu")),
    ],
)
@pytest.mark.parametrize(
    ("sampling", "size"),
    [
        (Sampling(1, 16, 6, 96, 10.0), (64, 256)),
        (Sampling(2, 6, 20, 60, 1.25), (32, 32)),
        (of_warp(96), (64, 64)),
        (of_warp(3), (32, 64)),
    ],
)
def test_kernels_compile(form: Form, topology: str, sampling: Sampling, size: tuple[int, int]) -> None:
    """Catches what the interpreter lets pass: blocks, slices and types that no such chip has."""
    if not kernel.fits(form, sampling, dtype=jnp.dtype(jnp.bfloat16), rows=size[0], columns=size[1]):
        pytest.skip("GPUs gather for warping")

    def forward_and_backward(dy: Array, *given: Array | None) -> tuple:
        merged, pull = jax.vjp(lambda *given: kernel.sample(*given, sampling, Choice(form)), *given)
        return merged, pull(dy)

    with jax.enable_x64(False), quiet():
        place = jax.sharding.SingleDeviceSharding(open_topology(topology).devices[0])

        def array(*shape: int, dtype: Any = jnp.bfloat16) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct(shape, dtype, sharding=place)

        groups = sampling.sources * sampling.groups
        given = [array(1, 2, *size, groups, sampling.channels), None]
        given += [array(1, 2, sampling.sources, *size, 2, dtype=jnp.float32), None]
        outputs = groups * sampling.channels
        if sampling.scale is not None:
            given[1] = array(1, 2, *size, sampling.parts * PART, dtype=jnp.float32)
            given[3] = array(sampling.sources, TAPS * sampling.groups * sampling.channels, sampling.outputs)
            outputs = sampling.sources * sampling.outputs
        compiled = jax.jit(forward_and_backward).lower(array(1, 2, *size, outputs), *given).compile()
    assert compiled.as_text().count("custom-call") >= 2
