"""Weights outside of training runs: round trips, and files that are not what they should be."""

import json
import shutil
from pathlib import Path

import jax
import ml_dtypes
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import save_file

from spikejax.errors import InputError
from spikejax.io.weights import (
    MismatchError,
    Weights,
    compare_params,
    flatten_params,
    nest_params,
    read_weights,
    write_weights,
)
from spikejax.models.restorer import build_restorer
from spikejax.models.rngs import make_rngs
from tests.fake_bucket import FakeBucket

# Where a part of a damaged folder cannot be read, orbax does not wait for the other parts; their errors come too late.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

STATISTICS = {"mean": 0.25, "std": 1.5, "bins": 4}
PARAMS = {
    "levels": {
        index: {
            "kernel": np.arange(6, dtype=np.float32).reshape(2, 3).T + index,
            "bias": np.zeros(2, ml_dtypes.bfloat16),
        }
        for index in range(11)
    },
    "norm": {"scale": np.ones(3, np.float16)},
}
TILES = {"tile": [18, 192, 192], "overlap": [2, 20, 20]}
WEIGHTS = Weights("restorer", {"vrt": {"window": [6, 8, 8]}, "remat": "none"}, PARAMS, STATISTICS, TILES)


@pytest.fixture(params=["weights.safetensors", "weights"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A file's name and a folder's, in a folder that does not exist yet."""
    return tmp_path / "new" / request.param


def test_names_and_nesting_are_inverse() -> None:
    """Catches entries of lists that come back as text, or in another order."""
    named = flatten_params(PARAMS)
    assert "levels.10.kernel" in named
    assert jax.tree.structure(nest_params(named)) == jax.tree.structure(PARAMS)


def test_round_trip(target: Path) -> None:
    """Catches a changed bit, dtype, key or description, and arrays written in the order of their memory."""
    write_weights(target, WEIGHTS)
    found = read_weights(target)
    assert (found.kind, found.model, found.statistics) == (WEIGHTS.kind, WEIGHTS.model, WEIGHTS.statistics)
    assert found.restore == TILES
    assert jax.tree.structure(found.params) == jax.tree.structure(PARAMS)
    for ours, theirs in zip(jax.tree.leaves(found.params), jax.tree.leaves(PARAMS), strict=True):
        assert isinstance(ours, np.ndarray)
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    assert [path.name for path in target.parent.iterdir()] == [target.name]  # nothing temporary is left


@pytest.mark.slow
@pytest.mark.parametrize("name", ["weights", "weights.safetensors"])
def test_weights_in_a_bucket(bucket: FakeBucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    """Catches weights that orbax is asked for where it cannot read, and copies of them that stay behind."""
    write_weights(bucket.folder / name, WEIGHTS)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    read = read_weights(f"s3://bucket/{name}")
    assert (read.kind, read.model, read.statistics) == (WEIGHTS.kind, WEIGHTS.model, WEIGHTS.statistics)
    jax.tree.map(np.testing.assert_array_equal, read.params, PARAMS)
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_network_is_built_from_what_was_read(target: Path, tiny_model_section: dict) -> None:
    """Catches keys or a model section that nnx.merge or build_restorer do not take."""

    def abstract(section: dict) -> tuple[nnx.GraphDef, dict]:
        graphdef, state = nnx.split(nnx.eval_shape(lambda: build_restorer(section, rngs=make_rngs(0))))
        return graphdef, nnx.to_pure_dict(state)

    _, shapes = abstract(tiny_model_section)
    params = jax.tree.map(lambda leaf: np.full(leaf.shape, leaf.size, leaf.dtype), shapes)
    write_weights(target, Weights("restorer", tiny_model_section, params))
    found = read_weights(target)
    graphdef, shapes = abstract(found.model)
    assert jax.tree.structure(found.params) == jax.tree.structure(shapes)
    kernel = nnx.merge(graphdef, found.params).vrt.conv_first.kernel[...]
    np.testing.assert_array_equal(kernel, params["vrt"]["conv_first"]["kernel"])


@pytest.fixture
def tiny_model_section() -> dict:
    """The model section of a configuration, as JSON gives it back."""
    vrt = dict(window=[2, 4, 4], depths=[1] * 8, dims=[4] * 8, heads=[1] * 8, independent=[7], deformable_groups=2)
    computed = dict(compute_dtype="float32", remat="none", kernels="auto")
    return dict(backbone="vrt", vrt=vrt, spike=dict(fusion="none"), **computed)


def test_what_exists_is_kept(target: Path) -> None:
    """Catches weights overwritten without having been asked to, and an overwriting that does not happen."""
    write_weights(target, WEIGHTS)
    other = Weights("spynet", None, {"scale": np.zeros(2, np.float32)})
    with pytest.raises(InputError, match="exists already|with files in it"):
        write_weights(target, other)
    assert read_weights(target).kind == "restorer"
    write_weights(target, other, replace=True)
    assert read_weights(target).kind == "spynet"


def test_a_folder_of_something_else_is_kept(tmp_path: Path) -> None:
    """Catches a data set deleted by `replace`."""
    (tmp_path / "data.txt").write_text("mine")
    with pytest.raises(InputError, match="found one of something else"):
        write_weights(tmp_path, WEIGHTS, replace=True)
    assert (tmp_path / "data.txt").read_text() == "mine"


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    """Catches a traceback where the file system refuses."""
    (tmp_path / "file").write_text("")
    for name in ("weights.safetensors", "weights"):
        with pytest.raises(InputError, match="(cannot write weights to|expected a place to write to, found) .*file"):
            write_weights(tmp_path / "file" / name, WEIGHTS)


def test_nothing_there(target: Path) -> None:
    """Catches a message that does not name the path."""
    with pytest.raises(InputError, match=f"found nothing: .*{target.name}"):
        read_weights(target)


@pytest.mark.parametrize("kept", [0, 5, 200, -1])
def test_truncated_file(tmp_path: Path, kept: int) -> None:
    """Catches a file that was cut off in its header or its arrays and is read all the same."""
    path = tmp_path / "weights.safetensors"
    write_weights(path, WEIGHTS)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match="expected a whole .safetensors file"):
        read_weights(path)


@pytest.mark.parametrize("damage", ["params", "params/manifest.ocdbt", "params/_METADATA", "weights.json", "cut"])
def test_damaged_folder(tmp_path: Path, damage: str) -> None:
    """Catches a traceback of orbax, or parameters quietly missing, where a part of the folder is gone."""
    path = tmp_path / "weights"
    write_weights(path, WEIGHTS)
    if damage == "cut":
        for file in (path / "params").glob("**/d/*"):
            file.write_bytes(file.read_bytes()[:40])
    elif (path / damage).is_dir():
        shutil.rmtree(path / damage)
    else:
        (path / damage).unlink()
    with pytest.raises(InputError, match=f"{path}"):
        read_weights(path)


def test_foreign_files(tmp_path: Path) -> None:
    """Catches arrays of another program taken for ours, and a message that does not say what to do."""
    path = tmp_path / "foreign.safetensors"
    save_file({"conv.weight": np.zeros(3, np.float32)}, path)
    with pytest.raises(InputError, match="spikejax convert to-jax"):
        read_weights(path)
    (tmp_path / "weights.pth").write_bytes(b"PK")
    with pytest.raises(InputError, match="spikejax convert to-jax"):
        read_weights(tmp_path / "weights.pth")
    with pytest.raises(InputError, match="found another kind of file: .*weights.npz"):
        write_weights(tmp_path / "weights.npz", WEIGHTS)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"format": 2, "version": "0.9.0"},
            "of format 1, found format 2 in weights of spikejax 0.9.0: ",
        ),
        ({"kind": "resnet"}, 'expected weights of restorer, .*found "resnet" in weights of spikejax 0.1.0: '),
        ({"model": [1]}, "model: expected a section, found a list in weights of spikejax 0.1.0: "),
        ({"statistics": 3}, "statistics: expected a section, found a int in weights of spikejax 0.1.0: "),
        ({"model": None, "kind": ["spynet"]}, r'found \["spynet"\] in weights of'),
        (
            {"restore": {"tile": [12, 256, 256]}},
            "expected weights whose tile and overlap are three numbers each, found",
        ),
        ({"restore": {"tile": [12, 256], "overlap": [2, 20, 20]}}, "three numbers each, found .*12, 256]"),
        ({"restore": {"tile": [12, 256, 256], "overlap": [2, 20, -1]}}, "three numbers each, found .*-1"),
        ({"restore": {"tile": [12, 256, 256], "overlap": [2, 20, True]}}, "three numbers each, found .*true"),
    ],
)
def test_description_of_another_version(tmp_path: Path, change: dict, told: str) -> None:
    """Catches a newer or foreign description that is half understood."""
    path = tmp_path / "weights.safetensors"
    description = {"format": 1, "version": "0.1.0", "kind": "spynet", "model": None, "restore": None, **change}
    save_file({"scale": np.zeros(3, np.float32)}, path, metadata={"spikejax": json.dumps(description)})
    with pytest.raises(InputError, match=told):
        read_weights(path)


def test_description_of_an_older_and_a_newer_version(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Catches a key that is missing and stops everything or nothing, and a section that is dropped without a word."""
    path = tmp_path / "weights.safetensors"
    for missing in ("kind", "model"):
        description = {"format": 1, "version": "0.0.9", "kind": "spynet", "model": None}
        del description[missing]
        save_file({"scale": np.zeros(3, np.float32)}, path, metadata={"spikejax": json.dumps(description)})
        told = f"the key {missing} of a description of weights, found none in weights of spikejax 0.0.9: {path}"
        with pytest.raises(InputError, match=told):
            read_weights(path)
    description = {"version": "0.3.0", "kind": "spynet", "model": None, "quantised": {"bits": 4}, "licence": "MIT"}
    save_file({"scale": np.zeros(3, np.float32)}, path, metadata={"spikejax": json.dumps(description)})
    weights = read_weights(path)
    assert (weights.statistics, weights.restore, weights.training) == (None, None, None)
    told = "left out, not known to this version of spikejax: licence, quantised in weights of spikejax 0.3.0: "
    assert [record.getMessage() for record in caplog.records] == [f"{told}{path}"]


def deep(brackets: int = 100_000) -> str:
    """JSON of lists in lists, which Python's parser would leave the stack for."""
    return "[" * brackets + "]" * brackets


def file_of(header: str, data: bytes = bytes(12)) -> bytes:
    """A .safetensors file of this header, which need not be true."""
    return len(header).to_bytes(8, "little") + header.encode() + data


def entry(begin: int, end: int, *, shape: str = "[3]") -> str:
    """What a header says of an array of float32."""
    return f'{{"dtype":"F32","shape":{shape},"data_offsets":[{begin},{end}]}}'


LIES = {
    "beyond the end": file_of(f'{{"a":{entry(0, 2**40, shape="[274877906944]")}}}'),
    "beyond all numbers": file_of(f'{{"a":{entry(0, 2**64 - 1)}}}'),
    "backwards": file_of(f'{{"a":{entry(12, 0)}}}'),
    "overlapping": file_of(f'{{"a":{entry(0, 12)},"b":{entry(4, 16)}}}', bytes(16)),
    "the same twice": file_of(f'{{"a":{entry(0, 12)},"b":{entry(0, 12)}}}'),
    "a hole": file_of(f'{{"a":{entry(4, 16)}}}', bytes(16)),
    "another shape": file_of(f'{{"a":{entry(0, 12, shape="[4]")}}}'),
    "a header of a terabyte": (2**40).to_bytes(8, "little") + b"{",
    "a deep header": file_of(f'{{"a":{deep()}}}'),
    "a deep description": file_of(
        json.dumps({"__metadata__": {"spikejax": deep()}})[:-1] + f',"a":{entry(0, 12)}}}'
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LIES)
def test_files_that_lie(tmp_path: Path, name: str) -> None:
    """Catches offsets that reach over each other or out of the file, and nesting that exhausts the stack."""
    path = tmp_path / "weights.safetensors"
    path.write_bytes(LIES[name])
    with pytest.raises(InputError, match=f": {path}") as caught:
        read_weights(path)
    assert "\n" not in str(caught.value)


def test_all_that_does_not_fit_is_listed() -> None:
    """Catches a comparison that stops at the first difference, takes counts for numbers, or names no neighbour."""
    wanted = {
        "a.kernel": np.zeros((2, 3), np.float32),
        "b.0.scale": jax.ShapeDtypeStruct((4,), ml_dtypes.bfloat16),
        "b.1.scale": jax.ShapeDtypeStruct((4,), np.float32),
        "c": np.zeros(1, np.int32),
        "d": np.zeros(1, np.int32),
    }
    given = {
        "a.kernel": np.zeros((3, 2), np.float32),
        "b.0.scale": np.zeros(4, np.float16),
        "b.1.scala": np.zeros(4, np.float32),
        "c": np.zeros(1, np.float32),
        "d": np.zeros(1, np.int64),
    }
    problems = compare_params(given, wanted)
    assert [str(problem) for problem in problems] == [
        "b.1.scala: expected none, found (4,) (nearest: b.1.scale)",
        "b.1.scale: expected (4,), found none (nearest: b.1.scala)",
        "a.kernel: expected (2, 3), found (3, 2)",
        "c: expected int32, found float32",
    ]
    error = MismatchError("the parameters of x", problems, "a/file")
    assert str(error) == (
        "expected the parameters of x, found 1 unexpected, 1 missing, 1 of another shape, 1 of another dtype: a/file"
    )
    assert error.details == tuple(map(str, problems))
    assert compare_params(wanted, wanted) == []


def test_a_long_list_is_cut() -> None:
    """Catches a screen full of names, and a list that is cut without a word."""
    wanted = {f"layers.{index}": np.zeros(1) for index in range(33)}
    error = MismatchError("x", compare_params({}, wanted))
    details = error.details
    assert details[0] == "layers.0: expected (1,), found none"
    assert (len(details), len(error.every_detail), error.__notes__[-1]) == (18, 33, "  and 15 more")
    assert len(MismatchError("x", compare_params(dict(list(wanted.items())[:15]), wanted)).details) == 18


SHAPE = jax.ShapeDtypeStruct((1,), np.float32)


def test_the_first_of_each_kind_are_listed() -> None:
    """Catches a hundred keys of one kind that hide the only one of another, which tells what is wrong."""
    given = {f"a.{number}": SHAPE for number in range(50)} | {"c": jax.ShapeDtypeStruct((2,), np.float32)}
    wanted = {f"b.{number}": SHAPE for number in range(3)} | {"c": SHAPE}
    error = MismatchError("x", compare_params(given, wanted))
    assert [line.partition(":")[0] for line in error.details] == [
        *(f"a.{number}" for number in range(14)), "b.0", "b.1", "b.2", "c",
    ]  # fmt: skip
    assert len(error.every_detail) == 54
