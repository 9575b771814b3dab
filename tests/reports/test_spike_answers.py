"""What a report says of the spikes; tests/test_report.py has the whole page."""

import numpy as np
import pytest

from spikejax.reports.spike_answers import SpikeAnswers, findings, strips

SHARP = np.full((16, 24, 3), 100, np.uint8)


def answers(sharp: np.ndarray | None = SHARP, **errors: int) -> SpikeAnswers:
    """A frame whose answers are brighter than the sharp one by so much."""
    return SpikeAnswers(3, {name: SHARP + np.uint8(error) for name, error in errors.items()}, sharp)


def test_what_is_lost_with_other_spikes() -> None:
    """Catches a gain taken for a loss, and a mean over frames that a neighbour is missing of."""
    sentences, warning = findings([answers(own=1, none=10, next=2), answers(own=2, none=20, previous=20, next=4)])
    assert sentences == [
        "With no spikes PSNR is 20.00 dB lower.",
        "With the frame before's spikes PSNR is 20.00 dB lower.",
        "With the frame after's spikes PSNR is 6.02 dB lower.",
    ]
    assert warning == ""


@pytest.mark.parametrize(("next_", "doubtful"), [(80, True), (99, False), (100, False), (120, False)])
def test_a_neighbours_spikes_that_are_better(next_: int, doubtful: bool) -> None:
    """Catches a window that is off by a frame and not pointed out, and doubt where nothing moves."""
    sentences, warning = findings([answers(own=100, none=120, previous=130, next=next_)])
    expected = "the frame after's spikes give a better answer than its own: are spikes and frames aligned?"
    assert warning == (expected if doubtful else "")
    assert ("1.94 dB higher" in sentences[2]) == doubtful


def test_without_the_true_frame() -> None:
    """Catches scores of a frame that nobody knows, and a page that says nothing then."""
    sentences, warning = findings([answers(None, own=0, none=6), answers(None, own=0, none=8)])
    assert (sentences, warning) == (["Without spikes the answer changes by 7.0 of 255."], "")


def test_the_pictures_and_their_maps() -> None:
    """Catches a map of another answer, one on a scale that hides it, and a picture that is missing."""
    frame = answers(own=0, none=40, next=20)
    pictures: list[np.ndarray] = []
    (strip,) = strips([frame], lambda picture: pictures.append(picture) or str(len(pictures)))
    assert [panel["label"] for panel in strip["panels"]] == [
        "its own spikes", "no spikes", "the frame after's spikes", "sharp"
    ]  # fmt: skip
    assert [panel["change"] for panel in strip["panels"]] == [
        "",
        "changes by 40.0 of 255",
        "changes by 20.0 of 255",
        "",
    ]
    assert [panel["score"] for panel in strip["panels"]] == ["inf dB", "16.09 dB", "22.11 dB", ""]
    maps = [pictures[int(panel["map"]) - 1] for panel in strip["panels"] if panel["map"]]
    # The largest change is the brightest colour of the map, half of it a colour in between.
    assert maps[0].mean() > 1.5 * maps[1].mean() > 0
    assert (strip["height"], strip["width"]) == (16, 24) and "brightest at 40 of 255" in strip["caption"]
    (faint,) = strips([answers(None, own=0, none=2)], lambda picture: "")
    assert "brightest at 16 of 255" in faint["caption"] and [panel["score"] for panel in faint["panels"]] == ["", ""]
