"""All extension points at once: files in a folder outside of the package make runs of their own.

A toy fusion, backbone, loss term, metric, data set, codec and mesh layout are reached by names in a configuration and
in arguments alone, in processes with one device and with eight.
"""

import contextlib
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flax import nnx

from spikejax.models.rngs import make_rngs
from tests.small_run import overrides

pytestmark = pytest.mark.slow

FILES = {
    "gate.py": """
from flax import nnx
from jax import numpy as jnp

from spikejax.models.fusion import FusionKind


class Gate(nnx.Module):
    def __init__(self, features, *, rngs):
        self.scale = nnx.Param(jnp.full(features, 0.5), axes=("embed",))

    def __call__(self, features, spikes):
        return features + self.scale[...].astype(features.dtype).reshape(1, 1, 1, 1, -1) * spikes


def build(features, config, *, rngs):
    return Gate(features, rngs=rngs)


GATE = FusionKind("after_stage", attends_over_time=False, build=build)
""",
    # Compiled in seconds, for the runs that are compared.
    "small.py": """
from flax import nnx
from jax import numpy as jnp

from spikejax.models.layers import Linear
from spikejax.models.traits import NetworkTraits


class Small(nnx.Module):
    def __init__(self, config, *, rngs):
        bins = config["spike"]["bins"]
        self.traits = NetworkTraits(spike_bins=bins)
        self.first = Linear(3 + bins, 16, rngs=rngs)
        self.last = Linear(16, 3, rngs=rngs)

    def __call__(self, clip, voxels, *, key=None):
        return clip + self.last(jnp.tanh(self.first(jnp.concatenate([clip, voxels], axis=-1))))
""",
    "brightness.py": """
def brightness(config):
    def term(restored, batch):
        return 0.5 * (restored.mean() - batch["sharp"].mean()) ** 2

    return term
""",
    "largest.py": """
from spikejax.quality.metrics import Metric


def largest_difference(picture, sharp):
    return float(abs(picture.astype(float) - sharp).max())


LARGEST = Metric("largest difference", better="lower", digits=1, distance=largest_difference)
""",
    "ramps.py": '''
from dataclasses import dataclass

import numpy as np

from spikejax.data.datasets.clip_dataset import ClipDataset


@dataclass(frozen=True)
class Film:
    name: str
    stems: tuple[str, ...] = ("0", "1", "2", "3")
    height: int = 32
    width: int = 32
    ratio: int = 1


class Ramps(ClipDataset):
    """Noise that is darkened for the input, of which spikes count the sharp brightness; kept nowhere."""

    needs_root = False

    def __init__(self, root, split, spec):
        super().__init__([Film(f"{split}{number}") for number in range(2)], spec)

    def read_frames(self, run, start, stop, box):
        rng = np.random.default_rng(sum(map(ord, run.name)))
        sharp = rng.integers(0, 256, (len(run.stems), run.height, run.width, 3), np.uint8)
        sharp = sharp[(slice(start, stop), *box.slices)]
        counts = (sharp[..., :1] // 32).repeat(self.spec.bins, axis=-1) if self.spec.bins else sharp
        return {"sharp": sharp, "input": sharp // 2 + 30} | ({"voxels": counts} if self.spec.bins else {})
''',
    "old.py": """
from spikejax.io.video_codecs import Codec

MPEG4 = Codec("mpeg4", ("yuv420p", "yuv420p"), options=(("b", "20M"),), containers=(".mkv", ".mp4"))
""",
    "heads.py": """
from spikejax.distributed.sharding import MeshLayout

WITH_MODEL = MeshLayout(
    axes=("data", "fsdp", "space", "model"),
    batch=("data", "fsdp"),
    rows="space",
    rules=(("mlp", "model"), ("features_out", "model"), ("embed", "model")),
)
""",
    # The configuration that names them.
    "run.py": """
from pathlib import Path

from configs import quickstart

FOLDER = Path(__file__).parent


def get_config(run="fusion"):
    config = quickstart.get_config()
    config.data.source = f"{FOLDER}/ramps.py:Ramps"
    config.loss.terms = ("charbonnier", f"{FOLDER}/brightness.py:brightness")
    config.validation.metrics = ("psnr", f"{FOLDER}/largest.py:LARGEST")
    if run == "fusion":
        config.model.spike.fusion = f"{FOLDER}/gate.py:GATE"
    else:
        config.model.backbone = f"{FOLDER}/small.py:Small"
        config.optimizer.frozen = config.training.start_at_zero = ""  # of VRT's parts
    if run == "small_in_parts":
        config.mesh.layout, config.mesh.extra = f"{FOLDER}/heads.py:WITH_MODEL", ("model=2",)
    return config
""",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files."""
    own = tmp_path / "own files"
    own.mkdir()
    for name, text in FILES.items():
        (own / name).write_text(text)
    return own


def train(config: str, workdir: Path, *, mesh: str = "(data 1,") -> list[float]:
    """The losses of two updates of one of the files' networks, by the command's own function.

    Args:
        config: FILE:NAME.
        workdir: of the run.
        mesh: what the command says of its devices.
    """
    from spikejax.train import main

    with contextlib.redirect_stdout(io.StringIO()) as printed:
        main(["--config", config, "--workdir", str(workdir), *overrides(data__batch_size=4)])
    assert mesh in printed.getvalue()
    lines = re.findall(r"loss ([\d.]+) = brightness ([\d.]+) \+ charbonnier ([\d.]+)", printed.getvalue())
    assert len(lines) == 2, printed.getvalue()
    for loss, brightness, charbonnier in lines:
        assert float(brightness) > 1e-4
        assert float(loss) == pytest.approx(float(charbonnier) + float(brightness), abs=2e-5)
    assert re.search(r"LARGEST [\d.]+ -> [\d.]+", printed.getvalue())  # before and after
    return [float(loss) for loss, *_ in lines]


def tables() -> list[dict[str, Any]]:
    """The package's tables, as they are now."""
    from spikejax.data.sources import DATASETS
    from spikejax.distributed.sharding import MESH_LAYOUTS
    from spikejax.io.video_codecs import CODECS
    from spikejax.models.fusion import FUSIONS
    from spikejax.quality.losses import LOSS_TERMS
    from spikejax.quality.metrics import METRICS
    from spikejax.training.monitoring.loggers import LOGGERS

    all_tables = dict(
        fusions=FUSIONS,
        terms=LOSS_TERMS,
        metrics=METRICS,
        data=DATASETS,
        codecs=CODECS,
        meshes=MESH_LAYOUTS,
        loggers=LOGGERS,
    )
    return {title: dict(table) for title, table in all_tables.items()}


def plain_parameters() -> list[Any]:
    """Names and shapes of the parameters of a network without the files."""
    from configs import quickstart
    from spikejax.models.restorer import build_restorer

    config = quickstart.get_config().model
    shapes = nnx.eval_shape(lambda: build_restorer(config.to_dict(), rngs=make_rngs(0)))
    return [(".".join(map(str, path)), leaf.shape) for path, leaf in nnx.to_flat_state(nnx.state(shapes, nnx.Param))]


def on_one_device(folder: Path, workdir: Path) -> None:
    """What the first process does: trains, restores and writes with the files; then nothing of them is left."""
    import spikejax
    from spikejax.io.frame_source import open_frames
    from spikejax.io.video_codecs import VideoSettings
    from spikejax.io.video_writer import VideoWriter

    before, network = tables(), plain_parameters()
    losses = train(f"{folder}/run.py:fusion", workdir / "fusion")
    assert losses[0] != losses[1]
    restorer = spikejax.load(workdir / "fusion", trust_code=True)
    clip = np.random.default_rng(1).random((2, 32, 32, 3), np.float32)
    light, dark = (restorer.restore(clip, counts=np.full((2, 32, 32, 4), count, np.uint8)) for count in (0, 6))
    assert np.abs(light - dark).max() > 1e-4  # the fusion passes the spikes on
    writer = VideoWriter(workdir / "restored.mp4", settings=VideoSettings(f"{folder}/old.py:MPEG4"))
    for frame in light:
        writer.write(np.rint(255 * frame.clip(0, 1)).astype(np.uint8))
    writer.close()
    assert open_frames(workdir / "restored.mp4").height == 32
    losses = train(f"{folder}/run.py:small", workdir / "small")
    left = [name for name, module in sys.modules.items() if str(folder) in str(getattr(module, "__file__", ""))]
    assert left == []
    assert tables() == before
    assert plain_parameters() == network
    print(json.dumps(losses))


def on_eight_devices(folder: Path, workdir: Path) -> None:
    """What the second process does: the small network's training, with the layout's own axis in the mesh."""
    import jax

    assert jax.device_count() == 8
    print(json.dumps(train(f"{folder}/run.py:small_in_parts", workdir, mesh="(data 4, fsdp 1, space 1, model 2)")))


def in_a_process(function: str, folder: Path, workdir: Path, *, devices: int) -> list[float]:
    """What a function of this module prints, with that many devices."""
    # Each program is run once or twice, so most of XLA's effort for it would be lost.
    flags = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    flags += f" --xla_force_host_platform_device_count={devices}"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}
    program = f"import sys; from pathlib import Path; from tests.test_extending import {function} as function; "
    program += "function(Path(sys.argv[1]), Path(sys.argv[2]))"
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder), str(workdir)],
        cwd=Path(__file__).parents[1],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_a_folder_of_parts_and_none_left_behind(folder: Path, tmp_path: Path) -> None:
    """Catches an extension point that needs a patch or a change of the package, and one that leaves something behind.

    The loss names its terms, so the toy one is in it; the restored clip depends on the spikes through the toy fusion
    alone; the video is MPEG-4. With the toy layout on eight devices, which splits parameters along an axis that the
    package does not know, losses are equal to the digits that are printed.
    """
    alone = in_a_process("on_one_device", folder, tmp_path / "one", devices=1)
    shared = in_a_process("on_eight_devices", folder, tmp_path / "eight", devices=8)
    assert alone[0] != alone[1]
    assert shared == pytest.approx(alone, abs=2e-5)
