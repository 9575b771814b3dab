"""Plans of restoring: tiles, clips and time are those of the restoring itself."""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from spikejax import loading, plan
from spikejax.errors import InputError
from spikejax.hardware.chips import CHIPS
from spikejax.inference.compiled_network import CompiledNetwork
from spikejax.inference.precision import PRECISIONS
from spikejax.inference.tiling import Extent
from spikejax.inference.video_restorer import RestoreSettings, VideoRestorer
from spikejax.io.frame_source import open_frames
from spikejax.io.pictures import write_picture
from spikejax.io.video_reading import VideoReading
from spikejax.kernels.choice import choose
from spikejax.models.traits import NetworkTraits
from spikejax.planning.restore_plan import RestoredInput, RestorePlan, plan_elsewhere, plan_here
from spikejax.planning.restore_text import restore_text
from spikejax.planning.topology import open_topology
from tests.inference.small_input import BINS, Brighten, restorer_of
from tests.inference.test_video_restorer import Middle
from tests.io.test_video_structure import write_interlaced, write_sizes

FRAMES, HEIGHT, WIDTH = 7, 40, 56
GIVEN = RestoredInput("film", FRAMES, HEIGHT, WIDTH)
PLAN = RestorePlan(
    input=GIVEN, devices="1 cpu device", tiles_at_once=2, tile=Extent(4, 24, 32), overlap=Extent(1, 8, 8), tiles=6,
    clips=2, restored=7, needed=10**6, available=10**9, seconds_a_tile=7.0, measured=True, compile_seconds=3.0,
)  # fmt: skip


def count_tiles(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of tiles of each call of a compiled network from now on."""
    counts: list[int] = []
    restore = CompiledNetwork.restore

    def counting(self: CompiledNetwork, tiles: object) -> object:
        tiles = list(tiles)  # type: ignore[call-overload]
        counts.append(len(tiles))
        return restore(self, tiles)

    monkeypatch.setattr(CompiledNetwork, "restore", counting)
    return counts


@pytest.mark.parametrize("ensemble", ["none", "flips"])
def test_as_many_tiles_as_restoring_takes(ensemble: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a plan of other tiles, clips or copies than those that are restored afterwards."""
    restorer = restorer_of(Brighten(None))
    settings = restorer.settings(RestoreSettings(ensemble=ensemble, devices=1))
    planned = plan_here(restorer, GIVEN, settings)
    assert planned.fits and planned.measured and planned.restored == FRAMES
    counts = count_tiles(monkeypatch)
    restorer.restore(np.zeros((FRAMES, HEIGHT, WIDTH, 3), np.uint8), ensemble=ensemble, devices=1)
    assert planned.clips is not None
    assert planned.tiles * planned.clips == sum(counts)


@pytest.mark.parametrize("times", [2, 4])
def test_interpolation(times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a pass that is not counted, and frames that come in in place of those that come out."""
    traits = NetworkTraits(interpolates=True, window=4)
    restorer = VideoRestorer(Middle(), traits, tile=Extent(4, 24, 32), overlap=Extent(1, 8, 8))
    planned = plan_here(restorer, GIVEN, restorer.settings(RestoreSettings(times=times, devices=1)))
    counts = count_tiles(monkeypatch)
    restored = restorer.restore(np.zeros((FRAMES, HEIGHT, WIDTH, 3), np.float32), times=times, devices=1)
    assert planned.restored == len(restored)
    assert planned.clips is not None
    assert planned.tiles * planned.clips == sum(counts)


def test_elsewhere() -> None:
    """Catches devices that are not planned for, spikes that are forgotten, and a tile that those here would choose."""
    restorer = restorer_of(Brighten(BINS))
    topology = dataclasses.replace(open_topology(f"cpu:{jax.device_count()}"), memory_bytes=2**31)
    given = dataclasses.replace(GIVEN, frames=None, spike_ratio=2)
    settings = restorer.settings(RestoreSettings())
    planned = plan_elsewhere(restorer, given, settings, topology, dtype="float32")
    assert (planned.available, planned.tiles_at_once) == (2**31, jax.device_count())
    assert planned.tile == Extent(4, 24, 32) and planned.fits and not planned.measured
    assert planned.clips is None and planned.seconds is None
    cramped = dataclasses.replace(topology, memory_bytes=1)
    automatic = dataclasses.replace(settings, auto=True)
    with pytest.raises(InputError, match="of memory for the smallest tile"):
        plan_elsewhere(restorer, given, automatic, cramped, dtype="float32")


class Wide(nnx.Module):
    """A network of one product of 1,024 features, of more work than bytes; it notes how it is traced."""

    def __init__(self, compute_dtype: jnp.dtype | None = None) -> None:
        self.kernel = nnx.Param(jnp.ones((1024, 1024)))
        self.compute_dtype = compute_dtype
        self.traced: set[tuple[str | None, str]] = set()

    def __call__(self, clip: jax.Array, voxels: None = None, *, key: None = None) -> jax.Array:
        """Has the signature of `Restorer`."""
        asked = getattr(jax.config, "jax_default_matmul_precision")  # noqa: B009, not in JAX's type hints
        self.traced.add((asked, choose(lambda form: True).form))
        wide = clip.astype(self.compute_dtype or clip.dtype) @ jnp.ones((3, 1024), self.compute_dtype or clip.dtype)
        wide = jnp.sin(wide) @ self.kernel[...].astype(wide.dtype)
        return clip + wide.mean(-1, keepdims=True).astype(clip.dtype)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_elsewhere_computes_as_restoring_would(precision: str) -> None:
    """Catches a plan of the plain program where restoring takes kernels, and of products of fewer bits than its own."""
    network = Wide()
    restorer = VideoRestorer(
        network, NetworkTraits(), tile=Extent(4, 24, 32), overlap=Extent(1, 8, 8), precision=precision
    )
    # A program for CPUs, as that for a TPU needs its compiler; its products take what a v5e takes for them.
    topology = dataclasses.replace(open_topology("cpu:1"), platform="tpu", chip=CHIPS["v5e"])
    planned = plan_elsewhere(restorer, GIVEN, restorer.settings(RestoreSettings(devices=1)), topology)
    assert network.traced == {(precision, "tpu")}
    products = 2 * 4 * 24 * 32 * 1024 * (3 + 1024) / CHIPS["v5e"].flops("float32", precision)
    assert planned.seconds_a_tile is not None
    if precision == "highest":
        assert planned.seconds_a_tile == pytest.approx(products)
    assert planned.seconds_a_tile >= products


def test_elsewhere_knows_the_networks_own_type() -> None:
    """Catches the peak of float32 for a network that computes in bfloat16 without being told to."""
    topology = dataclasses.replace(open_topology("cpu:1"), chip=CHIPS["h100"])
    seconds = []
    for network in (Wide(), Wide(jnp.dtype(jnp.bfloat16))):
        restorer = VideoRestorer(network, NetworkTraits(), tile=Extent(4, 24, 32), overlap=Extent(1, 8, 8))
        settings = restorer.settings(RestoreSettings(devices=1))
        seconds.append(plan_elsewhere(restorer, GIVEN, settings, topology).seconds_a_tile)
    assert seconds[0] > 4 * seconds[1]


def test_text() -> None:
    """Catches a time that forgets tiles, clips or devices, and lines too long for a terminal."""
    assert PLAN.seconds == pytest.approx(7 * 6 * 2 / 2)
    assert PLAN.seconds_a_frame == pytest.approx(6)
    endless = dataclasses.replace(PLAN, clips=None, restored=None)
    assert endless.seconds is None and endless.seconds_a_frame == pytest.approx(7 * 6 / 3 / 2)
    unknown = dataclasses.replace(PLAN, seconds_a_tile=None, needed=2 * 10**9)
    texts = [restore_text(each) for each in (PLAN, endless, unknown)]
    assert max(len(line) for text in texts for line in text.splitlines()) <= 80
    assert "42 s in all" in texts[0] and "2 times in all" in texts[0] and "in all" not in texts[1]
    assert "DOES NOT FIT" in texts[2] and "not known" in texts[2]


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches options that do not arrive, and figures that are not written."""
    (tmp_path / "in").mkdir()
    for number in range(FRAMES):
        write_picture(tmp_path / "in" / f"{number}.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    monkeypatch.setattr(loading, "load", lambda path, **_: restorer_of(Brighten(None)))
    words = ["--restore", str(tmp_path / "in"), "--network", "work", "--tile", "4,24,24"]
    plan.main([*words, "--json", str(tmp_path / "plan.json")])
    assert "7 frames of 40x56" in capsys.readouterr().out
    figures = json.loads((tmp_path / "plan.json").read_text())
    assert figures["tile"] == {"frames": 4, "height": 24, "width": 24} and figures["fits"]


@pytest.mark.parametrize(
    ("words", "frames", "said"),
    [
        ([], 24, "frames from 0.5 s on are 64x48 and not 48x32, and will be left out (--resize-changes brings"),
        (["--resize-changes"], 24, ""),
        (["--from", "2", "--to", "0.2s"], 3, ""),
    ],
)
def test_sizes_that_change_are_said_as_by_restoring(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    frames: int,
    said: str,
) -> None:
    """Catches a plan of frames that would be left out, and one that knows not what restoring is told of them."""
    monkeypatch.setattr(loading, "load", lambda path, **_: restorer_of(Brighten(None)))
    film = write_sizes(tmp_path / "in.mkv", [(32, 48), (48, 64)])
    file = tmp_path / "plan.json"
    plan.main(["--restore", str(film), "--network", "n", "--tile", "4,24,24", "--json", str(file), *words])
    printed = capsys.readouterr()
    assert said in printed.err and ("will be left out" in printed.err) == bool(said)
    assert f"{frames} frames of 32x48" in printed.out
    assert said in json.loads(file.read_text())["note"]


def test_pictures_that_restoring_would_refuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a plan of a folder at whose end restoring would stop."""
    monkeypatch.setattr(loading, "load", lambda path, **_: restorer_of(Brighten(None)))
    (tmp_path / "in").mkdir()
    for number in range(FRAMES):
        write_picture(tmp_path / "in" / f"{number}.png", np.zeros((HEIGHT, WIDTH - number // 5, 3), np.uint8))
    words = ["--restore", str(tmp_path / "in"), "--network", "n", "--tile", "4,24,24"]
    with pytest.raises(InputError, match="or --resize-changes.*0.png is 56x40 but 5.png is 55x40"):
        plan.main(words)
    plan.main([*words, "--resize-changes"])


def test_an_interlaced_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches a plan that asks for an option that it does not take, and one of half the frames."""
    monkeypatch.setattr(loading, "load", lambda path, **_: restorer_of(Brighten(None)))
    film = write_interlaced(tmp_path / "in.mkv")
    count = open_frames(film, reading=VideoReading(interlaced="progressive")).count
    words = ["--restore", str(film), "--network", "n", "--tile", "4,24,24"]
    with pytest.raises(InputError, match="--deinterlace"):
        plan.main(words)
    for more, frames in ((["--deinterlace", "doubled"], 2 * count), (["--as-progressive"], count)):
        plan.main([*words, *more])
        assert f"{frames} frames of" in capsys.readouterr().out
    with pytest.raises(InputError, match="--deinterlace or --as-progressive, found both"):
        plan.main([*words, "--deinterlace", "kept", "--as-progressive"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--config", "quickstart", "--topology", "cpu:1", "--from", "3"], "frames to plan for, with --from"),
        (["--config", "quickstart", "--topology", "cpu:1", "--stream", "1"], "frames to plan for, with --stream"),
        (
            ["--restore", "in", "--network", "n", "--config", "quickstart"],
            "--restore, found both",
        ),
        (["--restore", "in", "--network", "n", "--batch", "2"], "--config, the training to plan, with --batch"),
        (["--restore", "in", "--network", "n", "--config.model.x=1"], "no changes of a configuration with --restore"),
        (["--restore", "in"], "--network with --restore"),
        (["--config", "quickstart", "--topology", "cpu:1", "--tile", "auto"], "--restore, the frames to plan for,"),
    ],
)
def test_options_that_do_not_go_together(words: list[str], message: str) -> None:
    """Catches an option without effect, and half of a question."""
    with pytest.raises(InputError, match=message):
        plan.main(words)
