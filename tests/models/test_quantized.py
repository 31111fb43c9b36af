"""Quantised codes against values found by hand, by scikit-learn, and by the papers' formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from fitting import BATCH, fitting
from parts import composed, experiment
from sklearn.cluster import KMeans
from torch import nn

from vae_run.config.check import check
from vae_run.errors import ConfigError
from vae_run.models.posteriors import FiniteScalarPosterior, VectorQuantizedPosterior
from vae_run.models.posteriors.codebook import Codebook
from vae_run.models.posteriors.quantized import Positions
from vae_run.models.posteriors.vector_quantized import rotated
from vae_run.system import ranks
from vae_run.training.distributed import refuse

PASSED = {"projection": lambda k: nn.Identity()}  # the features are the encoder's output


def scalar(levels, latent_dim=None):
    size = latent_dim or len(levels)
    return FiniteScalarPosterior(features=size, latent_dim=size, levels=list(levels), **PASSED)


def vector(latent_dim, **keys):
    keys = {"codes": 4, "codebook": "gradient", "revive": 0.0, "init": "random"} | keys
    return VectorQuantizedPosterior(features=latent_dim, latent_dim=latent_dim, **PASSED, **keys)


# finite scalar quantisation


def paper(u: float, levels: int) -> tuple[float, int]:
    """The value and the digit of a number (Mentzer et al. 2023, appendix A.1), by plain Python."""
    half = (levels - 1) * (1 - 1e-3) / 2
    offset = 0.5 if levels % 2 == 0 else 0.0
    bounded = math.tanh(u + math.tan(offset / half)) * half - offset
    return round(bounded) / (levels // 2), round(bounded) + levels // 2


@pytest.mark.parametrize("levels", [2, 3, 4, 5, 7, 8])
def test_a_number_has_the_papers_value_and_index_for_odd_and_even_levels(levels):
    u = torch.linspace(-6, 6, 301)[:, None]
    q = scalar([levels])(u)
    expected = [paper(float(number), levels) for number in u]
    assert q.mean[:, 0].tolist() == pytest.approx([value for value, _ in expected], abs=1e-6)
    assert q.indices[:, 0, 0].tolist() == [digit for _, digit in expected]
    assert sorted(set(q.indices.flatten().tolist())) == list(range(levels))


def test_zero_stays_zero_and_digits_count_from_the_first_number():
    head = scalar([8, 5, 5, 5])
    q = head(torch.zeros(1, 4))
    assert q.mean.tolist() == [[0.0] * 4]
    assert q.indices.item() == 4 + 8 * (2 + 5 * (2 + 5 * 2))
    every = torch.arange(8 * 5 * 5 * 5)[:, None]
    codes = head.lookup(every)
    assert len(codes.unique(dim=0)) == head.codes == 1000
    assert codes.min() == -1.0
    assert codes.max(0).values.tolist() == [0.75, 1.0, 1.0, 1.0]
    assert torch.equal(head.nearest(codes), codes)
    assert torch.equal(head.nearest(100 * codes.sign()), head.nearest(codes.sign()))
    assert head.nearest(torch.tensor([[0.3, 0.3, -9.0, 9.0]])).tolist() == [[0.25, 0.5, -1.0, 1.0]]


def test_the_gradient_of_a_rounded_number_is_that_of_the_bounded_one():
    u = torch.tensor([[0.3, -1.2]], requires_grad=True)
    scalar([5, 4])(u).mean.sum().backward()
    five, four = 4 * 0.999 / 2, 3 * 0.999 / 2
    expected = [
        five * (1 - math.tanh(0.3) ** 2) / 2,
        four * (1 - math.tanh(-1.2 + math.tan(0.5 / four)) ** 2) / 2,
    ]
    assert u.grad[0].tolist() == pytest.approx(expected, rel=1e-5)


def test_images_begin_at_the_mean_so_that_codes_are_not_driven_into_saturation():
    """All images had one code after an epoch of MNIST, where all outputs moved to its mean."""
    made = experiment("model=fsq", "latent_dim=4")
    mean = made.splits.train.images.mean(0)
    bias = made.model.likelihood.projection[0].bias.detach().sigmoid()
    torch.testing.assert_close(bias, mean.flatten(), rtol=1e-4, atol=1e-4)


# positions


def test_codes_of_maps_have_a_vector_at_each_place_and_others_neighbouring_numbers():
    z = torch.arange(12.0)
    maps = Positions((3, 2, 2), 3)
    assert maps.split(z).tolist() == [[0, 4, 8], [1, 5, 9], [2, 6, 10], [3, 7, 11]]
    flat = Positions((12,), 3)
    assert flat.split(z)[1].tolist() == [3, 4, 5]
    assert vector(12).positions == Positions((12,), 4)
    assert vector(6).positions == Positions((6,), 6)
    for each in (maps, flat):
        assert torch.equal(each.join(each.split(z.expand(2, 5, 12))), z.expand(2, 5, 12))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("model=fsq latent_dim=6", "latent_dim: found 6, but posterior.levels=[8, 5, 5, 5] cuts"),
        (
            "model=vq_vae latent_dim=6 posterior.code_dim=4",
            "latent_dim: found 6, but posterior.code_",
        ),
        (
            "model=vq_vae network=conv latent_shape=[3,2,2] posterior.code_dim=4",
            "posterior.code_dim: found 4, for vectors of 4 numbers, but latent_shape=[3, 2, 2]",
        ),
        ("posterior=vector_quantized", "objective: ELBO has no place for what a codebook adds"),
        ("posterior=fsq", "objective: an ELBO needs a posterior with a density"),
        ("model=ae prior=fitted_codes", "prior: FittedCodes is over indices of codes"),
        (
            "model=fsq prior=fitted_gaussian likelihood=categorical "
            "evaluation.metrics=[objective,bits_per_dim]",
            "evaluation.metrics: bits_per_dim: codes that are indices need a prior over indices",
        ),
    ],
)
def test_what_cannot_be_quantised_is_refused_by_name(words, said):
    with pytest.raises(ConfigError) as refused:
        check(composed(*words.split()))
    assert str(refused.value).startswith(said)


# vector quantisation


def test_the_distortion_of_a_k_means_codebook_is_that_of_scikit_learn():
    torch.manual_seed(0)
    features = torch.randn(60, 6) + torch.randint(0, 3, (60, 1))
    points = features.reshape(-1, 2)
    found = KMeans(4, n_init=3, random_state=0).fit(points.double().numpy())
    head = vector(6, code_dim=2)
    with torch.no_grad():
        head.books[0].codes.copy_(torch.from_numpy(found.cluster_centers_))
    q = head(features)
    assert float(q.error.detach().sum()) == pytest.approx(found.inertia_, rel=1e-5)
    assert np.array_equal(head.indices(q).flatten().numpy(), found.labels_)
    # The start of a training is such a codebook, of the vectors of training images.
    started = vector(6, code_dim=2)
    started.start_at([head(features[:20]), head(features[20:])])
    assert float(started(features).error.detach().sum()) < 1.1 * found.inertia_


def test_a_start_with_fewer_vectors_than_codes_keeps_the_other_codes():
    head = vector(2, codes=8)
    before = head.books[0].codes.detach().clone()
    features = torch.tensor([[5.0, 1.0], [2.0, 2.0], [-4.0, 0.0]])
    head.start_at([head(features)])
    assert float(head(features).error.detach().sum()) == 0.0
    assert torch.equal(head.books[0].codes[3:], before[3:])


def test_every_stage_leaves_less_and_the_code_is_the_sum_of_the_stages():
    torch.manual_seed(0)
    features = torch.randn(500, 4)
    head = vector(4, code_dim=2, codes=8, stages=4)
    head.start_at([head(features)])
    q = head(features)
    left = (q.residuals - q.codewords).square().sum((1, 3)).mean(0)
    assert (left[1:] < 0.6 * left[:-1]).all()
    torch.testing.assert_close(left[-1], q.error.mean())
    torch.testing.assert_close(q.residuals[:, :, 1:], (q.residuals - q.codewords)[:, :, :-1])
    assert head.indices(q).shape == (500, 2, 4)
    assert torch.equal(head.lookup(q.indices.flatten(1)), q.mean)
    one = vector(4, code_dim=2, codes=8)
    assert one.indices(one(features)).shape == (500, 2)


def test_gradients_pass_a_code_unchanged_and_the_value_is_the_codeword_itself():
    torch.manual_seed(0)
    head, features = vector(4, code_dim=2), torch.randn(9, 4, requires_grad=True)
    q, weights = head(features), torch.randn(9, 4)
    (weights * q.mean).sum().backward()
    assert torch.equal(features.grad, weights)
    assert head.books[0].codes.grad is None
    assert torch.equal(q.mean, head.lookup(q.indices.flatten(1)))


def test_commitment_and_codebook_are_squared_distances_summed_over_positions():
    head = vector(4, code_dim=2, codes=2, commitment=0.25)
    with torch.no_grad():
        head.books[0].codes.copy_(torch.tensor([[0.0, 0.0], [10.0, 10.0]]))
    features = torch.tensor([[1.0, 2.0, 9.0, 7.0]], requires_grad=True)
    found = head.penalties(head(features))
    distance = (1 + 4) + (1 + 9)
    assert found["commitment"].tolist() == [0.25 * distance]
    assert found["codebook"].tolist() == [distance]
    (found["commitment"] + found["codebook"]).sum().backward()
    assert features.grad.tolist() == [[0.5, 1.0, -0.5, -1.5]]  # 0.25 * 2 (e - code)
    assert head.books[0].codes.grad.tolist() == [[-2.0, -4.0], [2.0, 6.0]]
    average = vector(4, code_dim=2, codebook="ema")
    assert set(average.penalties(average(features))) == {"commitment"}


def test_the_loss_is_the_reconstruction_and_what_the_posterior_adds():
    for words in (
        "posterior.codebook=gradient",
        "objective=regularized objective.code_weight=0 objective.decoder_weight=0",
        "objective=mmd objective.weight=0 prior=standard_normal",
    ):
        made = experiment("model=vq_vae", "latent_dim=8", *words.split())
        batch = next(made.view(made.splits.val).batches())
        terms = made.objective(made.model, batch, 0.0)
        added = [terms[name] for name in ("commitment", "codebook") if name in terms]
        assert len(added) == (2 if "gradient" in words else 1)
        torch.testing.assert_close(terms["loss"], sum(added, terms["reconstruction"]))


def test_the_rotation_trick_turns_the_gradient_as_the_code_is_turned():
    torch.manual_seed(0)
    e, q, gradient = (torch.randn(7, 5, dtype=torch.double) for _ in range(3))
    e.requires_grad_()
    value = rotated(e, q)
    assert torch.equal(value, q)
    value.backward(gradient)
    for i in range(7):
        start, end = (each[i].detach() / each[i].detach().norm() for each in (e, q))
        middle = (start + end) / (start + end).norm()
        turn = torch.eye(5).double() - 2 * middle.outer(middle) + 2 * end.outer(start)
        torch.testing.assert_close(turn @ turn.T, torch.eye(5).double())
        assert float(turn.det()) == pytest.approx(1)
        torch.testing.assert_close(turn @ start, end)
        scale = q[i].norm() / e[i].detach().norm()
        torch.testing.assert_close(e.grad[i], scale * turn.T @ gradient[i])


def test_a_vector_of_length_zero_has_no_direction_and_its_gradient_passes_straight():
    """As at the empty border of an image under biases of 0."""
    e = torch.tensor([[0.0, 0.0], [3.0, 4.0]], requires_grad=True)
    q = torch.tensor([[0.6, 0.8], [3.0, 4.0]])
    value = rotated(e, q)
    assert torch.equal(value, q)
    gradient = torch.tensor([[0.5, -2.0], [1.0, 2.0]])
    value.backward(gradient)
    torch.testing.assert_close(e.grad, gradient)


# moving averages and revival


def book(codes, **keys):
    made = Codebook(len(codes), 1, **({"average": True, "decay": 0.5, "revive": 0.0} | keys))
    with torch.no_grad():
        made.codes.copy_(torch.tensor(codes)[:, None])
        if made.average:
            made.sums.copy_(made.codes)
    return made


def step(made, vectors, *, skipped=0.0):
    vectors = torch.tensor(vectors)[:, None]
    made.see(vectors, made.nearest(vectors))
    made.after_step(torch.tensor(skipped))


def test_two_steps_of_moving_averages_are_those_of_the_papers_formula():
    made = book([0.0, 10.0])
    step(made, [1.0, 2.0, 9.0])  # N = (1 + 2, 1 + 1) / 2, m = (0 + 3, 10 + 9) / 2
    assert made.sizes.tolist() == [1.5, 1.0]
    assert made.codes.flatten().tolist() == [1.0, 9.5]
    step(made, [4.0])  # N = (1.5 + 1, 1) / 2, m = (1.5 + 4, 9.5) / 2
    assert made.sizes.tolist() == [1.25, 0.5]
    assert made.codes.flatten().tolist() == pytest.approx([2.2, 9.5])


def test_nothing_moves_in_a_skipped_step_or_in_evaluation():
    made = book([0.0, 10.0], revive=0.9)
    before = {name: value.clone() for name, value in made.state_dict().items()}
    step(made, [1.0, 2.0, 3.0, float("nan")], skipped=1.0)
    made.eval()
    with torch.no_grad():
        made.see(torch.tensor([[5.0]]), torch.tensor([0]))
    for name, value in made.state_dict().items():
        assert name == "candidates" or torch.equal(value, before[name]), name
    # The batch of a skipped step is not in the next one either.
    made.train()
    step(made, [1.0, 9.0])
    assert made.codes.flatten().tolist() == [0.5, 9.5]


@pytest.mark.parametrize("average", [True, False])
def test_a_code_that_nothing_chooses_becomes_a_vector_of_the_batch(average):
    made = book([0.0, 1.0, 500.0], average=average, revive=0.3)
    vectors = [0.0, 0.5, 1.0, 1.5]
    step(made, vectors)  # N = 1.5, 1.5, 0.5: above 0.3 of their mean
    assert float(made.codes[2].detach()) == 500.0
    step(made, vectors)  # N = 1.75, 1.75, 0.25: below 0.3 of 1.25
    assert float(made.codes[2].detach()) in vectors
    assert made.sizes.tolist() == pytest.approx([1.75, 1.75, 0.375])
    step(made, vectors)
    assert float(made.codes[2].detach()) < 2.0


def test_a_training_step_moves_the_codes_of_chosen_vectors_alone():
    made = experiment("model=vq_vae", "latent_dim=8", "posterior.codes=16")
    head = made.model.posterior
    before = head.books[0].codes.clone()
    chosen = torch.zeros(16, dtype=torch.bool)

    def note(_, features, q):
        chosen[q.indices.flatten()] = True

    head.register_forward_hook(note)
    next(fitting(made, batches=made.training_batches(BATCH)))
    moved = (head.books[0].codes != before).any(1)
    assert torch.equal(moved, chosen)
    assert head.books[0].counts.sum() == 0


def test_a_step_that_is_not_finite_leaves_the_codebook_as_it_was():
    made = experiment("model=vq_vae", "latent_dim=8", "posterior.codes=16", "posterior.revive=0.9")
    objective, before = made.objective, made.model.posterior.books[0].codes.clone()

    def spoiled(*given):
        terms = dict(objective(*given))
        return terms | {"loss": terms["loss"] * torch.nan}

    batches = made.training_batches(BATCH)
    assert next(fitting(made, batches=batches, objective=spoiled)).skipped == 1
    assert torch.equal(made.model.posterior.books[0].codes, before)


def test_moving_averages_and_revival_are_refused_where_processes_share_a_batch(monkeypatch):
    monkeypatch.setattr(ranks, "place", lambda: ranks.Place(rank=0, size=2))
    for words, said in (
        (["model=vq_vae"], "posterior.codebook: ema needs each batch as a whole, and 2 processes"),
        (["model=vq_vae", "posterior.codebook=gradient"], "posterior.revive: 0.1 needs"),
    ):
        with pytest.raises(ConfigError) as refused:
            refuse(check(composed(*words)))
        assert str(refused.value).startswith(said)
    refuse(check(composed("model=vq_vae", "posterior.codebook=gradient", "posterior.revive=0")))
    refuse(check(composed("model=fsq")))
