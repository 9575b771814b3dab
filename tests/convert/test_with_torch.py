"""Against PyTorch itself, where it is installed."""

import io
from collections import OrderedDict
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from convert.array_files import read_arrays, write_arrays
from convert.convertible_networks import ConvertibleNetwork

_LAST = "basic_module.5.basic_module.8.bias"
torch = pytest.importorskip("torch", reason="PyTorch is not installed: committed files stand for it")

from tests.convert.make_files import tensors  # noqa: E402, it imports PyTorch


def as_numpy(tensor: Any) -> np.ndarray:
    """The numbers of a tensor, bfloat16 too."""
    tensor = tensor.detach().contiguous()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("wrapper", [None, "params", "params_ema", "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_files_of_this_pytorch_are_read(tmp_path: Path, zipped: bool, wrapper: str | None, prefix: str) -> None:
    """Catches a format of torch.save that has changed since the committed files were made."""
    expected = tensors()
    saved: Any = OrderedDict((f"{prefix}{key}", tensor) for key, tensor in expected.items())
    saved = saved if wrapper is None else {wrapper: saved, "epoch": 3}
    torch.save(saved, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    found = read_arrays(tmp_path / "a.pth")
    assert list(found) == list(expected)
    for key, tensor in expected.items():
        array = np.asarray(found[key])
        assert (array.dtype, array.shape) == (as_numpy(tensor).dtype, tuple(tensor.shape))
        np.testing.assert_array_equal(array, as_numpy(tensor), err_msg=key)


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("wrapper", [None, "params"])
def test_pytorch_reads_what_is_written(
    tmp_path: Path, spynet: ConvertibleNetwork, flow_weights: dict[str, np.ndarray], mapped: bool, wrapper: str | None
) -> None:
    """Catches a file that only this package reads, or that PyTorch takes for more than weights."""
    state_dict = spynet.to_torch(spynet.from_torch(flow_weights), dtype=np.dtype(np.float32))
    write_arrays(tmp_path / "a.pth", state_dict, wrapper=wrapper)
    loaded = torch.load(tmp_path / "a.pth", weights_only=True, mmap=mapped)
    loaded = loaded if wrapper is None else loaded[wrapper]
    assert list(loaded) == list(state_dict)
    for key, array in state_dict.items():
        np.testing.assert_array_equal(as_numpy(loaded[key]), array, err_msg=key)


def test_all_dtypes_are_written(tmp_path: Path) -> None:
    """Catches a storage of another type than its numbers."""
    expected = {key: as_numpy(tensor) for key, tensor in tensors().items()}
    write_arrays(tmp_path / "a.pth", expected)
    loaded = torch.load(tmp_path / "a.pth", weights_only=True)
    for key, tensor in tensors().items():
        assert loaded[key].dtype == tensor.dtype
        assert torch.equal(loaded[key], tensor)


def test_strict_loading(tmp_path: Path, spynet: ConvertibleNetwork, flow_weights: dict[str, np.ndarray]) -> None:
    """Catches a key, a buffer or a shape that a module of these names does not accept."""

    class Level(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            widths = (8, 32, 64, 32, 16, 2)
            layers: list[Any] = []
            for width, width_next in zip(widths, widths[1:], strict=False):
                layers += [torch.nn.Conv2d(width, width_next, 7, padding=3), torch.nn.ReLU()]
            self.basic_module = torch.nn.Sequential(*layers[:-1])

    class Flow(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.basic_module = torch.nn.ModuleList(Level() for _ in range(6))
            self.register_buffer("mean", torch.zeros(1, 3, 1, 1))
            self.register_buffer("std", torch.ones(1, 3, 1, 1))

    state_dict = spynet.to_torch(spynet.from_torch(flow_weights), dtype=np.dtype(np.float32))
    write_arrays(tmp_path / "a.pth", state_dict)
    module = Flow()
    assert not any(module.load_state_dict(torch.load(tmp_path / "a.pth", weights_only=True), strict=True))
    assert torch.equal(module.basic_module[5].basic_module[8].bias, torch.from_numpy(flow_weights[_LAST]))


def test_checkpoint_of_a_training_with_optimizer(tmp_path: Path) -> None:
    """Catches an optimizer's state that is refused or taken for weights."""
    layer = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    checkpoint = {"model": layer.state_dict(), "optimizer": optimizer.state_dict(), "step": 1, "lr": [1e-3]}
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    (tmp_path / "a.pt").write_bytes(buffer.getvalue())
    assert list(read_arrays(tmp_path / "a.pt")) == ["weight", "bias"]
