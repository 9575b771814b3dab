"""What is read of each kind of file, as the commands read it, and small whole files to be damaged.

Every reader is a command line's `main`: of the command itself where that takes milliseconds, else of the functions that
the command calls. Networks are a stand-in that gives back its input; compiling the real one would be all of the time.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import jax.numpy as jnp
import numpy as np
from flax import nnx
from PIL import Image
from safetensors.numpy import save_file

from convert.__main__ import main as convert
from convert.array_files import read_arrays, write_arrays
from spikejax import report, restore, view
from spikejax.config.files import load_config, read_saved_config, save_config
from spikejax.config.keys import check_config
from spikejax.data.datasets.clip_dataset import ClipSpec
from spikejax.data.datasets.folder_dataset import FolderDataset
from spikejax.data.datasets.voxel_statistics import SpikeStatistics
from spikejax.data.simulation.moving_photographs import write_moving_photographs
from spikejax.data.spikes.stream_files import write_dat
from spikejax.inference.tiling import Extent
from spikejax.inference.video_restorer import VideoRestorer
from spikejax.io import y4m
from spikejax.io.colours import VideoColours
from spikejax.io.pixel_formats import pixel_format
from spikejax.io.raw_frames import RawLayout, picture_of
from spikejax.io.still_pictures import write_exr
from spikejax.io.tiled_arrays import create_frames, open_frames_array
from spikejax.io.weights import Weights, read_weights, write_weights
from spikejax.models.traits import NetworkTraits
from spikejax.training.monitoring.metrics_log import MetricPoint, MetricsLog

Main = Callable[[Sequence[str]], None]
HEIGHT, WIDTH, FRAMES, BINS = 24, 32, 3, 2
_TILES = ["--tile", "2,24,32", "--overlap", "1,8,8"]


@dataclass(frozen=True)
class Reader:
    """How one kind of file is read.

    Attributes:
        write: makes a whole input, of several kinds if there are any, in a new folder.
        damaged: pattern of the files below that folder, one of which is damaged.
        read: the command, told the folder and where to write.
        output: the name of what is to be there whole or not at all; "" = nothing is written.
    """

    write: Callable[[Path, random.Random], None]
    damaged: str
    read: Callable[[Path], None]
    output: str = ""


class _Same(nnx.Module):
    """A network that gives back its input."""

    def __init__(self, spike_bins: int | None) -> None:
        self.spike_bins = spike_bins
        self.factor = nnx.Param(jnp.float32(1))

    def __call__(self, clip: Any, voxels: Any, *, key: Any = None) -> Any:
        return self.factor[...] * clip


def _stand_in(bins: int | None) -> VideoRestorer:
    return VideoRestorer(
        _Same(bins),
        NetworkTraits(spike_bins=bins),
        statistics=SpikeStatistics(BINS, 0.5, 0.25, windows=1),
        tile=Extent(2, HEIGHT, WIDTH),
        overlap=Extent(1, 8, 8),
        name="a stand-in",
    )


def _named_in(folder: Path) -> Path:
    """The one input of a folder; a name where it is gone."""
    return next(folder.glob("in*"), folder / "in.mp4")


def _restore(input_path: Path, output: Path, *more: str) -> None:
    restore.main(["--network", "n", "--input", str(input_path), "--output", str(output), *_TILES, *more])


# ---- Pictures, videos and spikes ----


def _frames(draw: random.Random) -> np.ndarray:
    return np.random.default_rng(draw.randrange(10)).integers(0, 256, (FRAMES, HEIGHT, WIDTH, 3), np.uint8)


def _pictures(suffix: str, modes: Sequence[str]) -> Callable[[Path, random.Random], None]:
    def write(folder: Path, draw: random.Random) -> None:
        mode, options = draw.choice(modes), {}
        if suffix == "tif":
            options["compression"] = draw.choice(["raw", "tiff_lzw", "tiff_adobe_deflate"])
        (folder / "in").mkdir()
        for number, frame in enumerate(_frames(draw)):
            deep = mode in ("I;16", "F")
            picture = Image.fromarray(
                frame[..., 0].astype(np.uint16 if mode == "I;16" else np.float32) if deep else frame
            )
            picture = picture if deep else picture.convert(mode)
            picture.save(folder / "in" / f"{number:06d}.{suffix}", **(options if not deep else {}))

    return write


def _video(folder: Path, draw: random.Random) -> None:
    suffix, codec, pixels = draw.choice(
        [
            ("mp4", "h264", "yuv420p"),
            ("mkv", "ffv1", "yuv444p"),
            ("avi", "mjpeg", "yuvj420p"),
            ("mov", "mpeg4", "yuv420p"),
        ]
    )
    with av.open(str(folder / f"in.{suffix}"), "w") as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pixels
        for frame in [*_frames(draw)] * 2:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        container.mux(stream.encode())


def _exr(folder: Path, draw: random.Random) -> None:
    (folder / "in").mkdir()
    alpha = draw.random() < 0.5
    for number, frame in enumerate(_frames(draw)):
        layers = np.dstack([frame, frame[..., :1]]) if alpha else frame
        write_exr(folder / "in" / f"{number:06d}.exr", (layers / 100).astype(np.float32))


def _animation(folder: Path, draw: random.Random) -> None:
    suffix = draw.choice(["gif", "webp", "png", "avif"])
    first, *others = (Image.fromarray(frame).convert("RGBA") for frame in _frames(draw))
    first.save(folder / f"in.{suffix}", save_all=True, append_images=others, duration=[40, 0, 200][: 1 + len(others)])


def _y4m(folder: Path, draw: random.Random) -> None:
    name = draw.choice(y4m.FORMATS)
    layout = RawLayout(name, HEIGHT, WIDTH)
    content = [y4m.Y4mHeader(name, HEIGHT, WIDTH, Fraction(25), full=False).line()]
    for frame in _frames(draw):
        colours = VideoColours(pixel_format("yuv420p")).stored_as(name)
        content += [y4m.FRAME + b"\n", layout.bytes_of(picture_of(frame, colours))]
    (folder / "in.y4m").write_bytes(b"".join(content))


def _restore_pipe(folder: Path) -> None:
    """Restores y4m as it comes through a pipe."""
    restore._load = lambda options: _stand_in(None)
    if not _named_in(folder).is_file():
        return _restore(_named_in(folder), folder / "out")
    pipe, content = folder / "pipe", _named_in(folder).read_bytes()
    os.mkfifo(pipe)

    def feed() -> None:
        with suppress(BrokenPipeError), pipe.open("wb") as writer:
            writer.write(content)

    thread = threading.Thread(target=feed, daemon=True)
    thread.start()
    try:
        _restore(pipe, folder / "out")
    finally:
        with suppress(OSError):  # the writer may wait for a reader yet
            os.close(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK))
        thread.join()
        pipe.unlink()


def _spikes(suffix: str) -> Callable[[Path, random.Random], None]:
    def write(folder: Path, draw: random.Random) -> None:
        _pictures("png", ["RGB"])(folder, draw)
        spikes = np.random.default_rng(0).integers(0, 2, (8, HEIGHT, WIDTH), np.uint8)
        (folder / "spike").mkdir()
        for number in range(FRAMES):
            if suffix == "dat":
                write_dat(folder / "spike" / f"{number:06d}.dat", spikes)
            else:
                counts = spikes.reshape(BINS, -1, HEIGHT, WIDTH).sum(axis=1)
                np.save(folder / "spike" / f"{number:06d}.npy", counts.astype(draw.choice([np.uint8, np.float32])))
        size = f"spike_h: {HEIGHT}\nspike_w: {WIDTH}\n"
        (folder / "spike" / "config.yaml").write_text(size)

    return write


def _stream(folder: Path, draw: random.Random) -> None:
    _pictures("png", ["RGB"])(folder, draw)
    write_dat(folder / "all.dat", np.random.default_rng(0).integers(0, 2, (24, HEIGHT, WIDTH), np.uint8))
    rows = "".join(f"{8 * number},{8 * number + 8}\n" for number in range(FRAMES))
    (folder / "windows.csv").write_text("t0,t1\n" + rows)


def _restore_pictures(folder: Path) -> None:
    restore._load = lambda options: _stand_in(None)
    _restore(folder / "in", folder / "out")


def _restore_video(folder: Path) -> None:
    restore._load = lambda options: _stand_in(None)
    _restore(_named_in(folder), folder / "out")


def _restore_with_spikes(folder: Path) -> None:
    restore._load = lambda options: _stand_in(BINS)
    if (folder / "windows.csv").exists():
        more = ["--spike-windows", str(folder / "windows.csv"), "--spike-size", f"{HEIGHT}x{WIDTH}"]
        _restore(folder / "in", folder / "out", "--spikes", str(folder / "all.dat"), *more)
    else:
        _restore(folder / "in", folder / "out", "--spikes", str(folder / "spike"))


# ---- Data sets ----


def _data_set(folder: Path, draw: random.Random) -> None:
    kept = folder.parents[1] / "data_set"
    if not kept.exists():
        sizes = dict(train_sequences=1, val_sequences=1, frames=FRAMES, height=HEIGHT, width=WIDTH, max_motion=4.0)
        write_moving_photographs(kept, seed=1, bins=BINS, progress=False, **sizes)  # type: ignore[arg-type]
    shutil.copytree(kept, folder / "in")


def _read_data_set(folder: Path) -> None:
    for split in ("train", "val"):
        data_set = FolderDataset(folder / "in", split, ClipSpec(2, BINS, crop=None))
        for name, length in data_set.sequences():
            data_set.read_stored_sequence(name, 0, length)
    view.main(["--input", str(folder / "in"), "--output", str(folder / "out.png")])


def _zarr(folder: Path, draw: random.Random) -> None:
    counts = np.random.default_rng(0).integers(0, 9, (FRAMES, HEIGHT, WIDTH, BINS), np.uint8)
    array = create_frames(folder / "in.zarr", counts.shape)
    for number, frame in enumerate(counts):
        array.write(number, frame)


def _read_zarr(folder: Path) -> None:
    array = open_frames_array(folder / "in.zarr")
    array.read(0, FRAMES)


# ---- Weights ----


def _arrays(suffix: str) -> Callable[[Path, random.Random], None]:
    def write(folder: Path, draw: random.Random) -> None:
        rng = np.random.default_rng(0)
        arrays = {f"moduleBasic.{n}.weight": rng.random((2, 3), np.float32) for n in range(4)}
        path = folder / f"in.{suffix}"
        if suffix == "npz":
            named: Any = arrays
            np.savez(path, **named)
        elif suffix == "safetensors":
            save_file(arrays, path, metadata={"format": "pt"})
        else:
            write_arrays(path, arrays, wrapper=draw.choice([None, "params"]))

    return write


def _read_foreign(folder: Path) -> None:
    path = _named_in(folder)
    for array in read_arrays(path).values():
        np.asarray(array)
    convert(["info", str(path)])


def _own(name: str) -> Callable[[Path, random.Random], None]:
    def write(folder: Path, draw: random.Random) -> None:
        params = {"levels": {0: {"kernel": np.ones((3, 2), np.float32), "bias": np.zeros(2, np.float32)}}}
        write_weights(folder / name, Weights("spynet", None, params))

    return write


def _read_own(folder: Path) -> None:
    read_weights(_named_in(folder))


# ---- Configurations and texts ----


def _configuration(folder: Path, draw: random.Random) -> None:
    lines = ["from spikejax.config import defaults", "", "def get_config():", "    config = defaults.get_config()"]
    values = {
        "training.steps": 10,
        "data.crop": 64,
        "optimizer.warmup_steps": 2,
        "model.vrt.window": (2, 8, 8),
        "seed": 3,
    }
    lines += [f"    config.{key} = {value!r}" for key, value in values.items()]
    (folder / "in.py").write_text("\n".join([*lines, "    return config", ""]))


def _read_configuration(folder: Path) -> None:
    check_config(load_config(folder / "in.py"), paths=False)


def _saved_configuration(folder: Path, draw: random.Random) -> None:
    _configuration(folder, draw)
    save_config(load_config(folder / "in.py"), folder / "config.json")


def _read_saved_configuration(folder: Path) -> None:
    check_config(read_saved_config(folder / "config.json"), paths=False)


def _overrides(folder: Path, draw: random.Random) -> None:
    _configuration(folder, draw)
    words = ["training.steps=20", "data.crop=32", "model.vrt.window=(2, 8, 8)", "optimizer.frozen=", "seed=4"]
    (folder / "words.txt").write_text("".join(f"--config.{word}\n" for word in words))


def _read_overrides(folder: Path) -> None:
    file = folder / "words.txt"
    words = (file.read_bytes() if file.is_file() else b"").decode(errors="surrogateescape").split("\n")
    check_config(load_config(folder / "in.py", [word for word in words if word]), paths=False)


def _points(folder: Path, draw: random.Random) -> None:
    points = [MetricPoint(step, "training", "loss", 1 / (step + 1), 1.0) for step in range(5)]
    (folder / "metrics.jsonl").write_text("".join(point.to_line() for point in points))


def _read_points(folder: Path) -> None:
    MetricsLog(folder / "metrics.jsonl", step=3).close()


def _restored(folder: Path, draw: random.Random) -> None:
    kept = folder.parents[1] / "restored"
    if not kept.exists():
        kept.mkdir()
        _pictures("png", ["RGB"])(kept, draw)
        restore._load = lambda options: _stand_in(None)
        _restore(kept / "in", kept / "out", "--sharp", str(kept / "in"))
    shutil.copytree(kept / "out", folder / "done")
    metrics = json.loads((folder / "done" / "metrics.json").read_text())
    (folder / "done" / "metrics.json").write_text(json.dumps(metrics | {"input": str(folder / "done")}))


def _report(folder: Path) -> None:
    report.main([str(folder / "done"), "--page", str(folder / "out.html")])


READERS: dict[str, Reader] = {
    "PNG": Reader(_pictures("png", ["RGB", "L", "P", "I;16", "RGBA", "1"]), "in/*", _restore_pictures, "out"),
    "TIFF": Reader(_pictures("tif", ["RGB", "L", "I;16", "F", "CMYK"]), "in/*", _restore_pictures, "out"),
    "JPEG": Reader(_pictures("jpg", ["RGB", "L", "CMYK"]), "in/*", _restore_pictures, "out"),
    "CMYK": Reader(_pictures("jpg", ["CMYK"]), "in/*", _restore_pictures, "out"),
    "WebP": Reader(_pictures("webp", ["RGB", "RGBA"]), "in/*", _restore_pictures, "out"),
    "AVIF": Reader(_pictures("avif", ["RGB", "RGBA"]), "in/*", _restore_pictures, "out"),
    "EXR": Reader(_exr, "in/*", _restore_pictures, "out"),
    "animation": Reader(_animation, "in.*", _restore_video, "out"),
    "y4m": Reader(_y4m, "in.*", _restore_video, "out"),
    "y4m pipe": Reader(_y4m, "in.*", _restore_pipe, "out"),
    "video": Reader(_video, "in.*", _restore_video, "out"),
    ".dat": Reader(_spikes("dat"), "spike/*.dat", _restore_with_spikes, "out"),
    ".npy": Reader(_spikes("npy"), "spike/*.npy", _restore_with_spikes, "out"),
    "YAML": Reader(_spikes("dat"), "spike/config.yaml", _restore_with_spikes, "out"),
    "CSV": Reader(_stream, "windows.csv", _restore_with_spikes, "out"),
    "data set": Reader(_data_set, "in/**/*", _read_data_set, "out.png"),
    "zarr": Reader(_zarr, "in.zarr/**/*", _read_zarr),
    ".pth": Reader(_arrays("pth"), "in.pth", _read_foreign),
    ".npz": Reader(_arrays("npz"), "in.npz", _read_foreign),
    ".safetensors": Reader(_arrays("safetensors"), "in.safetensors", _read_foreign),
    "own .safetensors": Reader(_own("in.safetensors"), "in.safetensors", _read_own),
    "orbax": Reader(_own("in"), "in/**/*", _read_own),
    "configuration": Reader(_configuration, "in.py", _read_configuration),
    "overrides": Reader(_overrides, "words.txt", _read_overrides),
    "config.json": Reader(_saved_configuration, "config.json", _read_saved_configuration),
    "metrics.jsonl": Reader(_points, "metrics.jsonl", _read_points),
    "metrics.json": Reader(_restored, "done/metrics.json", _report, "out.html"),
}
