"""Which images pictures show: of every class, also where the files of a set are sorted by class."""

from __future__ import annotations

import warnings
from dataclasses import replace

import torch
from parts import experiment

from vae_run.data.splits import Split
from vae_run.evaluation.codes import active
from vae_run.evaluation.few_images import encoded, few_batch, in_turn, shown_batch
from vae_run.evaluation.view import spaced


def sorted_split(*sizes: int, labels: bool = True) -> Split:
    """Images 4 x 5 whose first pixel is their class and whose second is their place, by class."""
    classes = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    images = torch.zeros(len(classes), 1, 4, 5)
    images[:, 0, 0, 0] = classes / 100
    images[:, 0, 0, 1] = torch.arange(len(classes)) / len(classes)
    return Split(images, classes if labels else None)


def test_spaced_indices_reach_from_the_first_to_the_last() -> None:
    assert spaced(10, 4).tolist() == [0, 3, 6, 9]
    assert spaced(3, 5).tolist() == [0, 1, 2]
    assert spaced(7, 1).tolist() == [0]
    assert spaced(0, 4).tolist() == []


def test_classes_come_in_turn_as_evenly_as_they_can() -> None:
    labels = torch.tensor([4] * 100 + [7] * 2 + [9] * 50)
    found = in_turn(labels, 8)
    assert labels[found].tolist() == [4, 7, 9, 4, 7, 9, 4, 9]
    assert found.tolist() == [0, 100, 102, 49, 101, 126, 99, 151]
    many = torch.arange(100).repeat_interleave(3)
    assert many[in_turn(many, 4)].tolist() == [0, 33, 66, 99]
    assert sorted(in_turn(labels, 500).tolist()) == list(range(152))


def test_pictures_of_a_sorted_split_show_every_class() -> None:
    made = experiment("latent_dim=2")
    view = made.view(sorted_split(3000, 40, 900))
    shown = shown_batch(view, 6)
    assert shown.label.tolist() == [0, 1, 2, 0, 1, 2]
    assert torch.equal(shown.target, shown_batch(view, 6).target)
    assert torch.equal(shown.noise, shown_batch(view, 6).noise)
    unlabelled = made.view(sorted_split(3000, 40, 900, labels=False))
    assert few_batch(unlabelled, 5).target[:, 0, 0, 0].tolist()[-1] == torch.tensor(0.02).item()
    assert set(encoded(view).labels) == {0, 1, 2}, "codes are of the whole split"


def test_a_limited_view_is_spread_over_the_split() -> None:
    made = experiment("latent_dim=2")
    view = replace(made.view(sorted_split(50, 50)), limit=4, batch_size=3)
    assert view.size == 4
    labels = torch.cat([batch.label for batch in view.batches()])
    assert labels.tolist() == [0, 0, 1, 1]
    assert view.visited.labels.tolist() == labels.tolist()


def test_over_one_image_no_dimension_is_active_and_nothing_is_warned_of() -> None:
    means = torch.tensor([[0.0, 0.3, 5.0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert active(means).tolist() == [False, False, False]
        assert active(torch.cat([means, means + 0.15])).tolist() == [True, True, True]
        assert active(torch.cat([means, means + 0.14])).tolist() == [False, False, False]
