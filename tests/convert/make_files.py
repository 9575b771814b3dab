"""Makes the files of tests/convert/files with PyTorch, for machines that have none: python tests/convert/make_files.py.

Made with PyTorch 2.13.0. What they hold is `test_files.EXPECTED`.
"""

from collections import OrderedDict
from pathlib import Path

import torch

FILES = Path(__file__).parent / "files"


def tensors() -> OrderedDict:
    """Every dtype, and every way in which a tensor can be a part of a storage."""
    row = torch.arange(24, dtype=torch.float32)
    return OrderedDict(
        {
            "float32": row.reshape(2, 3, 4) / 7,
            "float64": torch.arange(5, dtype=torch.float64) / 3,
            "float16": torch.arange(6).to(torch.float16).reshape(3, 2) / 3,
            "bfloat16": torch.arange(6).to(torch.bfloat16) / 3,
            "int64": torch.arange(4) - 2**40,
            "uint8": torch.arange(4, dtype=torch.uint8),
            "bool": torch.tensor([True, False, True]),
            "scalar": torch.tensor(2.5),
            "empty": torch.zeros(0, 3),
            "parameter": torch.nn.Parameter(torch.full((2, 2), 0.5)),
            "transposed": row.reshape(4, 6).T,
            "shared_part": row[5:11],
            "strided": row.reshape(4, 6)[1::2, ::3],
            "expanded": torch.tensor([[1.0], [2.0]]).expand(2, 3),
        }
    )


def main() -> None:
    """Writes the files."""
    FILES.mkdir(exist_ok=True)
    for name, zipped in (("zip", True), ("legacy", False)):
        torch.save({"params": tensors()}, FILES / f"{name}.pth", _use_new_zipfile_serialization=zipped)
    # As training leaves it: wrapped, from several GPUs, with the optimizer and numbers beside it.
    model = torch.nn.DataParallel(torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2)))
    optimizer = torch.optim.Adam(model.parameters())
    checkpoint = {"epoch": 3, "best": 31.5, "state_dict": model.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(checkpoint, FILES / "training.pt")
    # A whole module is a pickle of its class.
    torch.save(torch.nn.Linear(2, 2), FILES / "module.pth")


if __name__ == "__main__":
    main()
