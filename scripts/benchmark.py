"""Speed and memory of the published deblurring network (006) on this machine.

    python scripts/benchmark.py [--json FILE]
    python scripts/benchmark.py --data [--root ROOT] [--json FILE]    (the data's speed instead, see benchmark_data.py)

The forward pass and an update of training, the very programs that `spikejax.train` runs by the published recipe, on a
clip of 6 x 64 x 64. Machines differ and are noisy, so the figure to compare is a ratio of one run: the time of a part
over the time that the forward pass's 540 GFLOP would take at the rate of large float32 matrix products.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikejax.cli import make_parser, run
from spikejax.hardware.allocator import keep_freed_memory

if TYPE_CHECKING:
    from ml_collections import ConfigDict

    from spikejax.training.step import Build

FORWARD_FLOP = 540e9
CLIP = (1, 6, 64, 64, 3)
GEMM_SIZE = 4096
PARTS = ("forward", "train_step")


def measure_gemm() -> float:
    """GFLOP/s of a large float32 matrix product, the best of five."""
    import jax
    import jax.numpy as jnp

    square = jnp.ones((GEMM_SIZE, GEMM_SIZE))
    product = jax.jit(jnp.matmul)
    product(square, square).block_until_ready()
    seconds = min(timed(lambda: product(square, square).block_until_ready()) for _ in range(5))
    return 2 * GEMM_SIZE**3 / seconds / 1e9


def timed(function: Callable[[], Any]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def configuration(remat: str, precision: str = "default") -> "ConfigDict":
    """The published recipe of the network, with one clip of `CLIP` as its batch."""
    from spikejax.config.files import load_config

    _, frames, crop, _, _ = CLIP
    changes: dict[str, Any] = {"data.frames": frames, "data.crop": crop, "data.batch_size": 1}
    changes |= {"model.remat": remat, "model.precision": precision}
    return load_config("vrt:006", [f"--config.{key}={value}" for key, value in changes.items()])


def measure(part: str, config: "ConfigDict", *, repeats: int, build: "Build | None" = None) -> dict[str, float]:
    """Compile time, median seconds and peak bytes of one part, measured in a process of its own for the peak's sake.

    Args:
        part: one of `PARTS`.
        config: what is trained.
        repeats: runs of the part, after a first one that is not counted.
        build: makes the network; None = `spikejax.models.restorer.build_restorer`.
    """
    import jax

    from spikejax.hardware.host import peak_host_bytes
    from spikejax.models.restorer import build_restorer
    from spikejax.training.objective import make_loss
    from spikejax.training.program import describe_program
    from spikejax.training.step import batch_shapes

    program = describe_program(config, build=build or build_restorer, devices=jax.devices()[:1])
    state = program.fresh_state()
    shapes = batch_shapes(config.data, program.network.traits)
    batch = {
        name: jax.random.uniform(jax.random.key(number), shape.shape)
        for number, (name, shape) in enumerate(shapes.items())
    }
    loss = make_loss(config.loss, note=lambda text: None)
    step: Any = program.train_step()
    forward: Any = program.forward()
    if part == "forward":
        lowered = forward.lower(state.params, batch["input"], batch.get("voxels"))
    else:
        lowered = step.lower(state, batch, loss)
    start = time.perf_counter()
    compiled = lowered.compile()
    compile_seconds = time.perf_counter() - start

    seconds = []
    for _ in range(repeats + 1):  # the first run also touches the memory for the first time
        start = time.perf_counter()
        if part == "forward":
            jax.block_until_ready(compiled(state.params, batch["input"], batch.get("voxels")))
        else:
            state, metrics = compiled(state, batch, loss)  # the state given is donated
            jax.block_until_ready((state, metrics))
        seconds.append(time.perf_counter() - start)
        print(f"{part}: {seconds[-1]:.2f} s", file=sys.stderr, flush=True)
    figures = {"gemm_gflops": measure_gemm(), f"{part}_seconds": statistics.median(seconds[1:])}
    bound = FORWARD_FLOP / figures["gemm_gflops"] / 1e9
    return figures | {
        f"{part}_bound_ratio": figures[f"{part}_seconds"] / bound,
        f"{part}_compile_seconds": compile_seconds,
        f"{part}_peak_bytes": peak_host_bytes(),
    }


def main(given: Sequence[str]) -> None:
    """Measures all parts and prints, or writes, the figures.

    Args:
        given: what follows the program's name.
    """
    parser = make_parser(
        "scripts/benchmark.py",
        description="Measures the speed and memory of the published deblurring network (006), or of the data, on this "
        "machine.",
        epilog="The figure to compare between machines is a ratio of one run: the time over the time that the forward "
        "pass's 540 GFLOP would take at the rate of large float32 matrix products.",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each part (default: 3)")
    parser.add_argument("--remat", default="blocks", help="what a training step computes again (default: %(default)s)")
    parser.add_argument(
        "--precision", choices=("highest", "high", "default"), default="default",
        help="of float32 products on TPUs and GPUs (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--part", choices=PARTS, help="measure this part alone")
    parser.add_argument("--data", action="store_true", help="measure the data's way to the training step instead")
    parser.add_argument("--root", type=Path, help="with --data: data set for the loader (default: the embedded one)")
    parser.add_argument("--no-training", action="store_true", help="with --data: leave out the training's wait share")
    arguments = parser.parse_args(given)
    if arguments.data:
        from benchmark_data import measure_data

        figures = measure_data(arguments.root, training=not arguments.no_training)
    elif arguments.part:
        keep_freed_memory()
        figures = measure(
            arguments.part, configuration(arguments.remat, arguments.precision), repeats=arguments.repeats
        )
    else:
        figures = {}
        for part in reversed(PARTS):  # the forward pass last: the rate of products beside it is the one that is kept
            command = [sys.executable, __file__, "--part", part]
            command += [
                "--repeats",
                str(arguments.repeats),
                "--remat",
                arguments.remat,
                "--precision",
                arguments.precision,
            ]
            figures |= json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    text = json.dumps(figures, indent=2, sort_keys=True)
    print(text)
    if arguments.json:
        temporary = arguments.json.with_name(arguments.json.name + ".partial")
        temporary.write_text(text + "\n")
        temporary.replace(arguments.json)


if __name__ == "__main__":
    run(main)
