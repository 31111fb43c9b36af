"""Codes as their active units: the products and gradients of codes of D numbers."""

from __future__ import annotations

import copy

import pytest
import torch
from parts import experiment
from torch import Tensor, nn

from vae_run.data.batches import Batch
from vae_run.models.networks.active_units import ActiveUnits, CodeLinear, found_by
from vae_run.models.posteriors import SparseCode
from vae_run.models.posteriors import sparse as sparse_posterior
from vae_run.objectives import trained_loss
from vae_run.training.experiment import Experiment

WORDS = ("model=sparse_ae", "latent_dim=64", "objective.k=5")


def few(batch: int = 6, size: int = 9, k: int = 3) -> ActiveUnits:
    values, index = torch.randn(batch, size, dtype=torch.float64).topk(k, dim=-1, sorted=False)
    return ActiveUnits(values.requires_grad_(), index, size)


def layer(inputs: int = 9, outputs: int = 7) -> CodeLinear:
    return CodeLinear.of(nn.Linear(inputs, outputs, dtype=torch.float64))


def test_a_layer_reads_active_units_as_the_codes_that_they_are() -> None:
    torch.manual_seed(0)
    units, reads = few(), layer()
    codes = units.codes()
    assert codes.shape == units.shape == (6, 9)
    assert (codes != 0).sum(1).tolist() == [3] * 6
    torch.testing.assert_close(codes.gather(1, units.index), units.values)
    upstream = torch.randn(6, 7, dtype=torch.float64)
    wanted = (units.values, reads.weight, reads.bias)
    expected = torch.autograd.grad(reads(codes), wanted, upstream)
    found = torch.autograd.grad(reads(units), wanted, upstream)
    torch.testing.assert_close(reads(units), reads(codes))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)
        assert one.any()


def test_gradients_agree_with_finite_differences() -> None:
    torch.manual_seed(1)
    units, reads = few(3, 5, 2), layer(5, 4)

    def output(values: Tensor, weight: Tensor) -> Tensor:
        given = ActiveUnits(values, units.index, 5)
        return torch.func.functional_call(reads, {"weight": weight}, (given,))

    assert torch.autograd.gradcheck(output, (units.values, reads.weight))


def test_stacked_models_read_their_own_units() -> None:
    torch.manual_seed(2)
    units, layers = [few() for _ in range(4)], [layer() for _ in range(4)]
    values = torch.stack([one.values.detach() for one in units]).requires_grad_()
    index = torch.stack([one.index for one in units])
    weights = torch.stack([one.weight.detach() for one in layers]).requires_grad_()

    def loss(v: Tensor, i: Tensor, w: Tensor) -> Tensor:
        outputs = torch.func.functional_call(layers[0], {"weight": w}, (ActiveUnits(v, i, 9),))
        return (outputs - layers[0].bias).square().sum()

    stacked = torch.func.vmap(loss)(values, index, weights)
    slopes = torch.autograd.grad(stacked.sum(), (values, weights))
    for number, (one, own) in enumerate(zip(units, layers, strict=True)):
        alone = (own(one) - own.bias).square().sum()
        torch.testing.assert_close(stacked[number], alone)
        expected = torch.autograd.grad(alone, (one.values, own.weight))
        for found, wanted in zip(slopes, expected, strict=True):
            torch.testing.assert_close(found[number], wanted)


class Finds(nn.Module):
    """The three largest outputs of a layer, by `found_by`."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 9, device="meta")

    def forward(self, x: Tensor) -> Tensor:
        return found_by(self.layer, x, *self.layer(x).topk(3))


FINDS = Finds()


def finds(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    named = {"layer.weight": weight, "layer.bias": bias}
    return torch.func.functional_call(FINDS, named, (features,))


def inputs(*stacked: int) -> list[Tensor]:
    shapes = ((*stacked, 6, 5), (*stacked, 9, 5), (*stacked, 9))
    return [torch.randn(shape, dtype=torch.float64).requires_grad_() for shape in shapes]


def chosen_outputs(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return (features @ weight.T + bias).topk(3)[0]


def test_found_outputs_have_the_gradients_of_a_layer() -> None:
    torch.manual_seed(3)
    given = inputs()
    found, expected = finds(*given), chosen_outputs(*given)
    torch.testing.assert_close(found, expected)
    upstream = torch.randn_like(found)
    slopes = torch.autograd.grad(found, given, upstream)
    for one, other in zip(slopes, torch.autograd.grad(expected, given, upstream), strict=True):
        torch.testing.assert_close(one, other)
        assert one.any()


def test_stacked_layers_find_their_own_outputs() -> None:
    torch.manual_seed(4)
    given = inputs(4)
    found = torch.func.vmap(finds)(*given)
    expected = torch.func.vmap(chosen_outputs)(*given)
    torch.testing.assert_close(found, expected)
    upstream = torch.randn_like(found)
    slopes = torch.autograd.grad(found, given, upstream)
    for one, other in zip(slopes, torch.autograd.grad(expected, given, upstream), strict=True):
        torch.testing.assert_close(one, other)


def test_the_layer_has_the_parameters_and_the_names_of_the_one_that_it_replaces() -> None:
    usual = nn.Linear(4, 3)
    made = CodeLinear.of(usual)
    assert made.weight is usual.weight
    assert made.bias is usual.bias
    assert [*made.state_dict()] == [*usual.state_dict()]


def gradients(made: Experiment, batch: Batch) -> dict[str, Tensor]:
    made.model.zero_grad()
    terms = made.objective(made.model, batch, 0.0)
    trained_loss(terms).mean().backward()  # type: ignore[no-untyped-call]
    return {"loss": terms["loss"].detach()} | {
        name: p.grad.clone() for name, p in made.model.named_parameters() if p.grad is not None
    }


@pytest.mark.parametrize(
    "words",
    [
        ("network.widths=[]", "objective.aux_weight=0"),
        ("network.widths=[]",),
        ("network.widths=[20]", "network=mlp"),
        ("network.widths=[]", "posterior.unit_norm=false"),
        ("network.widths=[]", "likelihood=gaussian", "likelihood.sigma=optimal"),
        ("network.widths=[]", "condition=label"),
        ("network=conv", "network.widths=[4]"),
    ],
    ids=" ".join,
)
def test_a_training_step_is_that_of_whole_codes(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = experiment(*WORDS, *words)
    model, size = made.model, 30
    images, labels = made.splits.train.images[:size], made.splits.train.labels[:size]
    label = labels if model.conditional else None
    batch = Batch(images, images, torch.zeros(0, size, 64), label)
    model = model.given(batch.given)
    q = model.encode(images)
    assert isinstance(q, SparseCode)
    assert isinstance(q.code, ActiveUnits)
    torch.testing.assert_close(q.code.codes(), q.mean)
    read = copy.copy(made)
    read.model = model
    found = gradients(read, batch)
    monkeypatch.setattr(sparse_posterior, "worthwhile", lambda *_: False)
    whole = model.encode(images)
    assert isinstance(whole, SparseCode)
    assert whole.code is whole.mean
    expected = gradients(read, batch)
    assert found.keys() == expected.keys()
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], msg=name)
        assert value.any(), name


@pytest.mark.parametrize(("k", "are_few"), [(8, True), (9, False)])
def test_many_active_units_are_decoded_as_a_whole_code(k: int, are_few: bool) -> None:
    made = experiment(*WORDS, f"objective.k={k}", "network.widths=[]")
    q = made.model.encode(made.splits.train.images[:2])
    assert isinstance(q, SparseCode)
    assert isinstance(q.code, ActiveUnits) is are_few
