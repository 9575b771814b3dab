"""The published evaluation's answers: networks, inputs and truths of `evaluation_*.npz` (README.md)."""

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from spikejax.inference.clip_blending import InputFrame
from spikejax.inference.tiling import Extent
from spikejax.inference.video_restorer import RestoreSettings, VideoRestorer
from spikejax.models.restorer import Restorer
from tests.models.conftest import abstract_model, golden_weights, read_manifest
from tests.models.parameters import restorer_from_torch

FOLDER = Path(__file__).parent
SIGMA = 30.0


@dataclass(frozen=True)
class Case:
    """What was evaluated.

    Attributes:
        network: the manifest.
        size: frames, rows and columns of the input.
        tile: of the evaluation.
        overlap: likewise.
        gain: of the last convolution, so that outputs look like pictures.
        sigma: of the noise that is added, of 255.
    """

    network: str
    size: tuple[int, int, int]
    tile: tuple[int, int, int]
    overlap: tuple[int, int, int]
    gain: float = 0.03
    sigma: float | None = None


CASES = {
    "deblur_tiles": Case("tiny_deblur", (9, 80, 104), (6, 64, 64), (2, 24, 24)),
    "deblur_whole": Case("tiny_deblur", (5, 70, 94), (0, 0, 0), (0, 0, 0)),
    "denoise_tiles": Case("tiny_denoise", (7, 64, 96), (6, 64, 64), (2, 20, 20), sigma=SIGMA),
    "sr_vimeo": Case("tiny_sr_pa4", (7, 64, 64), (8, 0, 0), (0, 20, 20)),
    "interp_tiles": Case("tiny_interp", (4, 80, 96), (0, 64, 64), (0, 20, 20), gain=0.1),
}


class InDoublePrecision(nnx.Module):
    """A network that computes in float64, and answers in float32."""

    def __init__(self, network: Restorer) -> None:
        self.network = network

    def __call__(self, clip: Any, voxels: Any, *, key: Any = None) -> Any:
        """Has the signature of `Restorer`."""
        return self.network(clip.astype(jnp.float64), voxels, key=key).astype(jnp.float32)


def restore_published(name: str, restorer: VideoRestorer) -> np.ndarray:
    """The restored clip of a case by the published protocol, float32.

    Frames go to the network as they are: `VideoRestorer.restore` would round noisy ones to float32, which moves single
    pixels of the answer by 1.6e-6 of its range.
    """
    clip = input_of(name)
    settings = restorer.settings(RestoreSettings(sigma=CASES[name].sigma, protocol="published"))
    stream = restorer.stream(lambda start: (InputFrame(frame) for frame in clip[start:]), settings)
    return np.stack([restored.frame for restored in stream])


def restorer_of(name: str, *, double: bool) -> VideoRestorer:
    """The network of a case, in float64 or in float32."""
    case = CASES[name]
    manifest = read_manifest(case.network)
    model = abstract_model(manifest)
    arrays = golden_weights().make_state_dict(manifest["shapes"])
    arrays = {key: array * np.float32(case.gain) if "conv_last" in key else array for key, array in arrays.items()}
    network = nnx.merge(nnx.split(model)[0], restorer_from_torch(model, arrays))
    traits = network.traits
    return VideoRestorer(
        InDoublePrecision(network) if double else network,
        traits,
        tile=Extent(*case.tile),
        overlap=Extent(*case.overlap),
        name=name,
    )


def input_of(name: str) -> np.ndarray:
    """The clip [t,h,w,3] that goes in: float32, and with noise float64, which the original does not round."""
    case = CASES[name]
    clip = _video(f"{name}_input", case.size)
    if case.sigma is None:
        return clip
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(f"{name}/noise".encode())))
    frames, height, width = case.size
    noise = generator.standard_normal((1, frames, 3, height, width))[0] * (case.sigma / 255)
    return clip + np.moveaxis(noise, 1, -1)


def truth_of(name: str) -> np.ndarray:
    """What the restored clip is compared with, float32; of super-resolution and interpolation the frame that counts."""
    case = CASES[name]
    if case.sigma is not None:
        return _video(f"{name}_input", case.size)
    frames, height, width = case.size
    scale = 4 if name.startswith("sr") else 1
    return _video(
        f"{name}_sharp", (1 if name in ("sr_vimeo", "interp_tiles") else frames, height * scale, width * scale)
    )


def answers_of(name: str) -> dict[str, np.ndarray]:
    """The answers, with the output as a clip [t,h,w,3]."""
    with np.load(FOLDER / f"evaluation_{name}.npz") as arrays:
        answers = dict(arrays)
    return answers | {"output": np.moveaxis(answers["output"][0], 1, -1)}


def _video(name: str, size: tuple[int, int, int]) -> np.ndarray:
    frames, height, width = size
    return np.moveaxis(golden_weights().make_video(name, (1, frames, 3, height, width))[0], 1, -1)
