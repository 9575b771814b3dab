"""What `python -m tests.house` counts, on a house small enough to count by hand, and what it says of this one."""

from pathlib import Path

import pytest

from tests.house import entered, file_names, level_lines, public_names
from tests.house_imports import House, cycles, levels, rooms, within
from tests.house_trip import Trip

FILES = {
    "spikejax/__init__.py": "",
    "spikejax/train.py": (
        "def main():\n    from spikejax.hall.loop import train\n\n    config = 1\n    train(config, 2)\n"
    ),
    "spikejax/hall/__init__.py": "",
    "spikejax/hall/loop.py": (
        "from spikejax.hall import parts\n"
        "from spikejax.hall.state import State\n\n"
        "def train(config, other):\n"
        "    settings = config.training\n"
        "    state = State(settings)\n"
        "    parts.unrelated(other)\n"
        "    state.advance()\n"
        "    parts.finish(config.model.to_dict())\n"
    ),
    "spikejax/hall/parts.py": "def unrelated(x):\n    pass\n\ndef finish(model):\n    pass\n",
    "spikejax/hall/state.py": (
        "from spikejax.hall import parts\n\n"
        "class State:\n"
        "    def __init__(self, settings):\n"
        "        self.settings = settings\n\n"
        "    def advance(self):\n"
        "        parts.finish(self.settings)\n"
    ),
    "convert/__init__.py": "",
    "convert/state.py": "from .keys import KEY\n\ndef finish(x):\n    return {'config': KEY}\n",
    "convert/keys.py": "KEY = 1\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tree of two packages."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_levels_and_arrows(root: Path) -> None:
    """Catches an import that is missed (relative, within a function, of a module's name), and a chain cut short."""
    house = House(root)
    assert house.graph["spikejax.train"] == {"spikejax.hall.loop"}
    assert house.graph["convert.state"] == {"convert.keys"}
    assert levels(within(house, "spikejax.hall")) == 3
    assert levels(within(house, "spikejax")) == 4
    assert rooms(house, "spikejax") == {"spikejax.train": {"spikejax.hall"}, "spikejax.hall": set()}
    assert cycles(house.graph) == []
    assert ["spikejax.hall", "3", "3", "3", "3", "3"] in [line.split() for line in level_lines(house)]


def test_cycles_are_seen_and_are_one_level(root: Path) -> None:
    """Catches a cycle that is not reported, or that the levels are counted around for ever."""
    (root / "spikejax/hall/parts.py").write_text("import spikejax.hall.loop\n\ndef finish(model):\n    pass\n")
    house = House(root)
    assert cycles(house.graph) == [["spikejax.hall.loop", "spikejax.hall.parts", "spikejax.hall.state"]]
    assert levels(within(house, "spikejax")) == 2


def test_words(root: Path) -> None:
    """Catches a key that does not count as a use of its name, and a longer name that does."""
    assert entered(House(root), {"config"}) == {"spikejax.train", "spikejax.hall.loop", "convert.state"}
    assert entered(House(root), {"setting"}) == set()


def test_a_trip_by_hand(root: Path) -> None:
    """Catches a call that is given the value and not followed, one that is not given it and followed, and a miscount.

    The value goes from `main` to `train`, into a `State`, back, into `advance` of that state and on to `parts`, back to
    `train` and to `parts` once more; `unrelated` is not given it.
    """
    trip = Trip(House(root), "config", "spikejax.train.main")
    short = [name.removeprefix("spikejax.").removeprefix("hall.") for name in trip.modules]
    assert short == "train train loop loop state loop state state parts loop parts".split()
    assert (trip.rooms, trip.stays, trip.returns) == (4, 8, 4)


def test_names_of_several_things(root: Path) -> None:
    """Catches a homonym that is not listed, and a name that only one module has that is."""
    house = House(root)
    assert public_names(house) == {"finish": ["spikejax.hall.parts", "convert.state"]}
    assert file_names(house) == {"state.py": ["spikejax.hall.state", "convert.state"]}


def test_this_house_has_no_cycle() -> None:
    """Catches modules that import each other, be it within a function."""
    assert cycles(House(Path(__file__).parents[1]).graph) == []
