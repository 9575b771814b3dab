"""What products of float32 arrays are computed in, which is the devices' own matter unless they are told.

    highest   all bits of float32: six bfloat16 passes on TPUs, plain float32 units on GPUs
    high      three bfloat16 passes on TPUs; TensorFloat-32, that is 11 bits, on GPUs
    default   one bfloat16 pass, that is 8 bits, on TPUs; TensorFloat-32 on GPUs

CPUs always use all bits, and products of bfloat16 arrays are as they are. This is JAX's own setting,
`jax.default_matmul_precision`; what is set around a program holds for its gradients as well.
"""

from __future__ import annotations

import argparse

from spikejax.errors import InputError

PRECISIONS = ("highest", "high", "default")


def check_precision(precision: str | None) -> str:
    """The precision itself, None = "highest"; raises InputError if there is none of that name."""
    if precision is None:
        return PRECISIONS[0]
    if precision not in PRECISIONS:
        raise InputError(f"precision: expected one of {', '.join(PRECISIONS)}, found {precision!r}")
    return precision


def add_precision(parser: argparse._ActionsContainer) -> None:
    """Adds --precision: what restores is computed in."""
    parser.add_argument(
        "--precision", choices=PRECISIONS,
        help="of float32 products on TPUs and GPUs, of which `high` and `default` drop bits for speed (default: "
        "highest)",
    )  # fmt: skip
