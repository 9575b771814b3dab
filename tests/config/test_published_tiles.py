"""The tiles of the published evaluation, which the pages state too, and those of networks that nobody published."""

import re
from pathlib import Path

import pytest

from spikejax.config.networks import PUBLISHED, Tiles, published_alike, tiles_of_unpublished

PAGE = Path(__file__).parents[2] / "docs" / "evaluation.md"


def test_the_page_states_the_tiles_that_are_taken() -> None:
    """Catches a number that is changed in one of the two: published figures come with exactly these tiles."""
    row = re.compile(r"\| ([0-9, ]+) \| ([^|]+) \| (\d+ \d+ \d+) \| (\d+ \d+ \d+) \|")
    stated = {
        (weights.strip(), test_set.strip()): Tiles(*(tuple(map(int, extent.split())) for extent in (tile, overlap)))
        for names, test_sets, tile, overlap in row.findall(PAGE.read_text())
        for weights in names.split(",")
        for test_set in re.sub(r"\([^)]*\)|, sigma.*", "", test_sets).split(",")
    }
    taken = {
        (name, test_set): tiles for name, entry in PUBLISHED.items() for test_set, tiles in entry.test_sets.items()
    }
    assert stated == taken


@pytest.mark.parametrize(
    ("traits", "expected"),
    [
        (dict(window=5, spikes=True), Tiles((5, 256, 256), (2, 20, 20))),
        (dict(window=1, spikes=True), Tiles((2, 256, 256), (1, 20, 20))),
        (dict(window=6), Tiles((12, 256, 256))),
        (dict(window=6, noise_level=True), Tiles((12, 256, 256))),
        (dict(window=6, upscale=4), Tiles((40, 128, 128))),
        (dict(window=3, upscale=2), Tiles((40, 128, 128))),
        (dict(window=4, interpolates=True), Tiles((0, 256, 256), (0, 20, 20))),
    ],
    ids=str,
)
def test_a_network_without_tiles_has_those_of_one_alike(traits: dict, expected: Tiles) -> None:
    """Catches a tile that a network cannot take, and spikes of more frames than those of training."""
    plain = dict(upscale=1, interpolates=False, noise_level=False, spikes=False)
    assert tiles_of_unpublished(**plain | traits) == expected


def test_what_a_published_network_does() -> None:
    """Catches a test set that is taken for that of another task: REDS4 is one of two."""
    assert list(published_alike(upscale=4, interpolates=False, noise_level=False)) == ["001", "002", "003", "004"]
    assert list(published_alike(upscale=1, interpolates=False, noise_level=False)) == ["005", "006", "007"]
    assert list(published_alike(upscale=1, interpolates=False, noise_level=True)) == ["008"]
    assert list(published_alike(upscale=1, interpolates=True, noise_level=False)) == ["009"]
