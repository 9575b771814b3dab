"""Networks of the Hugging Face Hub: fetched by name, and sent."""

from pathlib import Path

import pytest

from spikejax import extras
from spikejax.config.named_networks import HubName, hub_name
from spikejax.errors import InputError
from spikejax.hub.hugging_face import fetch, push
from spikejax.hub.resolving import resolve_network
from tests.hub.hub_server import FakeHub, commit_of


def test_a_network_by_its_name(hub: FakeHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches another file or revision than the one that is named, and a file that is fetched without a word."""
    hub.repositories["me/net"] = {
        "main": {"model.safetensors": b"main", "more/other.safetensors": b"other", "README.md": b""},
        "v1": {"model.safetensors": b"first"},
        "refs/pr/1": {"model.safetensors": b"proposed"},
    }
    for name, branch, content in (
        ("hf://me/net", "main", b"main"),
        ("hf://me/net@v1", "v1", b"first"),
        ("hf://me/net@refs%2Fpr%2F1", "refs/pr/1", b"proposed"),
        ("hf://me/net/more/other.safetensors", "main", b"other"),
        ("hf://me/net@v1/model.safetensors", "v1", b"first"),
        (f"hf://me/net@{commit_of('me/net', 'v1')}", "v1", b"first"),
    ):
        path = Path(resolve_network(name))
        assert path.read_bytes() == content, name
        assert path.is_relative_to(tmp_path / "hub_cache")
        assert f"0.0 MB, commit {commit_of('me/net', branch)[:12]}" in capsys.readouterr().err


def test_the_only_file_of_weights(hub: FakeHub) -> None:
    """Catches a repository whose one network has another name, and a choice among several that nobody made."""
    hub.repositories["me/net"] = {"main": {"mine.safetensors": b"mine", "b.pth": b""}}
    assert fetch(HubName("me/net")).read_bytes() == b"mine"
    hub.repositories["me/two"] = {"main": {"a.safetensors": b"", "b.safetensors": b""}}
    hub.repositories["me/none"] = {"main": {"weights.pth": b""}}
    hub.repositories["me/empty"] = {"main": {}}
    for name, found in (("two", "'a.safetensors', 'b.safetensors'"), ("none", "'weights.pth'"), ("empty", "none")):
        with pytest.raises(
            InputError, match=rf"expected model.safetensors in it, or hf://me/{name}/FILE .* found {found}: hf"
        ):
            fetch(HubName(f"me/{name}"))


def test_what_is_not_there(hub: FakeHub) -> None:
    """Catches a traceback of the library's, and a line that does not say what is missing."""
    hub.repositories["me/net"] = {"main": {"model.safetensors": b"main"}}
    for name, told in (
        ("hf://me/other", "no repository me/other, or a private one"),
        ("hf://me/net@v9", "no revision v9"),
        ("hf://me/net/a.safetensors", "no file a.safetensors"),
    ):
        with pytest.raises(InputError, match=f"^expected an answer of the Hugging Face Hub, found {told}.*: {name}$"):
            resolve_network(name)


def test_without_a_network(hub: FakeHub) -> None:
    """Catches a network in the cache that cannot be used where the hub does not answer."""
    hub.repositories["me/net"] = {"main": {"model.safetensors": b"main"}}
    first = fetch(HubName("me/net"))
    hub.closed = True
    assert fetch(HubName("me/net")) == first
    with pytest.raises(InputError, match="expected an answer of the Hugging Face Hub, found .*: hf://me/other"):
        fetch(HubName("me/other"))


def test_a_folder_that_is_sent(hub: FakeHub, tmp_path: Path) -> None:
    """Catches a file that does not arrive, a branch that is not made, and a repository that has to be there before."""
    folder = tmp_path / "net"
    folder.mkdir()
    sent = {"model.safetensors": b"weights", "README.md": b"---\nlibrary_name: spikejax\n---\n"}
    for name, data in {**sent, "notes.txt": b"my own"}.items():
        (folder / name).write_bytes(data)
    assert push(folder, HubName("me/net"), files=list(sent)) == f"{hub.url}/me/net/commit/{commit_of('me/net', 'main')}"
    assert hub.repositories["me/net"]["main"] == sent
    assert fetch(HubName("me/net")).read_bytes() == b"weights"
    push(folder, HubName("me/net", "beta"), files=list(sent))
    assert hub.repositories["me/net"]["beta"] == sent
    assert "library_name: spikejax" in hub.validated[0]
    with pytest.raises(InputError, match="--push: expected a repository, .* found hf://me/net/model.safetensors"):
        push(folder, HubName("me/net", None, "model.safetensors"), files=list(sent))
    hub.closed = True
    with pytest.raises(InputError, match="expected an answer of the Hugging Face Hub, found .*403.*: hf://me/net"):
        push(folder, HubName("me/net"), files=list(sent))


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a traceback where the library is not installed."""
    monkeypatch.setattr(extras, "_is_there", lambda module: False)
    with pytest.raises(InputError, match=r"^hf://me/net: expected the extra hub \(pip install 'spikejax\[hub\]'\)"):
        fetch(HubName("me/net"))
    with pytest.raises(InputError, match="^--push: expected the extra hub"):
        push(Path("."), HubName("me/net"), files=[])


@pytest.mark.parametrize(
    "text",
    [
        "hf://",
        "hf://me",
        "hf:/me/net",
        "hf://me/net@",
        "hf://me/net@a b",
        "hf://me/net/../x",
        "hf://me//net",
        "hf://me/n t",
    ],
)
def test_names_that_are_none(text: str) -> None:
    """Catches a name that asks for something else than it says, or ends in a traceback."""
    with pytest.raises(InputError, match="^expected hf://USER/NAME, hf://USER/NAME@REVISION or .*, found hf:"):
        hub_name(text)
    assert hub_name("gs://me/net") is None and hub_name("me/net") is None
