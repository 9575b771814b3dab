"""Texts of a small compiled program by each JAX that is supported, for a TPU, a GPU and the CPU.

    python -m tests.planning.compiled_texts

writes, with the JAX of the environment, compiled/JAX-CHIP.txt.gz and beside it what is read from it (JAX-CHIP.json).
Run it once per release and look at the numbers before they are committed. It needs the extras plan-tpu and plan-gpu.

The program is a training step in small: a scan over layers whose parameters lie apart over four devices, rows that are
gathered by index (and so added by index in the gradient), and an update in place.
"""

import dataclasses
import gzip
import json
import os
import re
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "compiled"
TOPOLOGIES = {"v5e": "v5e:2x2", "h100": "h100:4", "cpu": "cpu:4"}
LAYERS, WIDTH, ROWS, WORDS = 6, 256, 64, 512


def release(version: str) -> str:
    """The part of a version of JAX that its texts are filed under, such as 0.12."""
    return ".".join(version.split(".")[:2])


def compile_text(topology_name: str) -> str:
    """The text of the program, compiled for the devices of that name."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    from spikejax.planning.topology import open_topology

    mesh = Mesh(np.array(open_topology(topology_name).devices[:4]), ("fsdp",))

    def argument(dims: tuple[int, ...], dtype: Any, *axes: str | None) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(dims, dtype, sharding=NamedSharding(mesh, PartitionSpec(*axes)))

    def loss(weights: jax.Array, table: jax.Array, words: jax.Array, target: jax.Array) -> jax.Array:
        features, _ = jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), table[words], weights)
        return jnp.mean((features - target) ** 2)

    def step(weights: jax.Array, table: jax.Array, words: jax.Array, target: jax.Array) -> tuple[jax.Array, ...]:
        gradients = jax.grad(loss, argnums=(0, 1))(weights, table, words, target)
        return weights - 0.1 * gradients[0], table - 0.1 * gradients[1]

    weights = argument((LAYERS, WIDTH, WIDTH), jnp.float32, None, None, "fsdp")
    table = argument((WORDS, WIDTH), jnp.float32)
    words, target = argument((ROWS,), jnp.int32, "fsdp"), argument((ROWS, WIDTH), jnp.float32, "fsdp")
    program = jax.jit(step, donate_argnums=(0, 1), out_shardings=(weights.sharding, table.sharding))
    text = program.trace(weights, table, words, target).lower().compile().as_text()
    # Newer texts begin with the names of the source's files and functions, which are those of this machine.
    head, _, rest = text.partition("\n")
    return f"{head}\n\n{re.split(r'^(?=%|ENTRY )', rest, maxsplit=1, flags=re.MULTILINE)[1]}"


def read(text: str) -> dict[str, Any]:
    """What planning reads from a text."""
    from spikejax.planning.hlo import parse
    from spikejax.planning.traffic import measure_traffic

    return dataclasses.asdict(measure_traffic(parse(text)))


def main() -> None:
    """Writes the texts of this environment's JAX."""
    os.environ.update(JAX_PLATFORMS="cpu", XLA_FLAGS="--xla_force_host_platform_device_count=4")
    import jax

    FOLDER.mkdir(exist_ok=True)
    for chip, topology_name in TOPOLOGIES.items():
        text = compile_text(topology_name)
        name = f"jax-{release(jax.__version__)}-{chip}"
        (FOLDER / f"{name}.txt.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
        (FOLDER / f"{name}.json").write_text(json.dumps(read(text), indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
