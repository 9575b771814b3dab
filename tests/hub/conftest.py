"""A hub on this machine, which the library asks in place of the real one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.convert.conftest import flow_weights as flow_weights
from tests.convert.conftest import spynet as spynet
from tests.hub import hub_server
from tests.hub.hub_server import FakeHub


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """An empty one; what is fetched goes into a cache folder of the test's own."""
    constants = pytest.importorskip("huggingface_hub.constants", reason="the extra hub is not installed")
    with hub_server.running() as fake:
        # The library reads its environment once, when it is imported.
        monkeypatch.setattr(constants, "ENDPOINT", fake.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", fake.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub_cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
        monkeypatch.setenv("HF_TOKEN", "hf_of_nobody")
        yield fake
