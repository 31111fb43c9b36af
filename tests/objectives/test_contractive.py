"""The contractive penalty against the Jacobian that autograd has."""

from __future__ import annotations

import pytest
import torch
from parts import experiment
from torch import Tensor

from vae_run.data.batches import Batch
from vae_run.models.latent_variable_model import LatentVariableModel
from vae_run.objectives import Contractive
from vae_run.objectives.contractive import estimated_jacobian, sigmoid_layer
from vae_run.training.experiment import Experiment


def contractive(*words: str) -> Experiment:
    return experiment("model=contractive_ae", "latent_dim=6", *words)


def exact(model: LatentVariableModel, x: Tensor) -> Tensor:
    """|J|^2 [B] by autograd, one image at a time."""
    jacobian = torch.func.jacrev(lambda one: model.encode(one[None]).mean[0])
    return torch.stack([jacobian(one).detach().square().sum() for one in x])


def batch_of(made: Experiment, size: int = 20) -> Batch:
    images = made.splits.train.images[:size]
    noise = torch.randn(1, size, 6, generator=torch.Generator().manual_seed(0))
    labels = made.splits.train.labels
    return Batch(images, images, noise, None if labels is None else labels[:size])


@pytest.mark.parametrize("words", [(), ("condition=label",), ("network.tied=true",)], ids=str)
def test_the_penalty_of_one_sigmoid_layer_is_the_jacobians_norm(words: tuple[str, ...]) -> None:
    made = contractive("network.widths=[]", "objective.contraction=0.3", *words)
    batch = batch_of(made)
    model = made.model.given(batch.given)
    assert sigmoid_layer(model) is not None
    with torch.no_grad():
        model.posterior.projection.weight *= 3.0  # away from the linear part of the sigmoid
    terms = made.objective(model, batch, 0.0)
    expected = torch.stack(
        [
            exact(made.model.given(label), x[None])[0]
            for x, label in zip(batch.input, batch.label[:, None], strict=True)
        ]
        if words == ("condition=label",) and batch.label is not None
        else list(exact(model, batch.input))
    )
    torch.testing.assert_close(terms["jacobian"].detach(), expected)
    torch.testing.assert_close(terms["loss"], terms["reconstruction"] + 0.3 * terms["jacobian"])


@pytest.mark.parametrize("words", [("network.widths=[8]",), ("posterior=delta",)], ids=str)
def test_the_estimate_of_other_encoders_has_the_jacobians_norm_as_mean(
    words: tuple[str, ...],
) -> None:
    made = contractive("network.activation=tanh", *words)
    assert sigmoid_layer(made.model) is None
    x = made.splits.train.images[:4]
    draws = 4000
    direction = torch.randn(draws, 6, generator=torch.Generator().manual_seed(1))
    for one, expected in zip(x, exact(made.model, x), strict=True):
        found = estimated_jacobian(made.model, one.expand(draws, *one.shape), direction).detach()
        error = float(found.std() / draws**0.5)
        assert abs(float(found.mean() - expected)) < 4 * error
        assert 4 * error < 0.15 * float(expected)


def test_the_estimate_is_the_same_in_evaluation_and_has_a_gradient_in_training() -> None:
    made = contractive("network.widths=[8]", "network.activation=tanh")
    assert isinstance(made.objective, Contractive)
    batch = batch_of(made)
    terms = made.objective(made.model, batch, 0.0)
    terms["jacobian"].sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in first_weights(made))
    for context in (torch.no_grad(), torch.inference_mode()):
        with context:
            again = made.objective(made.model, batch, 0.0)["jacobian"]
        torch.testing.assert_close(again, terms["jacobian"].detach())


def first_weights(made: Experiment) -> list[torch.nn.Parameter]:
    parts = (made.model.encoder, made.model.posterior)
    return [p for part in parts for name, p in part.named_parameters() if name.endswith("weight")]
