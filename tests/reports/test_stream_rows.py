"""Tests of rows that show a bare stream."""

from pathlib import Path

import numpy as np

from spikejax.data.spikes.stream_files import write_dat
from spikejax.data.spikes.stream_size import StreamConfig, write_config
from spikejax.reports.contact_sheet import draw_sheet
from spikejax.reports.stream_rows import stream_rows


def test_bare_streams(tmp_path: Path) -> None:
    """Catches streams without a data set that are not shown, even where nothing or everything fires."""
    path = tmp_path / "a.dat"
    for spikes in (np.zeros((9, 8, 16), np.uint8), np.ones((9, 8, 16), np.uint8), np.eye(16, dtype=np.uint8)[:1, None]):
        write_dat(path, np.broadcast_to(spikes, (len(spikes), 8, 16)))
        rows = list(stream_rows(path, size=(8, 16), limit=4).rows)
        for row in rows:
            assert [panel.shape for panel in row.panels.values()] == [(8, 16, 3)] * 4
            assert draw_sheet([row], panel_width=64).shape[1] == 6 + 4 * 70
    write_dat(path, np.ones((40, 8, 16), np.uint8))
    write_config(tmp_path, StreamConfig(8, 16))
    rows = list(stream_rows(path, half_width=4, limit=3).rows)
    assert [row.title.split(":")[0] for row in rows] == ["step 4 of 40", "step 20 of 40", "step 35 of 40"]
    assert all((panel == 255).all() for row in rows for panel in row.panels.values())  # none whose windows are cut off
