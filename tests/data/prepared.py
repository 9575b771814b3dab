"""Calls of `spikejax.prepare` on made sources, and what they leave."""

from pathlib import Path

from spikejax.prepare import main

TRAIN, TEST = "GOPR0001_02_00", "GOPR0002_02_01"


def run(source: Path, root: Path, *options: str, layout: str = "gopro", bins: int = 4) -> None:
    """Calls the entry point in this process."""
    arguments = ["--layout", layout, "--source", str(source), "--output", str(root), "--bins", str(bins)]
    main([*arguments, "--workers", "1", *options])


def check(root: Path) -> None:
    """Calls the entry point to verify what is there."""
    main(["--output", str(root), "--check-only", "--workers", "1"])


def contents(root: Path) -> dict[str, bytes]:
    """Every file by name; the journal's lines may come in any order and hold times."""
    files = [path for path in sorted(root.rglob("*")) if path.is_file() and path.name != "prepared.jsonl"]
    return {str(path.relative_to(root)): path.read_bytes() for path in files}
