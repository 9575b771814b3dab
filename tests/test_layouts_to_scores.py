"""A VRT by its published name on imitations of layouts: prepared, trained, evaluated, one wrong entry refused."""

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from spikejax import evaluate, train
from spikejax.data.spikes.stream_size import StreamConfig, write_config
from spikejax.errors import InputError
from tests.data import published_pictures
from tests.data.lmdb_files import pack_folders
from tests.data.published import save
from tests.data.published_pictures import IMITATIONS, Imitation, enlarge, numbered, prepare, remove_one

# A VRT of eight stages, each with a block that has both attentions.
SMALL = {
    "model.vrt.depths": (1,) * 8,
    "model.vrt.dims": (8,) * 8,
    "model.vrt.heads": (1,) * 8,
    "model.vrt.independent": (),
    "model.vrt.deformable_groups": 1,
    "model.vrt.mutual_ratio": 1.0,
    "data.crop": 16,
    "data.batch_size": 2,
    "loss.perceptual_weight": 0.0,
    "optimizer.frozen": "spynet",  # halves the time to compile
    "optimizer.slow": "",
    "optimizer.slow_steps": 0,
    "training.steps": 2,
    "training.log_every": 1,
    "training.loggers": "",
    "validation.every": 2,
    "validation.pictures": 0,
}
TWO_FRAMES = {"model.vrt.window": (2, 4, 4), "data.frames": 2, "validation.frames": 2}
ENLARGED = TWO_FRAMES | {"data.degradation": "none"}  # the smaller pictures are read
SPIKES = TWO_FRAMES | {
    "optimizer.warmup_steps": 0,
    "model.spike.bins": 4,
    "model.spike.channels": (8,) * 4,
    "model.spike.heads": 1,
    "restore.tile": (2, 64, 64),
    "restore.overlap": (1, 20, 20),
}
HEIGHT, WIDTH, STEPS, OFFSET, MARGIN = 64, 96, 8, 13, 20


def write_gopro_with_spikes(source: Path) -> None:
    """GoPro as it can be had with spikes: renamed pictures, and streams of half their size in folders of their own."""
    for split, name in (("train", "GOPR0372_07_00"), ("test", "GOPR0384_11_00")):
        large = source / "GOPRO_Large"
        names = numbered(4, digits=6, first=47)
        published_pictures.write_pairs(large / f"{split}_GT", large / f"{split}_GT_blurred", (name,), names)
        for number in range(47, 51):
            stream = random_stream(number, 8 * int(name.split("_")[1]), ratio=2)
            save(source / "GOPRO_Large_spike_seq" / split / name / "spike" / f"{number:06d}.dat", stream)
    write_config(source / "GOPRO_Large_spike_seq", StreamConfig(HEIGHT // 2, WIDTH // 2))


def write_numbered_otherwise(source: Path) -> None:
    """A set such as S-SDM's: 000006.png belongs to 000019.dat, which has 20 more steps on both sides."""
    for split in ("train", "val"):
        folder = source / split / "GOPR0372_07_00"
        for kind in ("sharp", "blur"):
            published_pictures.write_sequence(folder / kind, numbered(4, digits=6, first=6), seed=3)
        for number in range(6, 10):
            stream = random_stream(number, STEPS + 2 * MARGIN, ratio=4)
            save(folder / "spike" / f"{number + OFFSET:06d}.dat", stream)
    write_config(source, StreamConfig(HEIGHT // 4, WIDTH // 4))


def random_stream(seed: int, steps: int, *, ratio: int) -> np.ndarray:
    """Spikes of pictures that are `ratio` times as large."""
    return np.random.default_rng(seed).integers(0, 2, (steps, HEIGHT // ratio, WIDTH // ratio)).astype(np.uint8)


def write_database(source: Path) -> None:
    """GoPro renamed and packed, as frameworks train on it."""
    published_pictures.write_renamed(source)
    for name in ("train_GT", "train_GT_blurred"):
        pack_folders(source / name)


def cut(path: Path) -> None:
    """Keeps the first half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def enlarge_all(folder: Path) -> None:
    """Makes all pictures of a folder one row and column larger."""
    for path in folder.iterdir():
        enlarge(path)


def of_spikes(layout: str, write: Callable[[Path], None], *options: str) -> Imitation:
    """An imitation with spikes."""
    splits = {"train": {"GOPR0372_07_00": 4}, "val": {"GOPR0384_11_00" if layout == "gopro" else "GOPR0372_07_00": 4}}
    return Imitation(layout, write, splits, options=("--bins", "4", *options))


@dataclass(frozen=True)
class Case:
    """A layout from what is published to scores.

    Attributes:
        imitation: of the data set.
        config: the network by its name.
        changes: of its configuration, beside `SMALL`.
        spoil: makes one entry wrong, in the folder of the data set.
        message: what is then said.
    """

    imitation: Imitation
    config: str
    changes: dict[str, Any]
    spoil: Callable[[Path], object]
    message: str


CASES = {
    "reds": Case(
        *(IMITATIONS["reds"], "vrt:007", TWO_FRAMES),
        lambda source: remove_one(source / "train/train_blur/011"),
        "expected as many pictures of a sequence in both folders, found 4 in .*011 and 3 in .*train_blur/011",
    ),
    "reds, x4": Case(
        *(IMITATIONS["reds smaller, as published"], "vrt:001", ENLARGED),
        lambda source: enlarge(source / "train/train_sharp_bicubic/X4/001/00000002.png"),
        "expected pictures of 16x24 as the sequence's first, found 17x25: .*X4/001/00000002.png",
    ),
    "gopro": Case(
        *(IMITATIONS["gopro"], "vrt:006", TWO_FRAMES),
        lambda source: (source / "GOPRO_Large/test/GOPR0384_11_00/sharp/000002.png").write_bytes(b"no picture"),
        "expected a picture, cannot decode .*GOPR0384_11_00/sharp/000002.png",
    ),
    "gopro, renamed": Case(
        *(IMITATIONS["gopro renamed"], "vrt:006", TWO_FRAMES),
        lambda source: (source / "meta_info_GoPro_GT.txt").write_text("GOPR0372_07_00 4 (64,96,3) 49\n"),
        "expected frames 49 to 52 of GOPR0372_07_00, found 3 of them: .*meta_info_GoPro_GT.txt, line 1",
    ),
    "dvd": Case(
        *(IMITATIONS["dvd"], "vrt:005", TWO_FRAMES),
        lambda source: enlarge_all(source / "quantitative_datasets/IMG_0003/GT"),
        "expected sharp pictures a whole number of times as large as the input, found 65x97",
    ),
    "davis": Case(
        *(IMITATIONS["davis"], "vrt:008", TWO_FRAMES),
        lambda source: (source / "DAVIS/ImageSets/2017/val.txt").write_text("bike-packing\nblackswan\n"),
        r"expected the sequence blackswan of a list \(.*val.txt, line 2\), found none",
    ),
    "vimeo90k": Case(
        *(IMITATIONS["vimeo90k"], "vrt:004"),
        {"model.vrt.window": (8, 4, 4), "model.vrt.deformable_groups": 2, "data.degradation": "none"},
        lambda source: (source / "sep_testlist.txt").write_text("00001/0266\n00001/0999\n"),
        r"expected the sequence 00001/0999 of a list \(.*sep_testlist.txt, line 2\), found none",
    ),
    "vimeo90k, sharp alone": Case(
        *(IMITATIONS["vimeo90k, sharp alone"], "vrt:009", {"model.vrt.window": (4, 4, 4), "optimizer.frozen": ""}),
        lambda source: enlarge(source / "sequences/00001/0002/im4.png"),
        "expected pictures of 64x96 as the sequence's first, found 65x97: .*00001/0002/im4.png",
    ),
    "pairs": Case(
        *(IMITATIONS["pairs"], "vrt:006", TWO_FRAMES),
        lambda source: shutil.rmtree(source / "val/LQ/clip1"),
        "expected .*val/LQ",
    ),
    "lmdb": Case(
        Imitation("gopro", write_database, IMITATIONS["gopro renamed"].splits),
        *("vrt:006", TWO_FRAMES),
        lambda source: cut(source / "train_GT_blurred.lmdb/data.mdb"),
        r"bytes of data.mdb, found \d+, a file that was cut: .*GT_blurred.lmdb",
    ),
    "gopro with spikes": Case(
        of_spikes("gopro", write_gopro_with_spikes),
        *("spike:baseline", SPIKES),
        lambda source: (source / "GOPRO_Large_spike_seq/config.yaml").unlink(),
        "expected .*--spike-size",
    ),
    "S-SDM": Case(
        of_spikes("folders", write_numbered_otherwise, "--spike-offset", str(OFFSET), "--spike-margin", str(MARGIN)),
        *("spike:baseline", SPIKES),
        lambda source: (source / "train/GOPR0372_07_00/spike/000019.dat").rename(
            source / "train/GOPR0372_07_00/spike/first.dat"
        ),
        r"numbers as the streams' names with --spike-offset, found .*first\.dat",
    ),
}


# Each trains another network or reads another kind of files; what differs in the rest is how they are prepared.
TRAINED = ("reds, x4", "gopro with spikes", "davis", "vimeo90k, sharp alone")


def with_needs(names: Iterable[str]) -> list[Any]:
    """The names as parameters, with what they need."""
    return [pytest.param(name, marks=[pytest.mark.needs("lmdb")] * (name == "lmdb")) for name in names]


@pytest.mark.parametrize("name", with_needs(CASES))
def test_one_wrong_entry_is_refused(name: str, tmp_path: Path) -> None:
    """Catches a wrong entry that is prepared, or refused without the line that names it."""
    case = CASES[name]
    case.imitation.write(tmp_path / "wrong")
    case.spoil(tmp_path / "wrong")
    with pytest.raises(InputError, match=case.message) as caught:
        prepare(case.imitation, tmp_path / "wrong", tmp_path / "none")
    assert "\n" not in str(caught.value)


@pytest.fixture
def least_effort() -> Iterator[None]:
    """XLA's least: of programs that run twice most of it is lost, a fifth of what such a test takes."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.mark.slow
@pytest.mark.usefixtures("least_effort")
@pytest.mark.parametrize("name", with_needs(TRAINED))
def test_from_what_is_published_to_scores(name: str, tmp_path: Path) -> None:
    """Catches a layout that a real network cannot be trained on as its configuration says, or be evaluated on."""
    case, source, root = CASES[name], tmp_path / "source", tmp_path / "root"
    case.imitation.write(source)
    prepare(case.imitation, source, root)
    values = SMALL | case.changes | {"data.root": root}
    options = ["--config", case.config, *(f"--config.{key}={value}" for key, value in values.items())]
    train.main([*options, "--workdir", str(tmp_path / "run")])
    losses, validated = curve(tmp_path / "run", "training/loss"), curve(tmp_path / "run", "validation/psnr_recon")
    assert len(losses) == 2 and np.isfinite(losses).all()

    arguments = ["--network", str(tmp_path / "run"), "--metrics", "psnr", "ssim"]
    evaluate.main([*arguments, "--output", str(tmp_path / "out")])
    content = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert set(content["clips"]) == set(case.imitation.splits["val"])
    assert [content["total"]["psnr_recon"]] == pytest.approx(validated, abs=1e-3)


def curve(workdir: Path, name: str) -> list[float]:
    """The values of a curve of a run, such as training/loss."""
    points = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [point["value"] for point in points if f"{point['group']}/{point['name']}" == name]
