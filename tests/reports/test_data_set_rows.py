"""Tests of rows that show a data set."""

from pathlib import Path

import numpy as np
import pytest

from spikejax.data.spikes.stream_size import StreamConfig, write_config
from spikejax.io.pictures import read_picture
from spikejax.reports.data_set_rows import data_set_rows


def first_sequence(split: Path) -> str:
    """The name of a split's first sequence."""
    return sorted(folder.name for folder in split.iterdir() if folder.is_dir())[0]


@pytest.mark.slow
def test_rows_of_a_sequence(root: Path) -> None:
    """Catches wrong frames, times, panels, and spikes that do not show what the pictures show."""
    name = first_sequence(root / "val")
    rows = list(data_set_rows(root / "val" / name).rows)
    assert [row.title.split(",")[0] for row in rows] == [
        f"{name} 00000{n}: steps {24 * n} to {24 * n + 24}" for n in range(3)
    ]
    for number, row in enumerate(rows):
        assert row.warning == "" and float(row.title.split()[-1]) > 0.9
        assert [label.split(":")[0] for label in row.panels] == ["blur", "spikes", "TFP", "TFI", "sharp", "edges"]
        blur = read_picture(root / "val" / name / "blur" / f"00000{number}.png")
        np.testing.assert_array_equal(row.panels["blur"], blur)
        rate = row.panels["spikes: rate of 24 steps"]
        assert rate.shape == (32, 40, 3) and abs(float(rate.mean()) - float(blur.mean())) < 12
    assert len(list(data_set_rows(root, sequence=name, limit=2).rows)) == 2


def test_a_misaligned_sequence_is_pointed_out(root: Path, tmp_path: Path) -> None:
    """Catches spikes of the wrong frames, the commonest mistake of preparation, that look all right."""
    name = first_sequence(root / "val")
    source, target = root / "val" / name, tmp_path / "val" / name
    for part in ("blur", "sharp", "spike"):
        (target / part).mkdir(parents=True)
        for number in range(3):
            suffix = "dat" if part == "spike" else "png"
            taken = (number + 1) % 3 if part == "spike" else number
            content = (source / part / f"00000{taken}.{suffix}").read_bytes()
            (target / part / f"00000{number}.{suffix}").write_bytes(content)
    write_config(target / "spike", StreamConfig(32, 40))
    rows = list(data_set_rows(tmp_path / "val" / name).rows)
    assert [row.warning.split(" correlates")[0] for row in rows[1:]] == ["the window before"] * 2
