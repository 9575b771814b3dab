"""What pip would install where: the base and every extra, on each system and Python that they are for.

Asks PyPI, so these are run by `pytest -m resolver` alone. Nothing is installed: uv resolves, and takes wheels alone, as
whoever has no compiler must.
"""

import configparser
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.resolver
ROOT = Path(__file__).parents[1]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
LINUX, LINUX_ARM, MACOS, WINDOWS = "Linux x86-64", "Linux aarch64", "macOS arm64", "Windows"
# As uv calls them. libtpu's wheels are for glibc 2.31.
PLATFORMS = {
    LINUX: "x86_64-manylinux_2_31",
    LINUX_ARM: "aarch64-manylinux_2_31",
    MACOS: "aarch64-apple-darwin",
    WINDOWS: "x86_64-pc-windows-msvc",
}
# PyAV's wheels for macOS are for 14 and newer; uv would take 13.
MACOS_TARGET = "14.0"
EVERYWHERE = tuple(PLATFORMS)
# Where each extra exists; "" is the base. docs/installing.md has the same.
WHERE = {
    "": EVERYWHERE,
    "train": EVERYWHERE,
    "data": EVERYWHERE,
    "tfds": EVERYWHERE,
    "gcs": EVERYWHERE,
    "s3": EVERYWHERE,
    "lmdb": EVERYWHERE,
    "hub": EVERYWHERE,
    "heic": EVERYWHERE,
    "wandb": EVERYWHERE,
    "mlflow": EVERYWHERE,
    "cuda12": (LINUX, LINUX_ARM),
    "cuda13": (LINUX, LINUX_ARM),
    "tpu": (LINUX,),
    "plan-tpu": (LINUX,),
    "plan-gpu": (LINUX, LINUX_ARM),
    "dev": EVERYWHERE,
}
# Packages of one version with jaxlib.
PLUGINS = ("jax", "jax-cuda12-plugin", "jax-cuda12-pjrt", "jax-cuda13-plugin", "jax-cuda13-pjrt")
# What an accelerator's extra brings; libtpu has versions of its own, which JAX names.
ACCELERATORS = {
    "cuda12": ("jax-cuda12-plugin", "jax-cuda12-pjrt", "nvidia-cudnn-cu12"),
    "cuda13": ("jax-cuda13-plugin", "jax-cuda13-pjrt", "nvidia-cudnn-cu13"),
    "tpu": ("libtpu",),
    "plan-tpu": ("libtpu",),
    "plan-gpu": ("jax-cuda12-plugin", "jax-cuda12-pjrt"),
}
NOT_IN_BASE = ("tensorflow", "tensorflow-cpu", "clu", "grain", "scikit-image", "tensorflow-datasets", "tensorboard")


@dataclass(frozen=True)
class Resolved:
    """What would be installed.

    Attributes:
        versions: of each package; empty if there is no such installation.
        error: why not.
    """

    versions: dict[str, str]
    error: str


CASES = [(extra, python, platform) for extra in WHERE for python in PYTHONS for platform in PLATFORMS]


@pytest.fixture(scope="module")
def answers() -> dict[tuple[str, str, str], Resolved]:
    """The answer to every case; they are waiting for the network most of the time."""
    with ThreadPoolExecutor(4) as pool:
        return dict(zip(CASES, pool.map(lambda case: resolve(*case), CASES), strict=True))


def test_every_extra_has_its_row() -> None:
    """Catches an extra of which nobody has said, or tried, where it can be installed."""
    assert set(WHERE) == {"", *extras()}


@pytest.mark.parametrize(("extra", "python", "platform"), CASES)
def test_an_extra_exists_where_the_table_says(
    extra: str, python: str, platform: str, answers: dict[tuple[str, str, str], Resolved]
) -> None:
    """Catches a bound that no wheel meets somewhere, jaxlib and a plugin of two versions, TensorFlow with the base."""
    resolved = answers[extra, python, platform]
    versions = resolved.versions
    assert bool(versions) == (platform in WHERE[extra]), resolved.error
    if not versions:
        assert "no wheels with a matching platform tag" in resolved.error, resolved.error
        return
    # JAX 0.10.2 is the last for Python 3.11; the others get the newest of the range.
    assert versions["jax"].startswith("0.10.2" if python == "3.11" else "0.12.")
    assert {versions[name] for name in PLUGINS if name in versions} == {versions["jaxlib"]}
    assert set(ACCELERATORS.get(extra, ())) <= set(versions)
    if extra == "":
        assert not set(NOT_IN_BASE) & set(versions)
    if extra == "train":
        # Python 3.14 has none, so training writes metrics.jsonl alone; elsewhere it is the package of the processor.
        name = "tensorflow" if platform in (LINUX_ARM, MACOS) else "tensorflow-cpu"
        assert set(versions) & {"tensorflow", "tensorflow-cpu"} == (set() if python == "3.14" else {name})
        assert not re.search(r"[a-z]", versions.get(name, "")), "a version before its release"


def test_docs_say_the_same() -> None:
    """Catches a page that promises an extra where there is none, or knows fewer systems than there are."""
    rows = re.findall(r"^\| (?:\(base\)|`\[([a-z0-9-]+)\]`) \|.*\| ([^|]+) \|$", page(), re.MULTILINE)
    said = {extra: EVERYWHERE if where == "everywhere" else tuple(where.split(", ")) for extra, where in rows}
    assert said == WHERE
    assert f"macOS {MACOS_TARGET.removesuffix('.0')} or newer" in page()


def resolve(extra: str, python: str, platform: str) -> Resolved:
    """What uv answers of an extra with the base."""
    arguments = ["--python-version", python, "--python-platform", PLATFORMS[platform], "--python", sys.executable]
    # TFDS needs `promise`, of which there are only sources, in pure Python.
    wheels = ["--only-binary", ":all:", "--no-binary", "promise", "--no-python-downloads"]
    done = subprocess.run(
        ["uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate", *wheels, *arguments, "-"],
        input="\n".join(requirements(extra)),
        env=os.environ | {"MACOSX_DEPLOYMENT_TARGET": MACOS_TARGET},
        capture_output=True,
        text=True,
        check=False,
    )
    versions = dict(line.split("==") for line in done.stdout.splitlines()) if done.returncode == 0 else {}
    return Resolved(versions, " ".join(done.stderr.split()))


def requirements(extra: str) -> Iterator[str]:
    """The lines of the base and of an extra, with the extras that it names in its place."""
    if not extra:
        yield from setup()["options"]["install_requires"].splitlines()
        return
    yield from requirements("")
    for line in extras()[extra].splitlines():
        if own := re.fullmatch(r"spikejax\[(.*)\]", line):
            for name in own[1].split(","):
                yield from requirements(name)
        else:
            yield line


def extras() -> configparser.SectionProxy:
    """The requirements of every extra, as setup.cfg has them."""
    return setup()["options.extras_require"]


def setup() -> configparser.ConfigParser:
    """The package's description."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def page() -> str:
    """The page for who installs."""
    return (ROOT / "docs" / "installing.md").read_text(encoding="utf-8")
