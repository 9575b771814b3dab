"""What a report shows; tests/test_report.py has the page."""

from pathlib import Path

import numpy as np

from spikejax.io.frame_source import open_frames
from spikejax.io.pictures import write_picture
from spikejax.io.video_writer import write_video
from spikejax.reports.gather import ShownFrame, choose_frames, close_up_side, find_close_ups, gather


def frames_in(folder: Path, frames: np.ndarray) -> Path:
    """A folder of pictures."""
    folder.mkdir()
    for number, frame in enumerate(frames):
        write_picture(folder / f"{number:03d}.png", frame)
    return folder


def test_the_frames_worth_showing() -> None:
    """Catches a report that never shows where restoring failed."""
    scores = [{"psnr_blur": 20.0, "psnr_recon": 20.0 + gain} for gain in (1, 2, -3, 2, 9, 1, 1, 1)]
    assert {2, 4} <= set(choose_frames(8, scores, 4))
    assert choose_frames(8, scores, 1) == [4]
    assert choose_frames(100, [], 3) == [0, 50, 99] or choose_frames(100, [], 3) == [0, 49, 99]
    assert choose_frames(1, [], 4) == [0]


def test_frames_of_folders_and_videos(tmp_path: Path) -> None:
    """Catches a frame of another number, which differs between a folder (by name) and a video (by decoding it)."""
    clip = np.stack([np.full((32, 48, 3), 20 * number, np.uint8) for number in range(6)])
    write_video(tmp_path / "a.mp4", clip)
    folder = open_frames(frames_in(tmp_path / "a", clip))
    shown = gather([4, 1], restored=open_frames(tmp_path / "a.mp4"), source=folder, sharp=folder)
    assert [(frame.number, frame.name) for frame in shown] == [(4, None), (1, None)]
    for frame in shown:
        np.testing.assert_array_equal(frame.before, clip[frame.number])
        np.testing.assert_array_equal(frame.sharp, clip[frame.number])
        assert abs(frame.after.astype(int) - clip[frame.number]).max() <= 2


def test_what_went_in_has_another_rate_size_or_depth(tmp_path: Path) -> None:
    """Catches interpolated frames compared with later ones, and pictures that cannot be laid over each other."""
    small = np.stack([np.full((16, 24, 3), 40 * number, np.uint8) for number in range(3)])
    large = np.repeat(np.repeat(small, 2, axis=1), 2, axis=2)[[0, 0, 1, 1, 2]]
    restored = open_frames(frames_in(tmp_path / "out", large))
    deep = open_frames(frames_in(tmp_path / "deep", small.astype(np.uint16) * 257), own_depth=True)
    for number, frame in enumerate(gather([0, 1, 2, 3, 4], restored=restored, source=deep, sharp=None)):
        assert frame.before.shape == frame.after.shape == (32, 48, 3)
        assert frame.before.dtype == np.uint8 and frame.sharp is None
        np.testing.assert_array_equal(frame.before, np.full((32, 48, 3), 40 * (number // 2)))


def test_close_ups_show_where_it_gained_and_lost() -> None:
    """Catches a part beside the one that gained most, and one that is praised for changing only."""
    side = close_up_side(64, 64)
    assert (side, close_up_side(2000, 1000), close_up_side(20, 20)) == (16, 96, 16)
    sharp = np.full((64, 64, 3), 100, np.uint8)
    before = sharp + np.uint8(20)
    after = before.copy()
    after[8 : 8 + side, 32 : 32 + side] = 100  # perfect here
    after[40 : 40 + side, 4 : 4 + side] = 200  # worse here
    worst, best = find_close_ups([ShownFrame(5, None, before, after, sharp)])
    assert (best.frame, best.top, best.left, best.why) == (5, 8, 32, "gained most")
    assert (worst.frame, worst.top, worst.left) == (5, 40, 4)
    np.testing.assert_array_equal(best.after, best.sharp)
    (changed,) = find_close_ups([ShownFrame(5, None, before, after, None)])
    assert (changed.top, changed.left, changed.why) == (40, 4, "changed most")
