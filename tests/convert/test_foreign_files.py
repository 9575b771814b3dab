"""Files of other programs, from the outside: what each is, and what becomes of it; docs/weights.md has the same table.

python -m pytest tests/convert/test_foreign_files.py -s -k table    prints it
"""

import argparse
import pathlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convert.array_files import write_arrays
from convert.conversion import convert_files
from convert.convertible_networks import ConvertibleNetwork
from spikejax.errors import InputError
from spikejax.io.weights import flatten_params
from tests.convert.test_pickles import Named, pickled, write_zip

ROOT = Path(__file__).parents[2]
Arrays = dict[str, np.ndarray]
LAYER = "basic_module.0.basic_module.0"  # of SpyNet, which is small


@dataclass(frozen=True)
class Case:
    """A file as a program leaves it.

    Attributes:
        program: that leaves such files.
        holds: what the file holds, in words.
        make: the file's content, of a state dict and another one that is not to be taken.
        happens: in words.
        told: what a note says, or the error where it is refused; "" = nothing.
        refused: whether it is.
        options: of `convert_files`.
    """

    program: str
    holds: str
    make: Callable[[Arrays, Arrays], Any]
    happens: str
    told: str = ""
    refused: bool = False
    options: tuple[tuple[str, Any], ...] = ()


def prefixed(prefix: str, arrays: Arrays) -> Arrays:
    """The arrays by keys that begin with `prefix`."""
    return {prefix + key: array for key, array in arrays.items()}


def adapted(arrays: Arrays, alpha: float | None) -> dict[str, Any]:
    """A layer taken apart into a base and an adapter, which together are what it was."""
    whole = arrays[f"{LAYER}.weight"]  # of a convolution, [o, i, kh, kw]
    rng = np.random.default_rng(0)
    down, up = (rng.integers(-2, 3, shape).astype(np.float32) for shape in ((2, *whole.shape[1:]), (len(whole), 2)))
    rest = {key: array for key, array in arrays.items() if not key.startswith(f"{LAYER}.")}
    parts = {
        f"{LAYER}.base.weight": whole - np.float32(2) * np.einsum("or,rihw->oihw", up, down),  # alpha 4, rank 2
        f"{LAYER}.base.bias": arrays[f"{LAYER}.bias"],
        f"{LAYER}.lora_A.weight": down,
        f"{LAYER}.lora_B.weight": up[..., None, None],
    }
    return {"state_dict": {**rest, **parts}, **({} if alpha is None else {"lora_alpha": alpha})}


OBJECTS = {
    "PyTorch": argparse.Namespace(lr=1, save=pathlib.PurePosixPath("x")),
    "MMEngine": Named("mmengine.logging.history_buffer.HistoryBuffer", {"n": 3}),
    "OmegaConf, Hydra": Named("omegaconf.dictconfig.DictConfig", {"_content": {"a": 1}}),
}
CASES = (
    Case("VRT, KAIR", "`params`", lambda own, other: {"params": own}, "taken"),
    Case("KAIR", "a bare state dict", lambda own, other: own, "taken"),
    Case(
        "BasicSR", "`params` and `params_ema`", lambda own, other: {"params": other, "params_ema": own},
        "the average is taken", "taken: params_ema; left aside: params",
    ),
    Case(
        "timm", "`state_dict`, `state_dict_ema`, `epoch`, `optimizer`",
        lambda own, other: {"epoch": 3, "optimizer": {"state": {0: other}}, "state_dict": other, "state_dict_ema": own},
        "the average is taken", "taken: state_dict_ema; left aside: state_dict",
    ),
    Case(
        "DataParallel, DDP", "`module.` before all keys", lambda own, other: prefixed("module.", own),
        "removed", "taken: the keys that begin with module.",
    ),
    Case(
        "`torch.compile`", "`_orig_mod.` before all keys", lambda own, other: prefixed("_orig_mod.", own),
        "removed", "taken: the keys that begin with _orig_mod.",
    ),
    Case(
        "Lightning", "`state_dict` of `model._orig_mod.` keys",
        lambda own, other: {"pytorch-lightning_version": "2", "state_dict": prefixed("model._orig_mod.", own)},
        "both removed", "taken: the keys that begin with model._orig_mod.",
    ),
    Case(
        "MMagic", "`generator.` and `generator_ema.`, `step_counter`",
        lambda own, other: {
            "state_dict": {
                **prefixed("generator.", other), **prefixed("generator_ema.", own), "step_counter": np.zeros(1)
            }
        },
        "the average is taken, all else left aside", "taken: the keys that begin with generator_ema.; left aside: ",
    ),
    Case(
        "own framework", "`restorer.` and `critic.`",
        lambda own, other: {**prefixed("restorer.", own), **prefixed("critic.", other)},
        "`--prefix restorer.` takes it", options=(("prefix", "restorer."),),
    ),
    *(
        Case(
            program, f"`{name}` beside the weights",
            lambda own, other, beside=OBJECTS[program]: {"meta": beside, "state_dict": own},
            "left aside, not run", "left aside, not run: ",
        )
        for program, name in (
            ("PyTorch", "argparse.Namespace"), ("MMEngine", "HistoryBuffer"), ("OmegaConf, Hydra", "DictConfig")
        )
    ),
    Case(
        "PyTorch", "an object among the weights",
        lambda own, other: {"params": {**own, "x": Named("torch._utils._rebuild_qtensor", None)}},
        "refused", "which needs torch._utils._rebuild_qtensor (not run)", refused=True,
    ),
    Case(
        "PyTorch", "a whole module",
        lambda own, other: Named("torch.nn.modules.linear.Linear", {"weight": own[f"{LAYER}.weight"]}),
        "refused", "found an object of torch.nn.modules.linear.Linear, which was not run", refused=True,
    ),
    Case(
        "PEFT, S-VRT", "adapters (`lora_A`, `lora_B`), `lora_alpha`", lambda own, other: adapted(own, 4.0),
        "merged", "merged: 1 adapters of rank 2, alpha 4",
    ),
    Case(
        "PEFT, S-VRT", "adapters without alpha", lambda own, other: adapted(own, None),
        "merged with `--lora-alpha`", "merged: 1 adapters of rank 2, alpha 4", options=(("lora_alpha", 4.0),),
    ),
    Case(
        "PEFT, S-VRT", "adapters without alpha, and no `--lora-alpha`", lambda own, other: adapted(own, None),
        "refused", "expected --lora-alpha or an alpha in the file", refused=True,
    ),
    Case(
        "any", "other keys beside the network's", lambda own, other: {"params": {**own, **prefixed("more.", other)}},
        "refused, with a list", "unexpected", refused=True,
    ),
)  # fmt: skip


def table_row(case: Case) -> str:
    """The row of the table that docs/weights.md has."""
    return f"| {case.program} | {case.holds} | {case.happens} |"


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "pickle"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.holds)
def test_what_becomes_of_it(
    tmp_path: Path, spynet: ConvertibleNetwork, flow_weights: Arrays, case: Case, zipped: bool
) -> None:
    """Catches a file that is refused though its weights are there, other weights taken, and what is done unsaid."""
    other = {key: np.zeros_like(array) for key, array in flow_weights.items()}
    value = case.make(dict(flow_weights), other)
    path = tmp_path / "a.pth"
    data = pickled(value, 2)
    write_zip(path, data) if zipped else path.write_bytes(data)
    notes: list[str] = []
    if case.refused:
        with pytest.raises(InputError, match=re.escape(case.told)) as caught:
            convert_files([path], note=notes.append, **dict(case.options))
        assert "\n" not in str(caught.value) and str(path) in str(caught.value)
        return
    weights, _ = convert_files([path], note=notes.append, **dict(case.options))
    if case.told:
        assert any(note.startswith(case.told) for note in notes), notes
    taken, expected = flatten_params(weights.params), flatten_params(spynet.from_torch(flow_weights).params)
    assert taken.keys() == expected.keys()
    for name, array in expected.items():
        # What was taken apart and joined again is rounded twice.
        np.testing.assert_allclose(taken[name], array, rtol=0, atol=1e-6 if "adapters" in case.holds else 0)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".npz"])
def test_files_without_pickles(tmp_path: Path, spynet: ConvertibleNetwork, flow_weights: Arrays, suffix: str) -> None:
    """Catches a kind of file that is not read, or read with other numbers."""
    write_arrays(tmp_path / f"a{suffix}", spynet.to_torch(spynet.from_torch(flow_weights), dtype=np.dtype("float32")))
    weights, _ = convert_files([tmp_path / f"a{suffix}"])
    for name, array in flatten_params(spynet.from_torch(flow_weights).params).items():
        np.testing.assert_array_equal(flatten_params(weights.params)[name], array)


def test_the_table_in_the_documents() -> None:
    """Catches a row of the table that is not tried, or not said."""
    rows = [table_row(case) for case in CASES]
    print("\n".join(rows))
    text = (ROOT / "docs" / "weights.md").read_text()
    start = text.index("| program | the file holds | what happens |")
    assert text[start:].split("\n\n")[0].splitlines()[2:] == rows
