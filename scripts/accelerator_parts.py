"""The parts of scripts/accelerator.py: each measures one thing on the devices of JAX and says it in rows of a table.

A part is a function of `Options` that yields rows, so that what was measured before something fails is kept. A row is a
mapping of columns to numbers and words. Each part runs in a process of its own.
"""

import importlib.util
import json
import math
import os
import statistics
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden"
# Super-resolution's hold these rows and columns.
KEPT = slice(104, 152)
NETWORKS = ("tiny_deblur", "tiny_spike", "tiny_deblur_padded_windows", "tiny_denoise", "tiny_interp", "tiny_sr_pa4")
PRECISIONS = ("highest", "high", "default")
PACKAGES = ("jax", "jaxlib", "flax", "numpy", "optax", "libtpu", "jax-cuda12-plugin", "jax-cuda13-plugin")

Row = dict[str, Any]


@dataclass(frozen=True)
class Options:
    """What all parts are told.

    Attributes:
        quick: whether a small example of everything is enough.
        cache: folder of compiled programs, empty when the first part begins.
    """

    quick: bool
    cache: str

    @property
    def repeats(self) -> int:
        """Runs of what is timed, after one that is not counted."""
        return 2 if self.quick else 10


def environment(options: Options) -> Iterator[Row]:
    """Versions and devices."""
    for name in PACKAGES:
        try:
            yield {"what": name, "is": version(name)}
        except PackageNotFoundError:
            continue
    device = jax.devices()[0]
    yield {"what": "platform", "is": f"{device.platform}, {getattr(device.client, 'platform_version', '')}".strip(", ")}
    yield {"what": "devices", "is": f"{len(jax.devices())} of {device.device_kind}"}
    yield {"what": "XLA_FLAGS", "is": os.environ.get("XLA_FLAGS", "")}


# ---------------------------------------------------------------------------------------------------------- goldens


def goldens(options: Options) -> Iterator[Row]:
    """Each golden network's error in float32, of its range and of PyTorch's own, at each precision of products."""
    for name in NETWORKS[:1] if options.quick else NETWORKS:
        golden = read_golden(name)
        for precision in PRECISIONS[:1] if options.quick else PRECISIONS:
            with jax.default_matmul_precision(precision):
                error = golden.error(jax.jit(golden.forward)(*golden.inputs))
            yield {
                "network": name,
                "precision": precision,
                "largest error of range": error.max() / np.ptp(golden.truth),
                "mean error of PyTorch's": error.mean() / golden.error_of_pytorch.mean(),
            }


@dataclass(frozen=True)
class GoldenNetwork:
    """A golden network with its answers.

    Attributes:
        graph: of the network.
        inputs: its parameters, clip and voxels.
        truth: the published answer in float64.
        error_of_pytorch: of the published answer in float32.
    """

    graph: Any
    inputs: tuple
    truth: np.ndarray
    error_of_pytorch: np.ndarray

    def forward(self, parameters: Any, *inputs: Any) -> Any:
        """The network's answer."""
        return nnx.merge(self.graph, parameters)(*inputs)

    def error(self, answer: Any) -> np.ndarray:
        """The error of such an answer, where the golden holds one."""
        restored = np.moveaxis(np.asarray(answer), -1, 2)
        cropped = self.truth.shape[-1] == KEPT.stop - KEPT.start != restored.shape[-1]
        return np.abs((restored[..., KEPT, KEPT] if cropped else restored) - self.truth)


def read_golden(name: str) -> GoldenNetwork:
    """A golden network with its answers."""
    from convert.convertible_networks import parameter_shapes, restorer_rules
    from convert.rules import find_counterparts
    from convert.transfer import from_torch
    from convert.vrt_keys import attention_buffers

    manifest = json.loads((GOLDEN / "manifests" / f"{name}.json").read_text())
    model, weights = _abstract_model(manifest), _load_file(GOLDEN / "weights.py")
    counterparts = find_counterparts(parameter_shapes(model), restorer_rules(model))
    arrays = weights.make_state_dict(manifest["shapes"])
    filled = from_torch(counterparts, arrays, buffers=attention_buffers(model, counterparts), network=name)
    state = nnx.to_flat_state(nnx.state(model, nnx.Param))
    parameters = nnx.from_flat_state([(path, leaf.replace(filled[".".join(map(str, path))])) for path, leaf in state])
    video = weights.make_video(manifest.get("input_name", name), tuple(manifest.get("input_shape", (1, 5, 3, 64, 64))))
    voxels = None
    if "spike" in manifest:
        random = np.random.Generator(np.random.PCG64(zlib.crc32(f"{name}/vox".encode())))
        counts = random.poisson(2.0, (1, 5, manifest["spike"]["bins"], 64, 64))
        voxels = jnp.asarray(np.moveaxis(np.log1p(counts.astype(np.float32)), 2, -1))
    with np.load(GOLDEN / f"{name}.npz") as answers:
        crop = "_crop" if "output_float64_crop" in answers else ""
        truth, theirs = (answers[f"output_{dtype}{crop}"] for dtype in ("float64", "float32"))
    inputs = (parameters, jnp.asarray(np.moveaxis(video, 2, -1)), voxels)
    return GoldenNetwork(nnx.split(model)[0], inputs, truth, np.abs(theirs - truth))


def _abstract_model(manifest: Mapping[str, Any]) -> Any:
    """The network of a manifest, as shapes alone."""
    from spikejax.models.fusion import SpikeBranchConfig
    from spikejax.models.restorer import Restorer
    from spikejax.models.rngs import make_rngs
    from spikejax.models.vrt import VRTConfig

    config, spike = manifest["config"], None
    vrt = VRTConfig(
        upscale=config["upscale"],
        window=tuple(config["window_size"]),
        depths=tuple(config["depths"]),
        dims=tuple(config["embed_dims"]),
        heads=tuple(config["num_heads"]),
        independent=tuple(config["indep_reconsts"]),
        warp_frames=config["pa_frames"],
        deformable_groups=config.get("deformable_groups", 1),
        noise_map=config.get("nonblind_denoising", False),
    )
    if "spike" in manifest:
        of_spikes = manifest["spike"]
        channels = tuple(of_spikes["channels_per_scale"])
        spike = SpikeBranchConfig(
            bins=of_spikes["bins"], channels=channels, heads=of_spikes["heads"], residual=of_spikes["residual"]
        )
    return nnx.eval_shape(lambda: Restorer(vrt, spike, rngs=make_rngs(0)))


def _load_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---------------------------------------------------------------------------------------------------------- kernels


@dataclass(frozen=True)
class Operation:
    """An operation of the networks that kernels take the place of.

    Attributes:
        kernel: the module of `spikejax.kernels` behind it.
        build: makes the layer, and its inputs for a number of pictures' rows, from random numbers.
    """

    kernel: str
    build: Callable[[int, np.random.Generator], tuple[nnx.Module, tuple[np.ndarray, ...]]]


def _attention(features: int, window: tuple[int, int, int], *, mutual: bool) -> Callable:
    """A layer of attention, shifted, of all windows of a clip whose frames have so many rows and columns."""
    from spikejax.models.attention import WindowAttention, window_regions
    from spikejax.models.rngs import make_rngs

    def build(rows: int, random: np.random.Generator) -> tuple[nnx.Module, tuple[np.ndarray, ...]]:
        layer = WindowAttention(features, heads=6, window=window, mutual=mutual, rngs=make_rngs(0))
        size = (window[0] * (2 if mutual else 1), rows, rows)
        regions = window_regions(size, window, (0, window[1] // 2, window[2] // 2))
        assert regions is not None
        x = random.normal(size=(1, *regions.shape, features))

        class Shifted(nnx.Module):
            def __init__(self) -> None:
                self.layer = layer

            def __call__(self, x: Any) -> Any:
                return self.layer(x, window, jnp.asarray(regions, jnp.int32))

        return Shifted(), (x,)

    return build


def _sampling(rows: int, random: np.random.Generator) -> tuple[nnx.Module, tuple[np.ndarray, ...]]:
    """The deformable alignment of stage 1 with its offset convolutions, by flows of some pixels."""
    from spikejax.models.alignment import DeformableAlignment, WarpingOptions
    from spikejax.models.rngs import make_rngs

    layer = DeformableAlignment(96, WarpingOptions(sources=1, groups=16, scale=1), rngs=make_rngs(0))
    sources, target = random.normal(size=(1, 4, 1, rows, rows, 96)), random.normal(size=(1, 4, rows, rows, 96))
    return layer, (sources, target, 2 * random.normal(size=(1, 4, 1, rows, rows, 2)))


def _over_time(rows: int, random: np.random.Generator) -> tuple[nnx.Module, tuple[np.ndarray, ...]]:
    """The attention over time of the spikes' features at full size."""
    from spikejax.models.rngs import make_rngs
    from spikejax.models.temporal import SpikeTemporalSA

    rows = max(rows, 16)
    return SpikeTemporalSA(96, heads=6, rngs=make_rngs(0)), (random.normal(size=(1, 5, rows, rows, 96)),)


def _fusion(rows: int, random: np.random.Generator) -> tuple[nnx.Module, tuple[np.ndarray, ...]]:
    """The fusion of stage 1."""
    from spikejax.models.rngs import make_rngs
    from spikejax.models.temporal import TemporalCrossAttnFuse

    rows = max(rows, 16)
    layer = TemporalCrossAttnFuse(96, heads=6, residual="features", rngs=make_rngs(0))
    return layer, tuple(random.normal(size=(2, 1, 5, rows, rows, 96)))


def _half_block(window: tuple[int, int, int], *, mutual: bool) -> Callable[..., tuple[nnx.Module, tuple]]:
    """The first half of a block of stage 1, shifted: norm, windows, projections and attention."""
    from spikejax.models.blocks import BlockOptions, TMSABlock
    from spikejax.models.rngs import make_rngs

    def build(rows: int, random: np.random.Generator) -> tuple[nnx.Module, tuple[np.ndarray, ...]]:
        class FirstHalf(nnx.Module):
            def __init__(self) -> None:
                self.block = TMSABlock(96, BlockOptions(heads=6, window=window), mutual=mutual, rngs=make_rngs(0))
                del self.block.norm2, self.block.mlp

            def __call__(self, x: Any) -> Any:
                return self.block.add_attention(x, jnp.asarray(True))

        return FirstHalf(), (random.normal(size=(1, 5, max(rows, 16), max(rows, 16), 96)),)

    return build


def _norm_and_mlp(rows: int, random: np.random.Generator) -> tuple[nnx.Module, tuple[np.ndarray, ...]]:
    """The second half of a block of stage 1."""
    from spikejax.models.blocks import BlockOptions, TMSABlock
    from spikejax.models.rngs import make_rngs

    class SecondHalf(nnx.Module):
        def __init__(self) -> None:
            options = BlockOptions(heads=6, window=(2, 8, 8))
            self.block = TMSABlock(96, options, mutual=False, rngs=make_rngs(0))
            del self.block.norm1, self.block.attention

        def __call__(self, x: Any) -> Any:
            return self.block.add_mlp(x)

    return SecondHalf(), (random.normal(size=(1, 5, max(rows, 16), max(rows, 16), 96)),)


def _convolution(rows: int, random: np.random.Generator) -> tuple[nnx.Module, tuple[np.ndarray, ...]]:
    """A convolution of the spike encoder at full size."""
    from spikejax.models.layers import Conv3D
    from spikejax.models.rngs import make_rngs

    rows = max(rows, 16)
    return Conv3D(96, 96, rngs=make_rngs(0)), (random.normal(size=(1, 5, rows, rows, 96)),)


def operations() -> dict[str, Operation]:
    """What is compared and timed, by name; every operation with a kernel has one."""
    return {
        "window attention, self, 5x8x8": Operation("window_attention", _attention(96, (5, 8, 8), mutual=False)),
        "window attention, mutual, 2x8x8": Operation("window_attention", _attention(96, (2, 8, 8), mutual=True)),
        "window attention, 20 features": Operation("window_attention", _attention(120, (1, 8, 8), mutual=False)),
        "deformable alignment": Operation("sampling", _sampling),
        "attention over time": Operation("over_time", _over_time),
        "fusion": Operation("over_time", _fusion),
        "half a block, self, 5x8x8": Operation("windows", _half_block((6, 8, 8), mutual=False)),
        "half a block, mutual, 2x8x8": Operation("windows", _half_block((2, 8, 8), mutual=True)),
        "norm and gated MLP": Operation("gated_mlp", _norm_and_mlp),
        "3-D convolution": Operation("convolution_3d", _convolution),
    }


def kernels(options: Options) -> Iterator[Row]:
    """Each operation by kernel and plain: errors against the plain form in float64 on the CPU, and times."""
    known: set[str] = set()
    for name, operation in operations().items():
        if options.quick and operation.kernel in known:
            continue  # one of each kernel
        known.add(operation.kernel)
        small = operation.build(8 if options.quick else 32, np.random.default_rng(0))
        truth = _run(*small, "float64", "plain", device=jax.local_devices(backend="cpu")[0])[0]
        for dtype in ("float32",) if options.quick else ("float32", "bfloat16"):
            for form in ("plain", "kernel"):
                results, program = _run(*small, dtype, form)
                row: Row = {"operation": name, "dtype": dtype, "form": form}
                if form == "kernel" and not program["kernels"]:
                    yield row | {"error": "no kernel for it here"}
                    continue
                errors = [_error(ours, exact) for ours, exact in zip(results, truth, strict=True)]
                row |= {"forward error of range": errors[0], "gradients' error of range": max(errors[1:])}
                if not options.quick:
                    row |= _timed_operation(operation, dtype, form, options)
                yield row


def _timed_operation(operation: Operation, dtype: str, form: str, options: Options) -> Row:
    """Times at the networks' own size, 256 x 256, with the rates of products and of what has to be read and written."""
    layer, inputs = operation.build(256, np.random.default_rng(0))
    row: Row = {}
    for part, passes in (("forward", 1), ("forward and backward", 3)):
        program = _program(layer, inputs, dtype, form, backward=passes > 1)
        seconds = _median_seconds(program["run"], options.repeats)
        row |= {
            f"{part} ms": 1e3 * seconds,
            f"{part} TFLOP/s": passes * program["flops"] / seconds / 1e12,
            f"{part} GB/s": program["bytes"] / seconds / 1e9,
        }
    return row


def _run(layer: nnx.Module, inputs: tuple, dtype: str, form: str, device: Any = None) -> tuple[list, Row]:
    """The results and all gradients of a layer in one dtype and form, and what is known of the program."""
    program = _program(layer, inputs, dtype, form, backward=True, device=device)
    return [np.asarray(x, np.float64) for x in jax.tree.leaves(program["run"]())], program


def _program(
    layer: nnx.Module, inputs: tuple, dtype: str, form: str, *, backward: bool, device: Any = None
) -> dict[str, Any]:
    """A compiled layer: how it is run, whether kernels are in it, and its forward products and least traffic."""
    from spikejax.hardware.flops import count_flops
    from spikejax.kernels.choice import Target, trace_for, use_kernels

    platform = jax.default_backend() if device is None else device.platform
    graph, parameters = nnx.split(layer)
    with ExitStack() as contexts:
        contexts.enter_context(jax.enable_x64(dtype == "float64"))
        contexts.enter_context(jax.default_matmul_precision("highest" if dtype != "bfloat16" else "default"))
        contexts.enter_context(trace_for(Target(platform)))
        contexts.enter_context(use_kernels("plain" if form == "plain" else "pallas"))
        wide = "float64" if dtype == "float64" else "float32"
        # Flows and parameters stay float32 in bfloat16, as in the networks.
        cast = [jnp.asarray(x, wide if x.shape[-1] == 2 else dtype) for x in inputs]
        parameters = jax.tree.map(lambda x: jnp.asarray(np.asarray(x), wide), parameters)
        arguments = jax.device_put((parameters, *cast), device or jax.devices()[0])

        def forward(parameters: Any, *inputs: Any) -> Any:
            return nnx.merge(graph, parameters)(*inputs)

        def with_gradients(*arguments: Any) -> Any:
            y, pull = jax.vjp(forward, *arguments)
            return y, pull(jnp.cos(jnp.arange(y.size, dtype=wide)).reshape(y.shape).astype(y.dtype))

        jitted = jax.jit(with_gradients if backward else forward)
        text = str(jax.make_jaxpr(jitted)(*arguments))
        with use_kernels("plain"):
            flops = count_flops(jax.make_jaxpr(forward)(*arguments), platform=platform)
        compiled = jitted.lower(*arguments).compile()
        results = jax.eval_shape(jitted, *arguments)
    moved = sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves((arguments, results)))

    def run() -> Any:
        return jax.block_until_ready(compiled(*arguments))

    return {"run": run, "kernels": "pallas_call" in text, "flops": flops, "bytes": moved}


def _error(ours: np.ndarray, exact: np.ndarray) -> float:
    return float(np.abs(ours - exact).max() / max(np.abs(exact).max(), 1e-30))


def _median_seconds(run: Callable[[], Any], repeats: int) -> float:
    run()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


# --------------------------------------------------------------------------------------------------------- networks


def deblurring(options: Options) -> Iterator[Row]:
    """Forward pass and update of vrt:006."""
    if options.quick:  # of the quick start's network the update is measured once, below
        yield from _network("quickstart", options, parts=("forward",))
    else:
        yield from _network("vrt:006", options)


def spikes(options: Options) -> Iterator[Row]:
    """Forward pass and update of spike:baseline."""
    yield from _network("quickstart" if options.quick else "spike:baseline", options)


def _network(name: str, options: Options, *, parts: Sequence[str] = ("forward", "update")) -> Iterator[Row]:
    # The plain form of the whole network is compiled last: where it takes too long, the rest is there.
    for form in ("auto",) if options.quick else ("auto", "plain"):
        for part in parts:
            row: Row = {"network": name, "kernels": form, "part": part}
            try:
                yield row | _measure_network(_configuration(name, form, options), part, options)
            except Exception as error:  # one form that does not compile or fit says nothing of the others
                yield row | {"error": f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}"}


def _configuration(name: str, form: str, options: Options) -> Any:
    """The network's own configuration; a full one with a clip of 5 x 256 x 256 in bfloat16, recomputed in blocks."""
    from spikejax.config.files import load_config

    changes: dict[str, Any] = {"model.kernels": form, "loss.perceptual_weight": 0.0}
    if name == "quickstart":
        changes |= {"data.batch_size": 1} if options.quick else {}
    else:
        changes |= {"data.frames": 5, "data.crop": 256, "data.batch_size": 1, "model.remat": "everything"}
        changes |= {"model.compute_dtype": "bfloat16"}
    return load_config(name, [f"--config.{key}={value}" for key, value in changes.items()])


def _start(config: Any) -> tuple[Any, Any, dict[str, jax.Array], Any]:
    """The program of a configuration, its first state, a random batch and its loss."""
    from spikejax.training.objective import make_loss
    from spikejax.training.program import describe_program
    from spikejax.training.step import batch_shapes

    program = describe_program(config, devices=jax.devices()[:1])
    return (
        program,
        program.fresh_state(),
        _random_batch(batch_shapes(config.data, program.network.traits), 0),
        (make_loss(config.loss, note=lambda text: None)),
    )


def _random_batch(shapes: Mapping[str, Any], seed: int) -> dict[str, jax.Array]:
    random = np.random.default_rng(seed)
    return {name: jnp.asarray(random.random(shape.shape), shape.dtype) for name, shape in shapes.items()}


def _measure_network(config: Any, part: str, options: Options) -> Row:
    """Compile time without and with the cache, time, MFU and memory of a forward pass or an update."""
    from spikejax.hardware.chips import chip_of
    from spikejax.hardware.flops import BACKWARD_AND_FORWARD, count_flops
    from spikejax.hardware.host import peak_host_bytes

    device = jax.devices()[0]
    program, state, batch, loss = _start(config)
    forward: Any = program.forward()
    inputs = batch["input"], batch.get("voxels")

    def lower() -> Any:
        step: Any = program.train_step()
        return step.lower(state, batch, loss) if part == "update" else forward.lower(state.params, *inputs)

    row: Row = {}
    for kind in ("cold", "warm"):
        jax.clear_caches()
        lowered, start = lower(), time.perf_counter()
        compiled = lowered.compile()
        row[f"compile s, {kind}"] = time.perf_counter() - start
    flops = count_flops(jax.make_jaxpr(forward)(state.params, *inputs), platform=device.platform)
    flops *= BACKWARD_AND_FORWARD if part == "update" else 1

    def run() -> None:
        nonlocal state
        if part == "update":
            state, metrics = compiled(state, batch, loss)  # the state given is donated
            jax.block_until_ready((state, metrics))
        else:
            jax.block_until_ready(compiled(state.params, *inputs))

    seconds = _median_seconds(run, options.repeats)
    chip, analysis = chip_of(device), compiled.memory_analysis()
    planned = analysis.argument_size_in_bytes + analysis.output_size_in_bytes - analysis.alias_size_in_bytes
    planned += analysis.temp_size_in_bytes + analysis.generated_code_size_in_bytes
    peak = (device.memory_stats() or {}).get("peak_bytes_in_use", peak_host_bytes())
    row |= {"ms": 1e3 * seconds, "TFLOP/s": flops / seconds / 1e12}
    row |= {"MFU": flops / seconds / chip.flops(config.model.compute_dtype)} if chip else {}
    return row | {"peak GB": peak / 1e9, "planned GB": planned / 1e9}


def repeatable(options: Options) -> Iterator[Row]:
    """Whether the same update of the same state gives the same bits twice."""
    for form in ("auto",) if options.quick else ("auto", "plain"):
        config = _configuration("quickstart", form, options)
        config.training.deterministic = form == "plain"  # kernels cannot be told to
        program, state, batch, loss = _start(config)
        step: Any = program.train_step()
        copies = [jax.tree.map(jnp.copy, state) for _ in range(2)]
        first, second = (jax.tree.leaves(step(copy, batch, loss)[0].params) for copy in copies)
        differing = [float(jnp.abs(a - b).max()) for a, b in zip(first, second, strict=True) if bool((a != b).any())]
        yield {
            "kernels": form,
            "same bits": not differing,
            "arrays that differ": f"{len(differing)} of {len(first)}",
            "largest difference": max(differing, default=0.0),
        }


def updates(options: Options) -> Iterator[Row]:
    """The loss of updates of the quick start's network on seeded random batches."""
    from spikejax.training.step import batch_shapes

    config = _configuration("quickstart", "auto", options)
    program, state, _, loss = _start(config)
    step: Any = program.train_step()
    shapes = batch_shapes(config.data, program.network.traits)
    for number in range(3 if options.quick else 20):
        state, metrics = step(state, _random_batch(shapes, number), loss)
        yield {"update": number + 1, "loss": float(metrics["loss"])}


# In the order in which they are run: what says most in the least time first.
PARTS: dict[str, Callable[[Options], Iterator[Row]]] = {
    "environment": environment,
    "kernels": kernels,
    "goldens": goldens,
    "repeatable": repeatable,
    "updates": updates,
    "spike network": spikes,
    "deblurring network": deblurring,
}


def run_part(name: str, options: Options, output: Path) -> None:
    """Writes the rows of a part to `output`, one a line, each as soon as it is known."""
    sys.path.insert(0, str(ROOT))
    jax.config.update("jax_compilation_cache_dir", options.cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    with output.open("w") as file:
        for row in PARTS[name](options):
            plain = {key: value.item() if hasattr(value, "item") else value for key, value in row.items()}
            print(json.dumps(plain), file=file, flush=True)
