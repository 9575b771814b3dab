"""What only a chip can tell: errors, speed, memory and repeatability of this package on the devices that JAX finds.

    python scripts/accelerator.py [--quick] --output FILE.json

Beside FILE.json it writes FILE.md, the same as tables, after every part. Needs JAX, Flax, NumPy, einops, jaxtyping,
optax and ml-collections, and a checkout: the goldens come from tests/. Each part runs in a process of its own, so that
one that fails, runs out of memory or takes too long leaves its error in the table and the others go on.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from spikejax.cli import make_parser, run  # noqa: E402, the checkout need not be installed
from spikejax.errors import InputError  # noqa: E402
from spikejax.io.json_files import write_json  # noqa: E402

# In the order in which they run, with the share of the time that each may take at most.
PARTS = {
    "environment": 0.2,
    "kernels": 0.5,
    "goldens": 0.4,
    "repeatable": 0.4,
    "updates": 0.4,
    "spike network": 0.5,
    "deblurring network": 0.5,
}


def measure(part: str, *, quick: bool, seconds: float, cache: Path) -> dict[str, Any]:
    """The rows of a part, how long it took, and the error that ended it, if one did.

    Args:
        part: one of `PARTS`.
        quick: whether a small example of everything is enough.
        seconds: after which it is ended.
        cache: folder for compiled programs.
    """
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        rows, said = Path(folder) / "rows", Path(folder) / "said"
        command = [sys.executable, str(Path(__file__).resolve()), "--part", part, "--output", str(rows)]
        command += ["--cache", str(cache), *(["--quick"] if quick else [])]
        with said.open("wb") as stderr:
            try:
                code = subprocess.run(command, stdout=stderr, stderr=stderr, timeout=seconds, check=False).returncode
                error = "" if code == 0 else _last_line(said) or f"ended with {code}"
            except subprocess.TimeoutExpired:
                error = f"ended after {seconds:.0f} s"
        lines = rows.read_text().splitlines() if rows.exists() else []
    result: dict[str, Any] = {"seconds": round(time.monotonic() - start, 1), "rows": _whole_rows(lines)}
    return result | ({"error": error} if error else {})


def _whole_rows(lines: Sequence[str]) -> list[dict[str, Any]]:
    """The rows; one that a process was killed in the middle of is left out."""
    rows = []
    for line in lines:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def _last_line(path: Path) -> str:
    lines = [line.strip() for line in path.read_text(errors="replace").splitlines() if line.strip()]
    # JAX ends its tracebacks with a note about frames that it has left out.
    errors = [line for line in lines if ("Error" in line or "error" in line) and not line.startswith(("File", "raise"))]
    return (errors or lines or [""])[-1][:300]


def as_markdown(results: dict[str, Any]) -> str:
    """All parts as tables."""
    text = [f"Measured {results['date']}{', quick' if results['quick'] else ''}.\n"]
    for part, result in results["parts"].items():
        text.append(f"## {part.capitalize()} ({result['seconds']} s)\n")
        columns = list(dict.fromkeys(column for row in result["rows"] for column in row))
        if columns:
            text += [_line(columns), _line(["---"] * len(columns))]
            text += [_line([_cell(row.get(column, "")) for column in columns]) for row in result["rows"]]
            text.append("")
        if "error" in result:
            text.append(f"Error: {result['error']}\n")
    return "\n".join(text)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, float) else str(value).replace("|", "\\|").replace("\n", " ")


def main(given: Sequence[str]) -> None:
    """Measures all parts.

    Args:
        given: what follows the program's name.
    """
    parser = make_parser("scripts/accelerator.py", description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.json", help="what is written, with FILE.md")
    parser.add_argument("--quick", action="store_true", help="a small example of everything, also for CPUs")
    parser.add_argument("--minutes", type=float, default=8, help="after which no more is begun (default: %(default)s)")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--cache", help=argparse.SUPPRESS)
    arguments = parser.parse_args(given)
    if arguments.part:
        from accelerator_parts import Options, run_part

        return run_part(arguments.part, Options(arguments.quick, arguments.cache), arguments.output)
    if arguments.output.suffix != ".json":
        raise InputError(f"--output: expected a name that ends in .json, found: {arguments.output}")
    if not arguments.minutes > 0:
        raise InputError(f"--minutes: expected more than 0, found: {arguments.minutes}")
    end = time.monotonic() + 60 * arguments.minutes
    results: dict[str, Any] = {"date": time.strftime("%Y-%m-%d"), "quick": arguments.quick, "parts": {}}
    with tempfile.TemporaryDirectory() as cache:
        for part, share in PARTS.items():
            left = end - time.monotonic()
            if left > 0:
                seconds = min(left, share * 60 * arguments.minutes)
                result = measure(part, quick=arguments.quick, seconds=seconds, cache=Path(cache))
            else:
                result = {"seconds": 0, "rows": [], "error": "left out, since the time was over"}
            results["parts"][part] = result
            print(f"{part}: {result['seconds']} s{': ' + result['error'] if 'error' in result else ''}", flush=True)
            write_json(arguments.output, results)
            arguments.output.with_suffix(".md").write_text(as_markdown(results))
    print(as_markdown(results))


if __name__ == "__main__":
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # the peak is to be that of the program
    run(main)
