"""Where compiled programs are kept: in the user's own folder, never in what somebody gave."""

import importlib.util
import os
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import pytest
from etils import epath
from flax import nnx
from PIL import Image

from spikejax.compile_cache import SIZE_VARIABLE, make_own_folder, use_compile_cache
from spikejax.config.files import load_config
from spikejax.errors import InputError
from spikejax.io.bucket_mirror import disk_folder
from spikejax.io.weights import Weights, write_weights
from spikejax.models.restorer import build_restorer
from spikejax.models.rngs import make_rngs
from tests.small_run import overrides, write_tiny_network

ROOT = Path(__file__).parents[1]
# Python runs this first: it keeps the path of whatever is opened or listed.
_NOTES_WHAT_IS_OPENED = """
import os, sys

log = os.open(os.environ["OPENED_FILES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def note(event, arguments):
    if event in ("open", "os.listdir", "os.scandir") and isinstance(arguments[0], str):
        os.write(log, (os.path.abspath(arguments[0]) + chr(10)).encode())

sys.addaudithook(note)
"""


@pytest.fixture
def cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The user's cache folder; JAX keeps nothing until it is told where, and is as before afterwards."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    yield tmp_path / "cache"
    jax.config.update("jax_compilation_cache_dir", before)


def test_the_users_own_folder(cache_home: Path, tmp_path: Path) -> None:
    """Catches a cache in the workdir, and one that others may write native code to."""
    before = os.umask(0)
    try:
        use_compile_cache(None, apart_from=[tmp_path / "run"])
    finally:
        os.umask(before)
    folder = cache_home / "spikejax" / "compiled"
    assert jax.config.jax_compilation_cache_dir == str(folder)
    assert [path.stat().st_mode & 0o777 for path in (folder, folder.parent)] == [0o700, 0o700]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("named", [None, "", "relative/cache"])
def test_the_home_folder_has_it(named: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a cache below the working directory, which may be what somebody gave."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if named is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", named)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert make_own_folder() == tmp_path / "home" / ".cache" / "spikejax" / "compiled"
    assert not (tmp_path / "relative").exists()


@pytest.mark.parametrize("name", ["spikejax", "spikejax/compiled"])
@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777], ids=oct)
def test_a_folder_that_others_write_to_is_not_used(
    name: str, mode: int, cache_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches native code of another user, put into a folder that all may write to, being run."""
    folder = cache_home / name
    folder.mkdir(parents=True)
    folder.chmod(mode)
    use_compile_cache(None, apart_from=[tmp_path / "run"])
    assert jax.config.jax_compilation_cache_dir is None
    assert capsys.readouterr().err == (
        "spikejax: compiled programs are not kept: expected a folder that only its owner may write to, "
        f"found mode {mode:o}: {folder}\n"
    )


def test_another_users_folder_is_not_used(
    cache_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches a folder that another user made first, where XDG_CACHE_HOME is one that all share."""
    owner = os.geteuid()
    (cache_home / "spikejax").mkdir(parents=True, mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    use_compile_cache(None, apart_from=[tmp_path / "run"])
    assert jax.config.jax_compilation_cache_dir is None
    message = capsys.readouterr().err
    assert f"expected a folder of user {owner + 1}, found one of user {owner}: {cache_home / 'spikejax'}\n" in message
    assert message.count("\n") == 1


def test_windows_has_neither_owners_nor_modes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a command that ends, or a cache that is never kept, where the system has no user numbers."""
    monkeypatch.delattr(os, "geteuid")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    assert disk_folder(epath.Path("gs://bucket/run")).is_relative_to(tmp_path / "spikejax" / "buckets")
    tmp_path.chmod(0o777)  # what Windows says of every folder
    assert make_own_folder() == tmp_path / "spikejax" / "compiled"
    for folder in (tmp_path / "spikejax", tmp_path / "spikejax" / "compiled"):
        folder.chmod(0o777)
    assert make_own_folder() == tmp_path / "spikejax" / "compiled"


def test_no_place_for_it_is_no_error(cache_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a command that cannot run where the home folder cannot be written to."""
    cache_home.touch()
    use_compile_cache(None, apart_from=[tmp_path / "run"])
    assert jax.config.jax_compilation_cache_dir is None
    message = capsys.readouterr().err
    assert message.startswith("spikejax: compiled programs are not kept: ") and message.count("\n") == 1


@pytest.mark.parametrize("named", ["/chosen/before", ""])
def test_what_jax_was_told_stays(named: str, cache_home: Path, tmp_path: Path) -> None:
    """Catches JAX_COMPILATION_CACHE_DIR (which JAX reads itself) overruled; empty, it keeps nothing."""
    jax.config.update("jax_compilation_cache_dir", named)
    use_compile_cache(None, apart_from=[tmp_path / "run"])
    assert jax.config.jax_compilation_cache_dir == named
    assert not cache_home.exists()


def test_the_option_comes_first(cache_home: Path, tmp_path: Path) -> None:
    """Catches --compile-cache ignored because the environment names a folder as well."""
    jax.config.update("jax_compilation_cache_dir", "/chosen/before")
    use_compile_cache(str(tmp_path / "mine"), apart_from=[tmp_path / "run"])
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "mine")
    assert not cache_home.exists()


@pytest.mark.parametrize("name", ["run", "run/compiled", "link/compiled"])
def test_the_option_cannot_name_the_workdir(name: str, cache_home: Path, tmp_path: Path) -> None:
    """Catches native code that is given away, and run, with a workdir; through a link as well."""
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to("run")
    with pytest.raises(InputError, match="--compile-cache: expected a folder outside of .*run"):
        use_compile_cache(str(tmp_path / name), apart_from=[tmp_path / "run"])
    assert jax.config.jax_compilation_cache_dir is None


@pytest.mark.parametrize("name", ["", "compiled", "other/compiled", "link/compiled"])
def test_the_cache_does_not_lie_beside_weights(
    name: str, cache_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches native code that came with a file of weights, in the folder that both were unpacked to."""
    given = tmp_path / "given"
    (given / "other").mkdir(parents=True)
    (given / "weights.safetensors").write_bytes(b"")
    (given / "link").symlink_to("other")
    used = [tmp_path / "run", None, "", str(given / "weights.safetensors")]
    with pytest.raises(InputError, match=f"--compile-cache: expected a folder outside of {given}, since"):
        use_compile_cache(str(given / name), apart_from=used)
    jax.config.update("jax_compilation_cache_dir", str(given / name))
    use_compile_cache(None, apart_from=used)
    assert jax.config.jax_compilation_cache_dir is None
    assert "compiled programs are not kept" in capsys.readouterr().err


def test_weights_in_the_home_folder(cache_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches every program compiled anew because a file of weights lies at home, where the cache is as well."""
    home, weights = tmp_path / "home", tmp_path / "home" / "weights.safetensors"
    home.mkdir()
    weights.write_bytes(b"")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CACHE_HOME")
    use_compile_cache(None, apart_from=[weights])
    assert jax.config.jax_compilation_cache_dir == str(home / ".cache" / "spikejax" / "compiled")
    for name in ("", "compiled"):
        with pytest.raises(InputError, match="--compile-cache: expected a folder outside of"):
            use_compile_cache(str(home / name), apart_from=[weights])


def test_a_bucket_is_left_to_jax(cache_home: Path) -> None:
    """Catches an address taken for a path, which loses a slash and is a folder of that name here."""
    jax.config.update("jax_compilation_cache_dir", "gs://bucket/compiled")
    use_compile_cache(None, apart_from=[])
    assert jax.config.jax_compilation_cache_dir == "gs://bucket/compiled"


def fill(folder: Path) -> dict[str, Path]:
    """Three programs of 1 MiB, by when they were used last, in days."""
    files = {"1": folder / "a-cache", "3": folder / "b-cache", "2": folder / "below" / "c"}
    for days, path in files.items():
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(bytes(2**20))
        os.utime(path, (time.time() - 86400 * int(days),) * 2)
    return files


@pytest.mark.parametrize(("size", "kept"), [("3M", "123"), ("2M", "12"), ("1M", "1"), ("0M", "")])
def test_the_users_own_folder_is_cut_back(
    size: str, kept: str, cache_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a cache that grows until the disk is full, and one that loses what was used last."""
    (cache_home / "spikejax").mkdir(parents=True, mode=0o700)
    (cache_home / "spikejax" / "compiled").mkdir(mode=0o700)
    files = fill(cache_home / "spikejax" / "compiled")
    monkeypatch.setenv(SIZE_VARIABLE, size)
    use_compile_cache(None, apart_from=[])
    assert {days for days, path in files.items() if path.exists()} == set(kept)


def test_a_named_folder_is_not_cut_back(cache_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches files of another program removed, in a folder that was named by mistake."""
    files = fill(tmp_path / "mine")
    (tmp_path / "mine").chmod(0o700)
    monkeypatch.setenv(SIZE_VARIABLE, "0M")
    use_compile_cache(str(tmp_path / "mine"), apart_from=[])
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "mine"))
    use_compile_cache(None, apart_from=[])
    assert all(path.exists() for path in files.values())


def test_a_size_that_is_none(cache_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a limit that is mistyped and then not there."""
    monkeypatch.setenv(SIZE_VARIABLE, "lots")
    with pytest.raises(InputError, match=f"^{SIZE_VARIABLE}: expected a number of MiB or GiB .*, found 'lots'"):
        use_compile_cache(None, apart_from=[])


@pytest.mark.parametrize("chosen", ["option", "environment", "own"])
def test_a_program_that_was_cut_short_is_removed(
    chosen: str, cache_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a killed run whose last program every later run warns of and compiles again; and whole files removed."""
    folder = make_own_folder() if chosen == "own" else tmp_path / "mine"
    folder.mkdir(mode=0o700, exist_ok=True)
    if chosen == "environment":
        jax.config.update("jax_compilation_cache_dir", str(folder))
    whole = zlib.compress(np.random.default_rng(0).bytes(3 * 2**20))
    entries = {"whole": whole, "half": whole[: len(whole) // 2], "last": whole[:-1], "empty": b"", "other": b"abc"}

    def write(name: str, *, seconds_ago: float) -> Path:
        path = folder / f"jit_{name}-{'0123456789abcdef' * 4}-cache"
        path.write_bytes(entries[name])
        os.utime(path, (time.time() - seconds_ago,) * 2)
        return path

    def use() -> None:
        use_compile_cache(str(folder) if chosen == "option" else None, apart_from=[])

    paths = {name: write(name, seconds_ago=60) for name in entries}
    (folder / "notes-cache").write_bytes(whole[:9])
    use()
    assert {name for name, path in paths.items() if path.exists()} == {"whole", "other"}
    assert (folder / "notes-cache").exists()
    fresh = write("half", seconds_ago=0)
    use()
    assert fresh.exists(), "another process may be writing it"
    write("half", seconds_ago=11)
    os.utime(folder / ".checked", (time.time() - 60,) * 2)
    use()
    assert not fresh.exists()


@pytest.mark.slow
@pytest.mark.skipif(
    sys.version_info >= (3, 14) or importlib.util.find_spec("zstandard") is not None, reason="JAX does not pack by zlib"
)
def test_a_program_that_was_cut_short_is_compiled_again_once(tmp_path: Path) -> None:
    """Catches names, or a packing, of JAX's that are no longer recognised."""
    code = (
        "import sys, jax; from spikejax.compile_cache import use_compile_cache; "
        "use_compile_cache(sys.argv[1], apart_from=[]); print(jax.jit(jax.numpy.sin)(1.0))"
    )
    environment = os.environ | {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}

    def answer() -> str:
        command = [sys.executable, "-c", code, str(tmp_path / "cache")]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        assert "Error reading" not in done.stderr
        return done.stdout

    first = answer()
    entries = list((tmp_path / "cache").glob("*-cache"))
    lengths = {path: path.stat().st_size for path in entries}
    assert entries
    for path in entries:
        os.truncate(path, lengths[path] // 2)
        os.utime(path, (time.time() - 11,) * 2)
    os.utime(tmp_path / "cache" / ".checked", (time.time() - 60,) * 2)
    assert answer() == first
    assert {path: path.stat().st_size for path in entries} == lengths


@pytest.mark.parametrize("kind", ["everybody writes to it", "a file", "a name of nothing"])
def test_the_option_names_a_folder_of_ones_own(kind: str, cache_home: Path, tmp_path: Path) -> None:
    """Catches native code run from where others may have put it, and a cache that silently is none."""
    folder = tmp_path / "shared"
    if kind == "a file":
        folder.write_text("")
    elif kind == "everybody writes to it":
        folder.mkdir()
        folder.chmod(0o777)
    with pytest.raises(InputError, match="^--compile-cache: "):
        use_compile_cache("" if kind == "a name of nothing" else str(folder), apart_from=[Path.cwd()])
    assert jax.config.jax_compilation_cache_dir is None


@pytest.mark.parametrize("kind", ["the workdir", "a link to the workdir", "below what everybody writes to"])
def test_the_cache_folder_is_apart_from_what_others_gave(
    kind: str, cache_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches a cache that lies in the workdir by way of the environment, or where others may exchange it."""
    home, workdir = tmp_path / "home", tmp_path / "run"
    workdir.mkdir()
    if kind == "below what everybody writes to":
        home.mkdir()
        home.chmod(0o777)
    elif kind == "a link to the workdir":
        home.symlink_to("run")
    monkeypatch.setenv("XDG_CACHE_HOME", str(workdir if kind == "the workdir" else home))
    use_compile_cache(None, apart_from=[workdir])
    assert jax.config.jax_compilation_cache_dir is None
    assert "compiled programs are not kept" in capsys.readouterr().err


@pytest.mark.slow
def test_what_a_given_folder_holds_is_not_opened(tmp_path: Path) -> None:
    """Catches a downloaded workdir, or folder of weights, that runs code through its compiled/.

    The planted files have the names that the programs really have, so that a cache there would be read.
    """
    own_cache = tmp_path / "cache" / "spikejax" / "compiled"
    own_cache.parent.mkdir(parents=True, mode=0o700)
    # Programs that earlier tests compiled are found; the folder counts as the user's own, as it is.
    compiled_before = Path(os.environ["JAX_COMPILATION_CACHE_DIR"]).absolute()
    compiled_before.mkdir(parents=True, exist_ok=True)
    own_cache.symlink_to(compiled_before)
    workdir, weights = tmp_path / "run", tmp_path / "weights"
    changes = write_tiny_network(tmp_path)
    write_zeros(weights, changes)
    pictures = write_pictures(tmp_path / "pictures")
    train = ["spikejax.train", "--config", str(ROOT / "configs" / "quickstart.py"), "--workdir", str(workdir)]
    commands = [
        [*train, *overrides(**changes, training__steps=4), "--allow-config-changes"],
        ["spikejax.evaluate", "--workdir", str(workdir), "--output", str(tmp_path / "metrics"), "--trust-code"],
        [
            "spikejax.restore",
            "--network",
            str(weights),
            "--input",
            str(pictures),
            "--output",
            str(tmp_path / "restored"),
            "--trust-code",
        ],
    ]
    opened = watch_command(tmp_path, [*train, *overrides(**changes)])
    assert any(path.startswith(f"{own_cache}/") for path in opened), "the watch does not see JAX's cache"
    for folder in (workdir, weights):
        (folder / "compiled").mkdir()
        for path in own_cache.iterdir():
            (folder / "compiled" / path.name).write_bytes(b"poison")
    planted = contents(workdir / "compiled")

    for command in commands:
        opened = watch_command(tmp_path, command)
        assert not [path for path in opened if path.startswith((f"{workdir}/compiled", f"{weights}/compiled"))]
    assert contents(workdir / "compiled") == contents(weights / "compiled") == planted


def watch_command(folder: Path, command: list[str]) -> list[str]:
    """The paths that `python -m COMMAND` opened; its own cache folder is FOLDER/cache."""
    hook = folder / "hook"
    hook.mkdir(exist_ok=True)
    (hook / "sitecustomize.py").write_text(_NOTES_WHAT_IS_OPENED)
    log = folder / "opened.txt"
    log.unlink(missing_ok=True)
    variables = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    variables |= {
        # Without XLA's own caches a program's name does not depend on the folder that it is kept in.
        "JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES": "none",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "OPENED_FILES": str(log),
        "SPIKEJAX_COMPILE_CACHE_SIZE": "1000G",  # what it leads to is not the test's to cut back
        "PYTHONPATH": f"{hook}:{ROOT}",
        "XDG_CACHE_HOME": str(folder / "cache"),
    }
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return log.read_text().splitlines()


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def write_zeros(folder: Path, changes: dict[str, str]) -> None:
    """Writes a folder of weights, all zero, of the network with these changes."""
    config = load_config(ROOT / "configs" / "quickstart.py", overrides(**changes))
    model = config.model.to_dict()
    _, params = nnx.split(nnx.eval_shape(lambda: build_restorer(model, rngs=make_rngs(0))))
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), nnx.to_pure_dict(params))
    write_weights(folder, Weights("restorer", model, zeros), replace=False)


def write_pictures(folder: Path) -> Path:
    """`folder`, with two grey pictures in it."""
    folder.mkdir()
    for index in range(2):
        Image.new("RGB", (16, 16), (40 * index, 90, 90)).save(folder / f"{index:06d}.png")
    return folder
