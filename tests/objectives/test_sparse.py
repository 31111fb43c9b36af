"""Sparse autoencoders: penalties by their formulas, dead units, and what is measured."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from parts import experiment
from torch import Tensor

from vae_run.data.batches import Batch
from vae_run.data.splits import Split
from vae_run.evaluation.codes import evaluating
from vae_run.evaluation.evaluation import Evaluation
from vae_run.models.posteriors import SparseCode
from vae_run.objectives import Sparse
from vae_run.objectives.sparse import bernoulli_kl, default_aux_k, with_dead_units
from vae_run.training.experiment import Experiment


def sparse(*words: str) -> Experiment:
    return experiment("model=sparse_ae", "latent_dim=12", "network.widths=[]", *words)


def batch_of(made: Experiment, size: int = 30) -> Batch:
    images = made.splits.train.images[:size]
    return Batch(images, images, torch.zeros(1, size, 12))


def code_of(made: Experiment, batch: Batch) -> SparseCode:
    q = made.model.encode(batch.input)
    assert isinstance(q, SparseCode)
    return q


def scaled(made: Experiment, factor: float) -> None:
    """Multiply the codes by `factor`, and divide the decoder's weights by it."""
    posterior, layer = made.model.posterior, made.model.likelihood.projection[0]
    with torch.no_grad():
        posterior.projection.weight *= factor
        posterior.projection.bias *= factor
        weights = [p for name, p in layer.named_parameters() if not name.endswith("bias")]
        assert len(weights) == 1
        weights[0] /= factor


def test_l1_cannot_be_lowered_by_scaling_a_decoder_of_unit_columns() -> None:
    words = ("objective.sparsity=l1", "objective.weight=0.5")
    found: dict[bool, list[dict[str, Tensor]]] = {}
    for unit in (True, False):
        made = sparse(*words, f"posterior.unit_norm={unit}")
        batch = batch_of(made)
        found[unit] = [dict(made.objective(made.model, batch, 0.0))]
        z = code_of(made, batch).mean
        torch.testing.assert_close(found[unit][0]["sparsity_loss"], 0.5 * z.sum(1))
        scaled(made, 0.1)
        found[unit].append(dict(made.objective(made.model, batch, 0.0)))
    before, after = found[False]
    torch.testing.assert_close(after["reconstruction"], before["reconstruction"])
    torch.testing.assert_close(after["sparsity_loss"], 0.1 * before["sparsity_loss"])
    before, after = found[True]
    # Smaller codes are now smaller images: what the penalty gains the reconstruction loses.
    assert float((after["reconstruction"] - before["reconstruction"]).detach().abs().mean()) > 0.05
    shrunk = sparse(*words)
    with torch.no_grad():
        shrunk.model.likelihood.projection[0].parametrizations.weight.original *= 10.0
    same = shrunk.objective(shrunk.model, batch_of(shrunk), 0.0)
    torch.testing.assert_close(same["loss"], before["loss"])


def test_ngs_penalty_is_the_kl_of_mean_activations_and_pulls_them_to_rho() -> None:
    made = sparse("objective.sparsity=kl", "objective.weight=2.0", "objective.rho=0.2")
    batch = batch_of(made)
    z = code_of(made, batch).mean
    found = made.objective(made.model, batch, 0.0)["sparsity_loss"]
    expected = sum(
        0.2 * torch.log(0.2 / m) + 0.8 * torch.log(0.8 / (1 - m)) for m in z.mean(0).unbind()
    )
    torch.testing.assert_close(found, 2.0 * expected.expand(30))
    mean = torch.tensor([0.05, 0.2, 0.6], requires_grad=True)
    each = bernoulli_kl(0.2, mean)
    assert float(each[1].detach()) == pytest.approx(0.0, abs=1e-7)
    (slope,) = torch.autograd.grad(each.sum(), mean)
    torch.testing.assert_close(slope, -0.2 / mean.detach() + 0.8 / (1 - mean.detach()))
    assert slope[0] < 0 < slope[2]


def test_the_jumprelu_penalty_counts_active_units_and_moves_their_thresholds() -> None:
    made = sparse("objective.sparsity=jumprelu", "objective.weight=0.7")
    terms = made.objective(made.model, batch_of(made), 0.0)
    count = (code_of(made, batch_of(made)).mean != 0).float().sum(1)
    torch.testing.assert_close(terms["l0"], count)
    torch.testing.assert_close(terms["sparsity_loss"].detach(), 0.7 * count)
    terms["sparsity_loss"].sum().backward()
    moved = made.model.posterior.units.log_threshold.grad
    assert moved is not None
    assert float(moved.max()) <= 0 < float(moved.abs().max()), "descent raises thresholds"


def test_the_auxiliary_loss_revives_dead_units_and_touches_no_others() -> None:
    made = sparse("objective.k=2")
    head, batch = made.model.posterior.projection, batch_of(made)
    with torch.no_grad():
        head.weight[:3] *= 0.01  # they receive too little to be among the largest
        head.bias[:3] = 0.05
        head.bias[3:] += 2.0
    q = code_of(made, batch)
    assert float(q.active[:, :3].sum()) == 0
    alive = q.active.sum(0) > 0
    error = (batch.target - made.model.decode(q.mean).mean).detach().flatten(1)
    reconstruction, found = with_dead_units(made.model, batch, q, 12)
    alone = -made.model.decode(q.mean).log_prob(batch.target)
    torch.testing.assert_close(reconstruction, alone)
    spare = torch.where(alive, 0.0, q.raw.relu())
    added = (spare @ made.model.likelihood.projection[0].weight.T).detach()
    expected = (error - added).square().sum(1) - error.square().sum(1)
    torch.testing.assert_close(found.detach(), expected, rtol=1e-3, atol=1e-4)
    (slope,) = torch.autograd.grad(found.sum(), head.weight, retain_graph=True)
    assert bool((slope[:3].abs().sum(1) > 0).all())
    assert float(slope[alive].abs().sum()) == 0
    (plain,) = torch.autograd.grad(alone.sum(), head.weight)
    assert float(plain[:3].abs().sum()) == 0, "without it they stay dead"


def test_the_auxiliary_loss_uses_few_dead_units_and_is_zero_where_none_are_dead() -> None:
    made = sparse("objective.k=2")
    batch, head = batch_of(made), made.model.posterior.projection
    with torch.no_grad():
        head.bias[:4] -= 100.0
        head.bias[4:6] += 100.0  # always active
        head.bias[6:9] += 1.0
    q = code_of(made, batch)
    _, one = with_dead_units(made.model, batch, q, 1)
    (slope,) = torch.autograd.grad(one.sum(), head.bias)
    assert float(slope[:6].abs().sum()) == 0, "neither silent nor living units"
    most = q.raw[:, 6:].argmax(1) + 6
    assert set(slope.nonzero().flatten().tolist()) == set(most.tolist())
    q = code_of(made, batch)
    everyone = SparseCode(q.mean, q.raw, torch.ones_like(q.active))
    _, none = with_dead_units(made.model, batch, everyone, 12)
    assert float(none.detach().abs().sum()) == 0
    assert float(torch.autograd.grad(none.sum(), head.bias)[0].abs().sum()) == 0


@pytest.mark.parametrize(("shape", "most"), [((1, 8, 8), 32), ((3, 5), 7), ((1,), 1)])
def test_the_auxiliary_loss_has_half_as_many_units_as_an_input_has_numbers(
    shape: tuple[int, ...], most: int
) -> None:
    assert default_aux_k(torch.zeros(4, *shape)) == most


def test_without_a_weight_there_is_no_auxiliary_loss() -> None:
    made = sparse("objective.aux_weight=0")
    assert isinstance(made.objective, Sparse)
    terms = made.objective(made.model, batch_of(made), 0.0)
    assert torch.equal(terms["loss"], terms["reconstruction"])


def test_active_and_dead_units_and_explained_variance_of_a_known_model() -> None:
    """Three units that are -x, x and 2 x of one feature, of which the decoder returns a half."""
    made = experiment(
        *("model=sparse_ae", "latent_dim=4", "network.widths=[]", "objective.sparsity=l1"),
        *("posterior.unit_norm=false", "evaluation=sparse"),
        shape=(2,),
    )
    head, last = made.model.posterior.projection, made.model.likelihood.projection[0]
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, 0]]))
        head.bias.copy_(torch.tensor([0.0, 0, 0, -1]))
        last.weight.copy_(torch.tensor([[0.5, -0.5, 0, 0], [0, 0, 1, 0]]))
        last.bias.zero_()
    x = torch.tensor([[1.0, 2], [-1, 2], [3, 4], [-3, 4], [0, 3]])
    view = replace(made.view(Split(x)), batch_size=2)
    metrics = ["sparse_codes", "explained_variance", "mse"]
    found = Evaluation(metrics=metrics).measure(view)
    assert found["l0"] == pytest.approx(9 / 5)
    assert found["dead_units"] == pytest.approx(1 / 4)
    # Half of the first feature is missing: its residual is a quarter of its sum of squares, 20;
    # the variance of both is 20 + 4.
    assert found["explained_variance"] == pytest.approx(1 - 5 / 24)
    assert found["mse"] == pytest.approx(5 / 10)


def test_the_dictionary_shows_the_columns_of_the_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    from vae_run import plots
    from vae_run.evaluation.pictures.dictionary import dictionary

    kept: list[Tensor] = []
    draw = plots.samples
    monkeypatch.setattr(
        plots, "samples", lambda images, *a, **k: (kept.append(images), draw(images, *a, **k))[1]
    )
    made = sparse("objective.sparsity=l1")
    view = made.view(made.splits.val)
    with evaluating(made.model):
        assert dictionary(view) is not None
        order = made.model.encode(made.splits.val.images).mean.mean(0).argsort(descending=True)
        columns = made.model.likelihood.projection[0].weight.T[order].view(12, 1, 4, 5)
    expected = columns / columns.flatten(1).abs().amax(1).view(-1, 1, 1, 1)
    torch.testing.assert_close(2 * kept[0] - 1, expected, rtol=1e-3, atol=1e-3)
    assert dictionary(experiment().view(made.splits.val)) is None, "a stochastic code has no units"
