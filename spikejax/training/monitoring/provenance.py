"""What a run was made with: versions of packages and of this source."""

import importlib.metadata
import platform
import subprocess
from pathlib import Path

import jax

_PACKAGES = ("spikejax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


def versions() -> dict[str, str]:
    """What a run was made with: Python, packages, devices, and the revision of this source, if git knows it."""
    device = jax.devices()[0]
    versions = {"python": platform.python_version(), "devices": f"{jax.device_count()} {device.device_kind}"}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    try:
        revision = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40"],
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:  # no git here
        return versions
    return versions | ({"git": revision.stdout.strip()} if revision.returncode == 0 else {})
