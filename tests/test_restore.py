import errno
import json
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from skimage import data

from spikejax import report, restore
from spikejax.cli import run
from spikejax.data.spikes.stream_files import write_dat
from spikejax.errors import InputError
from spikejax.hardware.host import peak_host_bytes
from spikejax.inference.compiled_network import ClipShape, CompiledNetwork
from spikejax.io.frame_source import open_frames
from spikejax.io.pictures import write_picture
from spikejax.io.video_writer import write_video
from spikejax.io.weights import Weights, write_weights
from spikejax.models.lpips import LPIPS
from spikejax.quality import metrics
from spikejax.quality.perceptual import load_lpips, lpips_distance
from tests.inference.conftest import inputs as inputs
from tests.inference.small_input import (
    BINS,
    FRAMES,
    HEIGHT,
    STATISTICS,
    STEPS,
    TILES,
    WIDTH,
    Brighten,
    read,
    restorer_of,
    save_random_network,
    tiny_config,
)
from tests.models.parameters import build_random


def use(monkeypatch: pytest.MonkeyPatch, model: Brighten) -> None:
    """Puts a stand-in in the place of every trained network."""
    restorer = restorer_of(model)
    monkeypatch.setattr(restore, "_load", lambda options: restorer)


def arguments(inputs: Path, *more: str, spikes: bool = True) -> list[str]:
    """A command line that restores `inputs` to the folder out."""
    paths = {"network": "work", "input": "blur", "output": "out"} | ({"spikes": "spike"} if spikes else {})
    return [word for name, path in paths.items() for word in (f"--{name}", str(inputs / path))] + [*TILES, *more]


@pytest.mark.parametrize("spikes", [True, False])
def test_a_folder_is_restored(inputs: Path, monkeypatch: pytest.MonkeyPatch, spikes: bool) -> None:
    """Catches frames lost, renamed or shifted on their way through the tiles, with a network of either kind."""
    use(monkeypatch, Brighten(BINS if spikes else None))
    restore.main(arguments(inputs, spikes=spikes))
    assert open_frames(inputs / "out").names == open_frames(inputs / "blur").names
    np.testing.assert_array_equal(read(inputs / "out"), read(inputs / "sharp"))


def test_a_part(inputs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches spikes or sharp frames of the beginning beside frames of the middle, and a part taken for another."""
    use(monkeypatch, Brighten(BINS))
    words = arguments(inputs, "--sharp", str(inputs / "sharp"))
    restore.main(arguments(inputs))
    whole = read(inputs / "out")
    restore.main([*words, "--from", "2", "--to", "6", "--overwrite"])
    np.testing.assert_array_equal(read(inputs / "out"), whole[2:6])
    figures = json.loads((inputs / "out" / "metrics.json").read_text())
    assert figures["frames"] == 4 and figures["first_frame"] == 2 and (figures["from"], figures["to"]) == ("2", "6")
    assert all(frame["ssim_recon"] > 0.9999 for frame in figures["per_frame"])
    capsys.readouterr()
    restore.main([*words, "--from", "2", "--to", "6", "--resume"])
    assert "is complete already" in capsys.readouterr().out
    with pytest.raises(InputError, match="expected a new output"):
        restore.main([*words, "--from", "1", "--to", "6", "--resume"])


def test_a_preview(inputs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a preview of the beginning, one that ends the run unasked, and a page that is not written or opened."""
    use(monkeypatch, Brighten(BINS))
    opened: list[str] = []
    monkeypatch.setattr(report.webbrowser, "open", opened.append)
    monkeypatch.setattr("spikejax.inference.preview.SECONDS", 1)
    words = arguments(inputs, "--fps", "3", "--video", str(inputs / "a.mkv"))
    restore.main([*words, "--preview", "only", "--open"])
    assert not (inputs / "out").exists() and not (inputs / "a.mkv").exists()
    np.testing.assert_array_equal(read(inputs / "out.preview"), read(inputs / "sharp")[2:5])
    assert opened == [(inputs / "out.preview" / "report.html").as_uri()]
    restore.main([*words, "--preview"])
    assert len(read(inputs / "out.preview")) == 3 and len(read(inputs / "out")) == FRAMES and len(opened) == 1
    restore.main([*words[:-4], "--overwrite", "--preview", "only"])  # at 25 frames a second it is shorter than a second
    assert "no preview of" in capsys.readouterr().err and len(read(inputs / "out")) == FRAMES


def test_several_inputs(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a program that is compiled for each, an input that is left out, and the last one's mistake found late."""
    restorer = restorer_of(Brighten(None))
    monkeypatch.setattr(restore, "_load", lambda options: restorer)
    (inputs / "second").mkdir()
    for number, frame in enumerate(read(inputs / "blur")[:4]):
        write_picture(inputs / "second" / f"{number}.png", frame)
    words = ["--network", "work", *TILES, "-o", str(inputs / "out" / "{name}")]
    with pytest.raises(InputError, match="found nothing at .*third"):
        restore.main([*words, "-i", str(inputs / "blur"), str(inputs / "third")])
    assert not (inputs / "out").exists()
    restore.main([*words, "-i", str(inputs / "blur"), str(inputs / "second")])
    np.testing.assert_array_equal(read(inputs / "out" / "blur"), read(inputs / "sharp"))
    np.testing.assert_array_equal(read(inputs / "out" / "second"), read(inputs / "sharp")[:4])
    seconds = [json.loads((inputs / "out" / name / "metrics.json").read_text()) for name in ("blur", "second")]
    assert seconds[0]["compile_seconds"] > 0 and seconds[1]["compile_seconds"] == 0


def test_metrics_of_a_run(inputs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches metrics that are missing, of the wrong frames, or no JSON (an infinite PSNR is none)."""
    use(monkeypatch, Brighten(BINS))
    peak_before = peak_host_bytes()
    restore.main(arguments(inputs, "--sharp", str(inputs / "sharp")))
    text = (inputs / "out" / "metrics.json").read_text()
    content = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    pairs = zip(read(inputs / "blur"), read(inputs / "sharp"), strict=True)
    assert content["psnr_blur"] == pytest.approx(np.mean([metrics.psnr(*pair) for pair in pairs]))
    assert content["psnr_recon"] is None
    assert content["ssim_recon"] == pytest.approx(1)
    assert content["frames"] == FRAMES
    assert content["tile"] == {"frames": 4, "height": 24, "width": 32}
    # With these and the network the report restores frames again.
    spikes = {name: content[name] for name in ("spikes", "spike_windows", "spike_size", "flip_spikes", "dtype")}
    assert spikes == {
        "spikes": str(inputs / "spike"),
        "spike_windows": None,
        "spike_size": [HEIGHT, WIDTH],
        "flip_spikes": False,
        "dtype": None,
    }
    assert content["seconds_per_frame"] > 0
    assert peak_before <= content["peak_host_bytes"] <= peak_host_bytes()
    assert "PSNR" in capsys.readouterr().out


@pytest.mark.slow
def test_lpips(inputs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a distance of other frames than those that are written, or of frames before they are 8 bits."""
    use(monkeypatch, Brighten(None))
    network: Any = build_random(lambda rngs: LPIPS("alex", rngs=rngs), size=0.05)
    for head in network.heads:
        head.kernel[...] = abs(head.kernel[...])
    weights = inputs / "alex.safetensors"
    write_weights(weights, Weights("lpips_alex", None, jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(network)))))
    restore.main(arguments(inputs, "--sharp", str(inputs / "sharp"), "--lpips", str(weights), spikes=False))
    content = json.loads((inputs / "out" / "metrics.json").read_text())
    distance = lpips_distance(load_lpips(weights))
    expected = [distance(*pair) for pair in zip(read(inputs / "blur"), read(inputs / "sharp"), strict=True)]
    assert [frame["lpips_blur"] for frame in content["per_frame"]] == expected
    assert content["lpips_blur"] == pytest.approx(np.mean(expected))
    assert content["lpips_recon"] == pytest.approx(0, abs=1e-7)
    assert content["lpips_weights"] == str(weights)
    assert f"LPIPS {np.mean(expected):.4f} before, 0.0000 after" in capsys.readouterr().out


def test_lpips_that_cannot_be_measured(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a figure that is silently missing, and frames too small for it that are noticed after the work."""
    use(monkeypatch, Brighten(None))
    more = ["--sharp", str(inputs / "sharp"), "--lpips", str(inputs / "alex.safetensors")]
    with pytest.raises(SystemExit):
        restore.main(arguments(inputs, *more[2:], spikes=False))
    with pytest.raises(InputError, match=r"alex\.safetensors"):
        restore.main(arguments(inputs, *more, spikes=False))
    too_small = InputError("expected pictures of at least 31x31")

    def refuse(a: np.ndarray, b: np.ndarray) -> float:
        assert a.shape == b.shape == (HEIGHT, WIDTH, 3)
        raise too_small

    monkeypatch.setattr(restore, "_measures", lambda options: {"refuse": refuse})
    with pytest.raises(InputError, match="at least 31x31"):
        restore.main(arguments(inputs, *more, spikes=False))
    assert not (inputs / "out").exists()
    assert not (inputs / ".out.partial").exists()


def test_a_video_becomes_a_video(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches another size, rate or length, and spikes that are matched to a video's frames by name."""
    use(monkeypatch, Brighten(BINS))
    write_video(inputs / "blur.mp4", read(inputs / "blur"), rate=Fraction(24000, 1001))
    restore.main(
        ["--network", "w", "--input", str(inputs / "blur.mp4"), "--spikes", str(inputs / "spike")]
        + ["--output", str(inputs / "out.mkv"), *TILES]
    )
    source = open_frames(inputs / "out.mkv")
    assert (source.height, source.width, source.rate) == (HEIGHT, WIDTH, Fraction(24000, 1001))
    assert source.count == FRAMES
    assert json.loads((inputs / "out.metrics.json").read_text())["frames"] == FRAMES


@pytest.mark.parametrize("free", [10**9, 150_000])
def test_what_the_rest_will_take_is_said(
    inputs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], free: int
) -> None:
    """Catches a disk that is too small and shows after hours, and a line for every frame."""
    use(monkeypatch, Brighten(None))
    monkeypatch.setattr("spikejax.inference.resumable_output.check_room", lambda folder, needed: None)
    monkeypatch.setattr("spikejax.inference.resumable_output.room_in_words", lambda parts: ("9 GB", free > 10**6))
    restore.main(arguments(inputs, spikes=False))
    said = capsys.readouterr().err
    assert said.count("the rest will take 9 GB\n") == 1
    assert ("that is more than there is" in said) == (free < 10**6)


def test_nothing_is_overwritten_unasked(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a lost earlier result; asked for, it is replaced as a whole."""
    use(monkeypatch, Brighten(BINS))
    restore.main(arguments(inputs))
    (inputs / "out" / "old.png").write_bytes(b"")
    with pytest.raises(InputError, match="--overwrite"):
        restore.main(arguments(inputs))
    restore.main(arguments(inputs, "--overwrite"))
    assert len(list((inputs / "out").glob("*.png"))) == FRAMES


@pytest.mark.parametrize("output", ["blur", ".", "photographs"])
def test_overwrite_replaces_only_results(inputs: Path, monkeypatch: pytest.MonkeyPatch, output: str) -> None:
    """Catches `--output` of the input itself, of a folder above it, or of anything that restoring did not make."""
    use(monkeypatch, Brighten(BINS))
    (inputs / "photographs").mkdir()
    (inputs / "photographs" / "a.png").write_bytes(b"")
    before = sorted(inputs.rglob("*"))
    with pytest.raises(InputError, match="expected"):
        restore.main([*arguments(inputs), "--output", str(inputs / output), "--overwrite"])
    assert sorted(inputs.rglob("*")) == before


class StopAfter:
    """Writes pictures like `write_in_format`, and stops the run after some of them."""

    def __init__(self, count: int, error: BaseException) -> None:
        self.left, self.error = count, error

    def __call__(self, path: Path, picture: np.ndarray, *, profile: bytes | None) -> None:
        """Is `write_in_format`."""
        if self.left == 0:
            raise self.error
        self.left -= 1
        write_picture(path, picture)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (OSError(errno.ENOSPC, "No space left on device"), 2, "expected more room on the disk"),
    ],
)
def test_a_stopped_run_goes_on(
    inputs: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    message: str,
) -> None:
    """Catches work that is lost where a run stopped, another result, and an output that is there before it is whole."""
    use(monkeypatch, Brighten(BINS))
    sharp = ["--sharp", str(inputs / "sharp"), "--video", str(inputs / "out.mkv")]
    with monkeypatch.context() as stopping:
        stopping.setattr("spikejax.inference.resumable_output.write_in_format", StopAfter(4, error))
        stopping.setattr(sys, "argv", ["restore", *arguments(inputs, *sharp)])
        with pytest.raises(SystemExit) as ended:
            run(restore.main)
    assert ended.value.code == code
    said = capsys.readouterr().err
    assert message in said
    assert "4 frames kept; --resume goes on from there" in said
    assert not (inputs / "out").exists()
    restore.main(arguments(inputs, *sharp, "--resume"))
    np.testing.assert_array_equal(read(inputs / "out"), read(inputs / "sharp"))
    content = json.loads((inputs / "out" / "metrics.json").read_text())
    assert (content["frames"], content["resumed_at"], len(content["per_frame"])) == (FRAMES, 4, FRAMES)
    assert open_frames(inputs / "out.mkv").count == FRAMES
    assert not (inputs / ".out.partial").exists()
    restore.main(arguments(inputs, *sharp, "--resume"))
    assert "complete already" in capsys.readouterr().out


def test_a_damaged_middle(inputs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a video that is given up for a few lost bytes, and a loss that no script can notice."""
    use(monkeypatch, Brighten(None))
    frames = np.stack([data.astronaut()[index : index + 64, index : index + 96] // 2 for index in range(30)])
    write_video(inputs / "blur.mp4", frames)
    content = (inputs / "blur.mp4").read_bytes()
    middle = len(content) // 2
    (inputs / "blur.mp4").write_bytes(content[:middle] + bytes(300) + content[middle + 300 :])
    out = inputs / "out.mp4"
    words = ["restore", "--network", "w", "--input", str(inputs / "blur.mp4"), "--output", str(out), *TILES]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        run(restore.main)
    assert ended.value.code == 3
    said = capsys.readouterr().err
    assert "spikejax: damaged input: restored what decodes of" in said
    content = json.loads((inputs / "out.metrics.json").read_text())
    assert content["damage"] in said
    times = [time for _, time in open_frames(out).read()]
    assert len(times) == content["frames"] > 10
    assert times[-1] == Fraction(29, 25)


class NotFinite(Brighten):
    """Stands in for a network whose answer to white is not finite."""

    def __call__(self, clip: jax.Array, voxels: jax.Array | None, *, key: jax.Array | None = None) -> jax.Array:
        """Changes nothing else."""
        return jnp.where(clip > 0.99, jnp.nan, super().__call__(clip, voxels))


def whiten(inputs: Path) -> None:
    """Makes the first pixel of the last frame white."""
    for name in ("blur", "sharp"):
        path = inputs / name / f"{FRAMES - 1:06d}.png"
        frame = next(iter(open_frames(path.parent / "*6.png")))
        frame[0, 0] = 255
        write_picture(path, frame)


def test_pictures_that_are_not_finite(
    inputs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches black frames without a word, an exit code that says all is well, and finished frames that are lost."""
    use(monkeypatch, NotFinite(None))
    whiten(inputs)
    monkeypatch.setattr(sys, "argv", ["restore", *arguments(inputs, spikes=False)])
    with pytest.raises(SystemExit) as ended:
        run(restore.main)
    assert ended.value.code == 4
    *_, kept, error = capsys.readouterr().err.splitlines()
    assert error == (
        "spikejax: error: expected finite pictures from the network, in float32 too, found nan in frame 6 at row 0, "
        "column 0"
    )
    assert kept == "spikejax: 3 frames kept; --resume goes on from there"
    assert not (inputs / "out").exists()


def test_pictures_that_are_finite_in_float32(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a count that does not come to metrics.json."""
    whiten(inputs)
    spoiled = restorer_of(NotFinite(None))
    monkeypatch.setattr(spoiled.network, "_build_float32", lambda: Brighten(None))
    monkeypatch.setattr(restore, "_load", lambda options: spoiled)
    restore.main(arguments(inputs, spikes=False))
    np.testing.assert_array_equal(read(inputs / "out"), read(inputs / "sharp"))
    assert json.loads((inputs / "out" / "metrics.json").read_text())["tiles_in_float32"] == 1


class TooLarge(Brighten):
    """Stands in for a network that no device can hold."""

    def __call__(self, clip: jax.Array, voxels: jax.Array | None, *, key: jax.Array | None = None) -> jax.Array:
        """Ends as the allocator does."""
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.\nBuffers: ...")


def test_a_tile_larger_than_the_device(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches pages of buffers for a tile that was chosen too large, without a word about tiles."""
    use(monkeypatch, TooLarge(None))
    with pytest.raises(InputError, match=r"\(--tile auto finds one\): RESOURCE_EXHAUSTED: .* 9 bytes\.$"):
        restore.main(arguments(inputs, spikes=False))


def _resize_a_frame(inputs: Path) -> None:
    write_picture(inputs / "blur" / "000003.png", np.zeros((HEIGHT, WIDTH + 2, 3), np.uint8))


def _remove_spikes(inputs: Path) -> None:
    (inputs / "spike" / "000002.dat").unlink()


def _truncate_spikes(inputs: Path) -> None:
    file = inputs / "spike" / "000002.dat"
    file.write_bytes(file.read_bytes()[:-1])


def _spikes_of_another_size(inputs: Path) -> None:
    (inputs / "spike" / "config.yaml").write_text("spike_h: 8\nspike_w: 16\n")


def _spikes_of_another_length(inputs: Path) -> None:
    write_dat(inputs / "spike" / "000007.dat", np.ones((STEPS, HEIGHT, WIDTH), np.uint8))


def _empty_folder(inputs: Path) -> None:
    for file in (inputs / "blur").iterdir():
        file.unlink()


def _video_that_does_not_decode(inputs: Path) -> None:
    _empty_folder(inputs)
    (inputs / "blur").rmdir()
    (inputs / "blur").write_bytes(b"\x00\x00\x00\x18ftypmp42" + bytes(3000))


def _one_frame(inputs: Path) -> None:
    for folder in ("blur", "spike", "sharp"):
        for file in sorted((inputs / folder).iterdir())[1:]:
            file.unlink()


def _damaged_frame(inputs: Path) -> None:
    file = inputs / "blur" / "000005.png"
    file.write_bytes(file.read_bytes()[:-500])


def _fewer_sharp_frames(inputs: Path) -> None:
    (inputs / "sharp" / "000006.png").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_resize_a_frame, "000000.png is 52x36 but 000003.png is 54x36"),
        (_remove_spikes, "expected a spike file for frame 000002.png"),
        (_truncate_spikes, "expected a whole number of spike frames"),
        (_spikes_of_another_size, "expected spikes of the pictures' size 36x52"),
        (_spikes_of_another_length, "expected as many spike files as frames (7), found 8"),
        (_empty_folder, "expected pictures"),
        (_video_that_does_not_decode, "expected a video"),
        (_one_frame, "expected at least 2 frames, found 1"),
        (_damaged_frame, "expected a picture, cannot decode"),
        (_fewer_sharp_frames, "expected sharp frames like the restored ones (7 frames of 36x52"),
    ],
)
def test_bad_input(
    inputs: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[Path], None],
    message: str,
) -> None:
    """Catches a traceback, more than one line, another exit code than 2, and half-written output."""
    use(monkeypatch, Brighten(BINS))
    damage(inputs)
    before = sorted(inputs.rglob("*"))
    monkeypatch.setattr(sys, "argv", ["restore", *arguments(inputs, "--sharp", str(inputs / "sharp"))])
    with pytest.raises(SystemExit) as ended:
        run(restore.main)
    assert ended.value.code == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("spikejax: error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert sorted(inputs.rglob("*")) == before


def test_spikes_as_the_network_needs(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches spikes that are silently ignored, and a failure deep inside the network where they are missing."""
    use(monkeypatch, Brighten(None))
    with pytest.raises(InputError, match="takes none"):
        restore.main(arguments(inputs))
    use(monkeypatch, Brighten(BINS))
    with pytest.raises(InputError, match="needs them"):
        restore.main(arguments(inputs, spikes=False))


@pytest.mark.parametrize("tile", ["1,24,32", "4,8,32"])
def test_a_tile_smaller_than_the_network_takes(inputs: Path, monkeypatch: pytest.MonkeyPatch, tile: str) -> None:
    """Catches a failure inside the network that speaks of clips instead of the option."""
    use(monkeypatch, Brighten(BINS))
    with pytest.raises(InputError, match=f"--tile of at least 2,16,16, found {tile}"):
        restore.main(arguments(inputs, "--tile", tile, "--overlap", "0,0,0"))


@pytest.mark.slow
def test_a_trained_network(inputs: Path) -> None:
    """Catches parameters or statistics that do not reach the network: its answer is that of the network in memory."""
    network, params = save_random_network(inputs / "work", tiny_config())
    restore.main(arguments(inputs, "--tile", f"{FRAMES},{HEIGHT},{WIDTH}"))
    counts = np.full((FRAMES, HEIGHT, WIDTH, BINS), STEPS // BINS, np.uint8)
    shape = ClipShape((FRAMES, HEIGHT, WIDTH), counts=counts.shape)
    # Compiled the same way, so that the compilation cache answers.
    in_memory = CompiledNetwork(
        nnx.merge(network.graph, params), shape, statistics=(STATISTICS["mean"], STATISTICS["std"])
    )
    (answer,) = in_memory.restore([(read(inputs / "blur"), counts)])
    np.testing.assert_array_equal(read(inputs / "out"), metrics.to_uint8(answer))


@pytest.mark.slow
def test_restoring_needs_no_tensorflow() -> None:
    """Catches log writers imported by way of the checkpoint reader."""
    program = (
        "import sys, spikejax.restore, spikejax.inference.restore_job, spikejax.training.checkpoint\n"
        "heavy = {'tensorflow', 'clu', 'tensorboard', 'tensorflow_datasets'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
