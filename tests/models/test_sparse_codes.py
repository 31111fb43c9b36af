"""Sparse codes: how many units are active, thresholds, and the norms of a dictionary."""

from __future__ import annotations

import pytest
import torch
from parts import composed, experiment
from torch import Tensor, nn

from vae_run.config.check import check
from vae_run.errors import ConfigError
from vae_run.evaluation.codes import calibrate, evaluating
from vae_run.models.posteriors import SparseCode
from vae_run.models.posteriors.units import BatchTopK, JumpReLU, Sigmoids, TopK
from vae_run.models.weight_constraints import UnitColumns, unit_columns
from vae_run.training.experiment import Experiment

GENERATOR = torch.Generator().manual_seed(0)
RAW = torch.randn(50, 12, generator=GENERATOR)


def sparse(*words: str, **more: int) -> Experiment:
    return experiment("model=sparse_ae", "latent_dim=12", "network.widths=[]", *words, **more)


@pytest.mark.parametrize(
    "raw",
    [RAW.abs(), torch.ones(50, 12), RAW.abs().round()],
    ids=["all different", "all equal", "many equal"],
)
def test_top_k_keeps_exactly_k(raw: Tensor) -> None:
    raw = raw + 0.5
    code, active = TopK(12, 4, 0.1, 0.1)(raw)
    assert bool((active.sum(1) == 4).all())
    assert torch.equal(active, (code != 0).float())
    assert torch.equal(code[active > 0], raw[active > 0])
    least = torch.where(active > 0, raw, torch.inf).amin(1)
    most = torch.where(active > 0, -torch.inf, raw).amax(1)
    assert bool((least >= most).all()), "what is left out is no larger"


def test_top_k_has_no_negative_units() -> None:
    raw = torch.tensor([[3.0, 2.0, -1.0, -2.0]])
    code, active = TopK(4, 3, 0.1, 0.1)(raw)
    assert code.tolist() == [[3.0, 2.0, 0.0, 0.0]]
    assert active.tolist() == [[1.0, 1.0, 0.0, 0.0]]


def test_batch_top_k_keeps_k_an_image_in_the_mean_and_a_threshold_in_evaluation() -> None:
    units, raw = BatchTopK(12, 3, 0.1, 0.1), RAW.abs() + 0.1
    code, active = units(raw)
    assert int(active.sum()) == 3 * 50
    assert len(set(active.sum(1).tolist())) > 1, "not the same number for each"
    assert float(code[active > 0].min()) >= float(raw[active == 0].max())
    equal = units(torch.ones(7, 12))[1]
    assert int(equal.sum()) == 3 * 7
    units.eval()
    units.calibrate(iter([raw[:25], raw[25:]]))
    least = [raw[:25].flatten().sort(descending=True).values[3 * 25 - 1] for raw in (raw, raw[25:])]
    assert float(units.threshold) == pytest.approx(float(torch.stack(least).mean()))
    for batch in (raw, raw[:1], raw[7:9]):  # whatever an image is evaluated with
        code, active = units(batch)
        assert torch.equal(active, (batch >= units.threshold).float())
        assert torch.equal(code, batch * active)


def test_the_threshold_is_taken_from_the_train_split() -> None:
    made = sparse("objective.sparsity=batch_topk", "objective.k=2", n=90)
    calibrate(made.view(made.splits.train))
    assert isinstance(made.model.posterior.units, BatchTopK)
    assert "posterior.units.threshold" in made.model.state_dict(), "a checkpoint keeps it"
    with evaluating(made.model):
        q = made.model.encode(made.splits.train.images)
    assert isinstance(q, SparseCode)
    assert float(q.active.sum()) == pytest.approx(2 * 90, abs=1)
    assert made.model.posterior.training, "the mode is restored"


def test_the_gradient_of_a_threshold_is_the_papers() -> None:
    units = JumpReLU(12, 1, 0.4, 0.3)
    with torch.no_grad():
        units.log_threshold += 0.02 * torch.randn(12, generator=GENERATOR)
    raw = RAW.clone().requires_grad_()
    weights, counts = torch.randn(2, 50, 12, generator=GENERATOR).unbind()
    code, active = units(raw)
    theta = units.theta.detach()
    assert torch.equal(code, raw.relu() * (raw > theta))
    assert torch.equal(active, (raw > theta).float())
    slope = theta * units.speed  # d theta / d log_threshold
    kernel = (((RAW.relu() - theta) / 0.3).abs() < 0.5).float()
    assert 20 < int(kernel.sum()) < 300
    of_code, of_raw = torch.autograd.grad(
        (weights * code).sum(), [units.log_threshold, raw], retain_graph=True
    )
    torch.testing.assert_close(of_code, (weights * -theta / 0.3 * kernel).sum(0) * slope)
    assert torch.equal(of_raw, weights * (theta < RAW)), "straight through active units"
    of_count = torch.autograd.grad((counts * active).sum(), [units.log_threshold])[0]
    torch.testing.assert_close(of_count, (counts * -1 / 0.3 * kernel).sum(0) * slope)


def test_the_nearest_code_is_one_that_the_units_have() -> None:
    z = 2 * RAW
    assert torch.equal(TopK(12, 4, 0.1, 0.1).nearest(z), TopK(12, 4, 0.1, 0.1)(z)[0])
    assert torch.equal(Sigmoids(12, 1, 0.1, 0.1).nearest(z), z.clamp(0, 1))
    jump = JumpReLU(12, 1, 0.4, 0.1)
    assert torch.equal(jump.nearest(z), jump(z)[0])
    batch = BatchTopK(12, 4, 0.1, 0.1)
    batch.threshold.fill_(0.7)
    assert torch.equal(batch.nearest(z), batch.eval()(z)[0])


@pytest.mark.parametrize(
    ("words", "shape"),
    [
        ((), (1, 4, 5)),
        (("network=mlp", "network.widths=[8]"), (1, 4, 5)),
        (("network=conv", "network.widths=[4]"), (1, 8, 8)),
        (("network=conv", "network.widths=[4]", "latent_shape=[3,2,2]"), (1, 4, 4)),
        (("condition=label",), (1, 4, 5)),
    ],
)
def test_the_columns_that_read_the_code_have_norm_one(
    words: tuple[str, ...], shape: tuple[int, ...]
) -> None:
    made = sparse(*words, shape=shape)
    parts = (*made.model.decoder.modules(), *made.model.likelihood.projection.modules())
    first = next(m for m in parts if isinstance(m, (nn.Linear, nn.Conv2d)))
    units = 3 if "latent_shape=[3,2,2]" in words else 12
    optimizer = torch.optim.SGD(made.model.parameters(), lr=0.5)
    for _ in range(2):
        norms = first.weight.detach().transpose(0, 1).flatten(1).norm(dim=1)
        torch.testing.assert_close(norms[:units], torch.ones(units))
        if "condition=label" in words:
            assert float((norms[units:] - 1).abs().min()) > 1e-3, "those of the label are free"
        labels = made.splits.train.labels
        assert labels is not None
        model = made.model.given(labels[:20] if made.model.conditional else None)
        images = made.splits.train.images[:20]
        loss = -model.decode(model.encode(images).mean).log_prob(images).mean()
        loss.backward()
        optimizer.step()


@pytest.mark.parametrize("shape", [(5, 3), (4, 3, 2, 2)], ids=["linear", "conv"])
def test_unit_columns_have_the_gradient_of_their_formula(shape: tuple[int, ...]) -> None:
    """Of one weight, and of stacked ones under `vmap`, which a vectorized sweep trains."""
    weights = torch.randn(2, *shape, dtype=torch.double, requires_grad=True)
    outer = torch.randn(2, *shape, dtype=torch.double)
    rest = [d for d in range(1, weights.dim()) if d != 2]
    plain = weights / weights.square().sum(rest, keepdim=True).sqrt()
    (expected,) = torch.autograd.grad(plain, weights, outer)
    columns = UnitColumns(shape[1])
    for found in (torch.stack([columns(w) for w in weights]), torch.vmap(columns)(weights)):
        torch.testing.assert_close(found, plain)
        (gradient,) = torch.autograd.grad(found, weights, outer)
        torch.testing.assert_close(gradient, expected)


def test_unit_columns_have_second_and_forward_derivatives() -> None:
    """By finite differences, and by `vmap` of them, as `hessian` and `jacfwd` are formed."""
    columns, weight = UnitColumns(3), torch.randn(4, 3, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(columns, (weight,), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(columns, (weight,), check_fwd_over_rev=True)

    def plain(weight: Tensor) -> Tensor:
        return weight / weight.square().sum(0, keepdim=True).sqrt()

    found, expected = (
        torch.func.hessian(lambda w, of=of: of(w).pow(3).sum())(weight.detach())
        for of in (columns, plain)
    )
    torch.testing.assert_close(found, expected)


@pytest.mark.scale  # torch's compiler is imported
def test_unit_columns_can_be_compiled_whole() -> None:
    columns, weight = UnitColumns(3), torch.randn(4, 3, requires_grad=True)
    compiled = torch.compile(columns, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(weight), columns(weight))


def test_unit_columns_can_be_left_away() -> None:
    made = sparse("posterior.unit_norm=false")
    assert not hasattr(made.model.likelihood.projection[0], "parametrizations")
    layer = nn.Sequential(nn.Linear(3, 5))
    unit_columns(nn.Sequential(), layer, (3,))
    assert hasattr(layer[0], "parametrizations")


def test_a_linear_sparse_autoencoder_begins_as_a_transposed_dictionary_at_the_mean() -> None:
    made = sparse("objective.sparsity=l1")
    mean = made.splits.train.images.mean(0)
    weight = made.model.likelihood.projection[0].weight.detach()
    q = made.model.encode(made.splits.train.images)
    assert isinstance(q, SparseCode)
    expected = (made.splits.train.images - mean).flatten(1) @ weight
    torch.testing.assert_close(q.raw.detach(), expected, rtol=1e-3, atol=1e-5)
    zero = made.model.decode(torch.zeros(1, 12)).mean[0].detach()
    torch.testing.assert_close(zero, mean, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("model=sparse_ae", "posterior=delta"), "posterior: found DeltaPosterior"),
        (("posterior=sparse",), "objective: found ELBO"),
        (("model=sparse_ae", "latent_dim=12", "objective.k=13"), "objective.k: found 13"),
        (("model=sparse_ae", "posterior.sparsity=l1"), "posterior.sparsity: found l1"),
        (("model=sparse_ae", "network.tied=true"), "network.tied: found true"),
        (("model=sparse_ae", "network.spectral_norm=true"), "network.spectral_norm: found true"),
        (("model=sparse_ae", "prior=mixture"), "prior: found MixturePrior"),
        (("model=contractive_ae", "posterior=normal"), "posterior: found NormalPosterior"),
        (("model=ae", "evaluation.metrics=[objective,sparse_codes]"), "evaluation.metrics: sparse"),
    ],
)
def test_what_would_mean_nothing_is_refused(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(ConfigError, match=said.replace(".", r"\.")):
        check(composed(*words))


def test_the_threshold_weighs_batches_by_their_images() -> None:
    """50 images as 48 and 2: the last batch counts 1/25, not a half."""
    units, raw = BatchTopK(12, 3, 0.1, 0.1), RAW.abs() + 0.1
    units.calibrate(iter([raw[:48], raw[48:]]))
    first, last = (
        float(part.flatten().sort(descending=True).values[3 * len(part) - 1])
        for part in (raw[:48], raw[48:])
    )
    assert abs(first - last) > 0.05
    assert float(units.threshold) == pytest.approx(0.96 * first + 0.04 * last)
