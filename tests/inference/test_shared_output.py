"""One output for all hosts; tests/test_restore_hosts.py has two real ones."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from spikejax.inference import shared_output
from spikejax.inference.output_target import OutputTarget, VideoSource
from spikejax.inference.resumable_output import Output, WrittenHere
from spikejax.inference.shared_output import WrittenElsewhere, open_shared_output
from spikejax.inference.tiling import Extent

FRAME = np.zeros((16, 16, 3), np.uint8)


def test_an_output_that_is_written_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a host that writes as well, begins at another frame, or lacks a part of what an output does."""
    monkeypatch.setattr(shared_output.hosts, "is_first", lambda: False)
    monkeypatch.setattr(shared_output.hosts, "gather_from_all", lambda own: np.array([[5, 4, 24, 32], own.tolist()]))
    target = OutputTarget(tmp_path / "out")
    with open_shared_output(target, VideoSource(), names=None, description={}, resume=True) as output:
        assert isinstance(output, WrittenElsewhere) and isinstance(output, Output)
        assert (output.done, output.tile) == (5, Extent(4, 24, 32))
        output.keep_tile(Extent(4, 16, 16))
        output.write(FRAME, Fraction(1, 25), {"psnr": 1.0})
        assert (output.done, output.tile, output.scores) == (6, Extent(4, 24, 32), [])
        output.finish({})
    assert list(tmp_path.iterdir()) == []


def test_the_first_host_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches frames that are lost where a run stops, without a word on how to go on."""
    target = OutputTarget(tmp_path / "out")
    with pytest.raises(KeyboardInterrupt):
        with open_shared_output(target, VideoSource(), names=None, description={}, resume=False) as output:
            assert isinstance(output, WrittenHere) and isinstance(output, Output)
            output.keep_tile(Extent(4, 16, 16))
            output.write(FRAME, None, {})
            raise KeyboardInterrupt
    assert "1 frame kept; --resume goes on from there" in capsys.readouterr().err
    with open_shared_output(target, VideoSource(), names=None, description={}, resume=True) as output:
        assert (output.done, output.tile) == (1, Extent(4, 16, 16))
        output.finish({})
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["000000.png", "metrics.json"]
