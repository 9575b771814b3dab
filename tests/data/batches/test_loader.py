"""Tests of augmentation and of the training batches."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikejax.data.batches.augment import Augmentation, augment, draw_augmentation, draw_box
from spikejax.data.batches.loader import SampleDraws, batch_names, train_loader
from spikejax.data.datasets.clip_dataset import ClipSpec
from spikejax.data.datasets.folder_dataset import FolderDataset
from spikejax.errors import InputError


def index_clip() -> dict[str, np.ndarray]:
    """A clip whose values say where they come from, the same in all three arrays: time, row, column."""
    time, row, column = np.meshgrid(np.arange(3), np.arange(4), np.arange(4), indexing="ij")
    clip = np.stack([time, row, column], axis=-1).astype(np.float32)
    return {"input": clip, "sharp": clip.copy(), "voxels": clip.copy()}


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize("columns", [False, True])
def test_all_three_move_together(turns: int, rows: bool, columns: bool) -> None:
    """Catches a flip or turn of one array alone, of the wrong axes, or of time."""
    moved = augment(index_clip(), Augmentation(flip_rows=rows, flip_columns=columns, quarter_turns=turns))
    for time in range(3):
        expected = index_clip()["input"][time]
        expected = expected[::-1] if rows else expected
        expected = expected[:, ::-1] if columns else expected
        for _ in range(turns):
            expected = expected.transpose(1, 0, 2)[::-1]
        for key in ("input", "sharp", "voxels"):
            np.testing.assert_array_equal(moved[key][time], expected)
            assert moved[key].flags.c_contiguous


def test_reversed_time_reverses_the_bins_too() -> None:
    """Catches bins that still run forward in a clip that is played backwards."""
    clip = index_clip()
    moved = augment(clip, Augmentation(reverse_time=True))
    np.testing.assert_array_equal(moved["input"], clip["input"][::-1])
    np.testing.assert_array_equal(moved["sharp"], clip["sharp"][::-1])
    np.testing.assert_array_equal(moved["voxels"], clip["voxels"][::-1, ..., ::-1])


def test_draws_cover_what_is_allowed_and_no_more() -> None:
    """Catches boxes off the spikes' grid or never at the border, and augmentation that was switched off."""
    rng = np.random.default_rng(0)
    boxes = [draw_box(rng, height=18, width=12, crop=8, ratio=2) for _ in range(300)]
    assert {box.top for box in boxes} == {0, 2, 4, 6, 8, 10} and {box.left for box in boxes} == {0, 2, 4}
    drawn = {draw_augmentation(rng, flips=True, rotate=True, reverse_time=False) for _ in range(300)}
    assert len(drawn) == 16 and not any(augmentation.reverse_time for augmentation in drawn)
    assert {draw_augmentation(rng, flips=False, rotate=False, reverse_time=False) for _ in range(9)} == {Augmentation()}


@pytest.fixture
def dataset(make_root: Callable[..., Path], tmp_path: Path) -> FolderDataset:
    """Seven windows of two frames; spikes at half the size."""
    return FolderDataset(make_root(tmp_path, lengths=(4, 5), ratio=2), "train", ClipSpec(frames=2, bins=3))


DRAWS = SampleDraws(crop=8)


def test_batches_are_parts_of_the_clips(dataset: FolderDataset) -> None:
    """Catches pictures, sharp pictures and voxels of different places, and a crop that never moves."""
    loader = train_loader(dataset, SampleDraws(8, flips=False, rotate=False), batch_size=7, workers=0, seed=3)
    batch = next(loader)
    assert batch["input"].shape == (7, 2, 8, 8, 3) and batch["voxels"].shape == (7, 2, 4, 4, 3)
    assert set(batch) == {"input", "sharp", "voxels"}
    height, width, _ = dataset.size(0)
    clips = [dataset[index] for index in range(7)]
    places = []
    for blur, sharp, voxels in zip(batch["input"], batch["sharp"], batch["voxels"], strict=True):
        (found,) = [
            (index, top, left)
            for index in range(7)
            for top in range(height - 7)
            for left in range(width - 7)
            if np.array_equal(clips[index]["input"][:, top : top + 8, left : left + 8], blur)
        ]
        index, top, left = found
        places.append(found)
        clip = clips[index]
        np.testing.assert_array_equal(clip["sharp"][:, top : top + 8, left : left + 8], sharp)
        half = (top // 2, left // 2)
        np.testing.assert_array_equal(clip["voxels"][:, half[0] : half[0] + 4, half[1] : half[1] + 4], voxels)
    # One epoch: every window once, in another order than on disk.
    indices = [place[0] for place in places]
    assert sorted(indices) == list(range(7)) and indices != list(range(7))
    assert len({place[1:] for place in places}) > 3


@pytest.mark.parametrize("workers", [1, 3])
def test_same_samples_for_any_workers_and_batch_size(dataset: FolderDataset, workers: int) -> None:
    """Catches samples that depend on threads or on the batch they are in: 12 batches of 2 are 6 batches of 4."""
    one = train_loader(dataset, DRAWS, batch_size=4, workers=0, seed=3)
    other = train_loader(dataset, DRAWS, batch_size=2, workers=workers, seed=3)
    for _ in range(6):
        batch, halves = next(one), [next(other), next(other)]
        for key in batch:
            np.testing.assert_array_equal(batch[key], np.concatenate([half[key] for half in halves]))


def test_epochs_and_seeds_differ(dataset: FolderDataset) -> None:
    """Catches an epoch that repeats the one before, and a seed without effect."""
    loader = train_loader(dataset, DRAWS, batch_size=7, workers=0, seed=3)
    first, second = next(loader), next(loader)
    assert not np.array_equal(first["input"], second["input"])
    other = train_loader(dataset, DRAWS, batch_size=7, workers=0, seed=4)
    assert not np.array_equal(first["input"], next(other)["input"])


def test_a_window_is_cut_and_turned_anew_in_every_epoch(make_root: Callable[..., Path], tmp_path: Path) -> None:
    """Catches augmentation that forgets the epoch: training would see the same few crops for ever."""
    only = FolderDataset(make_root(tmp_path, lengths=(2,)), "train", ClipSpec(frames=2, bins=None))
    assert len(only) == 1
    loader = train_loader(only, DRAWS, batch_size=1, workers=0, seed=3)
    assert len({next(loader)["input"].tobytes() for _ in range(20)}) > 15


def test_the_last_frame_is_there_again(dataset: FolderDataset) -> None:
    """Catches the first frame repeated where time was turned round, or one array that is not as long as the others."""
    plain = train_loader(dataset, SampleDraws(8, reverse_time=True), batch_size=4, workers=0, seed=3)
    longer = train_loader(dataset, SampleDraws(8, reverse_time=True, repeat_last=2), batch_size=4, workers=0, seed=3)
    for _ in range(3):
        clips, lengthened = next(plain), next(longer)
        assert clips.keys() == lengthened.keys() == {"input", "sharp", "voxels"}
        for key, clip in clips.items():
            np.testing.assert_array_equal(lengthened[key][:, :-2], clip)
            np.testing.assert_array_equal(lengthened[key][:, -2:], clip[:, [-1, -1]])


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("draws", [DRAWS, SampleDraws(8, threshold_factor=4.0)])
def test_state_continues_at_the_very_next_batch(dataset: FolderDataset, draws: SampleDraws, workers: int) -> None:
    """Catches batches lost or repeated around a restart (prefetched ones must not count as used), or other spikes."""
    loader = train_loader(dataset, draws, batch_size=3, workers=workers, seed=3)
    for _ in range(5):
        next(loader)
    state = loader.get_state()
    expected = [next(loader) for _ in range(4)]
    continued = train_loader(dataset, draws, batch_size=3, workers=workers, seed=3)
    next(continued)
    continued.set_state(state)
    for batch in expected:
        for key, values in next(continued).items():
            np.testing.assert_array_equal(values, batch[key])


@pytest.mark.parametrize("hosts", [2, 3, 6])
def test_hosts_share_the_batches(dataset: FolderDataset, hosts: int) -> None:
    """Catches samples that two hosts make, or none: together their rows are the batch of a single host, in order."""
    whole = train_loader(dataset, DRAWS, batch_size=6, workers=0, seed=3)
    parts = [
        train_loader(dataset, DRAWS, batch_size=6, workers=1, shard_index=host, shard_count=hosts, seed=3)
        for host in range(hosts)
    ]
    for _ in range(5):  # 30 samples: more than four epochs of seven
        batch, rows = next(whole), [next(part) for part in parts]
        for key, values in batch.items():
            np.testing.assert_array_equal(np.concatenate([part[key] for part in rows]), values)


def test_position_is_that_of_any_number_of_hosts(dataset: FolderDataset) -> None:
    """Catches a run that repeats or skips samples when it is continued on another number of hosts."""
    four = [
        train_loader(dataset, DRAWS, batch_size=4, workers=1, shard_index=n, shard_count=4, seed=3) for n in range(4)
    ]
    for part in four:
        for _ in range(3):
            next(part)
    states = [part.get_state() for part in four]
    assert all(state == states[0] for state in states)
    expected = np.concatenate([next(part)["input"] for part in four])
    two = [
        train_loader(dataset, DRAWS, batch_size=4, workers=0, shard_index=n, shard_count=2, seed=3) for n in range(2)
    ]
    for part in two:
        part.set_state(states[0])
    np.testing.assert_array_equal(np.concatenate([next(part)["input"] for part in two]), expected)


def test_every_sample_once_an_epoch(dataset: FolderDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches tails that are dropped or filled up: 7 windows, batches of 4 on 2 hosts, over 4 epochs."""
    read: list[int] = []
    original = dataset.read_stored
    monkeypatch.setattr(dataset, "read_stored", lambda index, *rest: (read.append(index), original(index, *rest))[1])
    parts = [
        train_loader(dataset, DRAWS, batch_size=4, workers=0, shard_index=n, shard_count=2, seed=3) for n in range(2)
    ]
    for _ in range(7):
        for part in parts:
            next(part)
    assert all(read.count(index) == 4 for index in range(7)), sorted(read)


@pytest.mark.parametrize("error", [InputError("a frame is damaged"), MemoryError(), SystemExit(3)])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_failing_worker_is_an_error_and_not_a_hang(
    dataset: FolderDataset, monkeypatch: pytest.MonkeyPatch, workers: int, error: BaseException
) -> None:
    """Catches a training that waits for ever for a batch that nobody makes; the traceback names the place."""

    def fail(*_: object) -> None:
        raise error

    loader = train_loader(dataset, DRAWS, batch_size=1, workers=workers, seed=3)
    next(loader)
    monkeypatch.setattr(dataset, "read_frames", fail)
    with pytest.raises(type(error)) as caught:
        for _ in range(20):  # some batches may be ready already
            next(loader)
    assert any(entry.name == "fail" for entry in caught.traceback)


def test_threshold_is_drawn_anew_for_every_sample(dataset: FolderDataset) -> None:
    """Catches a threshold that is never raised, moves the crops, or is the same for all clips."""
    plain, raised = (
        next(train_loader(dataset, SampleDraws(8, threshold_factor=factor), batch_size=7, workers=0, seed=3))
        for factor in (1.0, 4.0)
    )
    np.testing.assert_array_equal(raised["input"], plain["input"])
    axes = (1, 2, 3, 4)
    lower = raised["voxels"].sum(axis=axes) / plain["voxels"].sum(axis=axes)
    assert (raised["voxels"] <= plain["voxels"]).all() and len(set(lower)) == 7
    again = next(train_loader(dataset, SampleDraws(8, threshold_factor=4.0), batch_size=7, workers=0, seed=3))
    np.testing.assert_array_equal(again["voxels"], raised["voxels"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(shard_index=2, shard_count=2), "host 2 of 2"),
        (dict(shard_index=0, shard_count=3), "divides the batch size"),
        (dict(workers=-1), "no negative number of workers"),
    ],
)
def test_numbers_out_of_range_are_refused(dataset: FolderDataset, options: dict[str, Any], message: str) -> None:
    """Catches hosts that would make no or the same samples."""
    with pytest.raises(InputError, match=message):
        train_loader(dataset, DRAWS, **{"batch_size": 2, "workers": 0, "seed": 3, **options})


def test_a_lower_threshold_is_refused() -> None:
    """Catches a factor below 1, or none at all, that is drawn from silently: no spike can be added."""
    for factor in (0.5, float("nan")):
        with pytest.raises(InputError, match=f"at least 1 .*found {factor}"):
            SampleDraws(8, threshold_factor=factor)


def test_bad_crops_are_refused_at_once(dataset: FolderDataset) -> None:
    """Catches crops that fail in a thread in the middle of training."""
    for crop in (17, 7, 0):
        with pytest.raises(InputError, match=f"found {crop}"):
            train_loader(dataset, SampleDraws(crop), batch_size=2, workers=0, seed=0)


def test_names_of_a_batch(dataset: FolderDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a report that blames other clips than those that were trained on."""
    read, seen = dataset.read_stored, []

    def watch(index: int, *rest: Any) -> dict[str, np.ndarray]:
        seen.append(dataset.window_name(index))
        return read(index, *rest)

    monkeypatch.setattr(dataset, "read_stored", watch)
    loader = train_loader(dataset, DRAWS, batch_size=3, seed=3, workers=0)
    for number in range(4):
        seen.clear()
        next(loader)
        assert batch_names(dataset, batch_size=3, seed=3, number=number) == seen
    name = dataset.window_name(0)
    assert name.startswith(dataset[0]["name"] + "-")
