"""Skip connections: what the decoder sees beside a code, and what they are refused with."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from parts import composed, experiment, grey
from torch import Tensor, nn

from vae_run.config.check import check
from vae_run.config.schema import Settings
from vae_run.corruptions import GaussianNoise
from vae_run.errors import ConfigError
from vae_run.evaluation.codes import calibrate
from vae_run.evaluation.evaluation import Evaluation
from vae_run.evaluation.view import View
from vae_run.models.build import build_model
from vae_run.models.latent_variable_model import LatentVariableModel
from vae_run.models.networks.skip import Merge
from vae_run.objectives import Reconstruction

B, D = 4, 3
PYRAMIDS = ("conv", "resnet", "conv1d")
SKIP = ("model=dae", "network.skip=true", f"latent_dim={D}", "likelihood=mse")


def settings_of(*words: str) -> Settings:
    return check(composed(*SKIP, "network.widths=[5,6,7]", *words))


def built(shape: tuple[int, ...], *words: str, **given: Any) -> LatentVariableModel:
    torch.manual_seed(0)
    return build_model(settings_of(*words), shape, **given).eval()


@pytest.mark.parametrize("network", PYRAMIDS)
@pytest.mark.parametrize(
    "shape", [(1, 8, 8), (3, 7, 9), (1, 1, 1), (3, 33, 17), (2, 1, 6)], ids=str
)
def test_every_pyramid_restores_the_size_and_trains_every_parameter(
    network: str, shape: tuple[int, ...]
) -> None:
    model, x = built(shape, f"network={network}", "network.activation=tanh"), torch.rand(B, *shape)
    before = model.beside(x)
    output = before.decode(before.encode(x).mean).mean
    assert output.shape == x.shape
    output.square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.abs().sum() > 0), name


def layers(module: nn.Module, kind: type[Any]) -> list[Any]:
    return [layer for layer in module.modules() if type(layer) is kind]


def test_each_level_of_the_decoder_sees_the_encoders_maps_of_its_size() -> None:
    model, x = built((2, 7, 9), "network=conv", "network.widths=[5,6]"), torch.rand(B, 2, 7, 9)
    down, (code, first) = (
        layers(model.encoder, nn.Conv2d),
        (
            layers(model.posterior, nn.Linear)[0],
            layers(model.decoder, nn.Linear)[0],
        ),
    )
    up, merged = layers(model.decoder, nn.ConvTranspose2d), layers(model.decoder, nn.Conv2d)
    half = down[0](x).relu()
    quarter = down[1](half).relu()
    top = first(code(quarter.flatten(1))).relu().unflatten(1, (6, 2, 3))
    top = merged[0](torch.cat([up[0](top), half], 1)).relu()
    top = merged[1](torch.cat([up[1](top), x], 1)).relu()
    expected = model.likelihood.projection(top).squeeze(1)
    torch.testing.assert_close(model.reconstruct(x), expected)


def test_the_decoder_may_have_other_levels_than_the_encoder() -> None:
    x = torch.rand(B, 1, 9, 9)
    for widths, channels in (
        ("[4]", [(4 + 1, 4)]),
        ("[9,8,7,6,4]", [(6 + 6, 6), (4 + 5, 4), (4 + 1, 4)]),
    ):
        model = built((1, 9, 9), "network=conv", f"network.decoder_widths={widths}")
        merged = layers(model.decoder, nn.Conv2d)
        assert [(m.in_channels, m.out_channels) for m in merged][-len(channels) :] == channels
        assert model.reconstruct(x).shape == x.shape


def test_a_code_of_maps_is_decoded_beside_the_larger_maps() -> None:
    shape = ("model=dae", "network.skip=true", "likelihood=mse", "latent_shape=[2,3,3]")
    widths = ("network=conv", "network.widths=[5,6,7,8]")
    model = build_model(check(composed(*shape, *widths)), (1, 9, 9))
    assert [merge.level for merge in layers(model.decoder, Merge)] == [1, 0]
    x = torch.rand(B, 1, 9, 9)
    assert model.encode(x).mean.shape == (B, 18)
    assert model.reconstruct(x).shape == x.shape


def test_weights_have_the_variance_of_all_the_inputs_that_are_merged() -> None:
    model = built((3, 8, 8), "network=conv", "network.widths=[32,64]")
    first, second = layers(model.decoder, Merge)
    for merge, inward in ((first, 32 + 32), (second, 32 + 3)):
        assert merge.convolution.in_channels == inward
        variance = merge.convolution.weight.detach().var().item()
        assert variance == pytest.approx(2 / (9 * inward), rel=0.05), "He et al. 2015, for relu"


def test_all_samples_of_an_image_are_decoded_beside_its_maps() -> None:
    model, x = built((1, 7, 5), "network=conv"), torch.rand(B, 1, 7, 5)
    z = torch.randn(2, 3, B, D)
    whole = model.beside(x).decode(z).mean
    assert whole.shape == (2, 3, B, 1, 7, 5)
    for i, k, b in ((0, 2, 1), (1, 0, 3)):
        alone = model.beside(x[b : b + 1]).decode(z[i, k, b][None]).mean[0]
        torch.testing.assert_close(whole[i, k, b], alone)


def test_the_encoder_processes_an_image_once() -> None:
    model, x, seen = built((1, 8, 8), "network=conv"), torch.rand(B, 1, 8, 8), list[Tensor]()
    layers(model.encoder, nn.Conv2d)[0].register_forward_hook(lambda *_: seen.append(x))
    before = model.beside(x)
    q = before.encode(x)
    assert len(seen) == 1
    torch.testing.assert_close(q.mean, model.encode(x).mean)
    torch.testing.assert_close(before.encode(x + 1).mean, model.encode(x + 1).mean)


def test_codes_without_images_are_refused() -> None:
    model, x = built((1, 8, 8), "network=conv"), torch.rand(B, 1, 8, 8)
    model.prior.fit(torch.randn(20, D))
    for decoded in (lambda: model.decode(torch.randn(B, D)), lambda: model.sample(2)):
        with pytest.raises(ConfigError, match=r"network\.skip: .* model\.beside\(x\)"):
            decoded()
    with pytest.raises(ConfigError, match="found 2 codes beside 4 images"):
        model.beside(x).decode(torch.randn(2, D))


@pytest.mark.parametrize("network", PYRAMIDS)
def test_a_conditional_decoder_sees_the_image_and_gets_the_label_with_its_code(
    network: str,
) -> None:
    words = (f"network={network}", "condition=label")
    model, x = built((2, 8, 8), *words, classes=[3, 5]), torch.rand(B, 2, 8, 8)
    labels = torch.tensor([3, 5, 5, 3])
    last = layers(model.decoder, Merge)[-1]
    assert last.channels == (16 if network == "conv1d" else 2), "not the planes of the label"
    found = model.reconstruct(x, labels)
    assert found.shape == x.shape
    assert not torch.equal(found, model.reconstruct(x, labels.roll(1)))
    before = model.checked(labels).beside(x)
    torch.testing.assert_close(found, before.decode(before.encode(x).mean).mean)
    with pytest.raises(ConfigError, match="give label="):
        model.beside(x)


def test_a_sigma_set_from_the_data_is_that_of_the_restored_images() -> None:
    model = built((1, 8, 8), "network=conv", "likelihood=gaussian", "likelihood.sigma=optimal")
    split, objective = grey(40, (1, 8, 8)), Reconstruction()
    view = View(model, objective, GaussianNoise(level=0.3), split, D)
    calibrate(view)
    (batch,) = view.batches()
    error = model.reconstruct(batch.input) - batch.target
    assert float(model.likelihood.sigma) == pytest.approx(float(error.square().mean().sqrt()))


def test_what_needs_codes_alone_is_neither_measured_nor_drawn() -> None:
    made = experiment(*SKIP[:2], "network=conv", shape=(1, 8, 8), n=20)
    view = made.view(made.splits.val)
    evaluation = Evaluation(
        metrics=["mse", "latent?", "geometry?", "generation?"],
        figures=["reconstructions", "samples", "codes", "interpolations", "traversals"],
    )
    assert evaluation.measure(view).keys() == {"mse"}
    assert evaluation.draw(view).keys() == {"reconstructions"}


@pytest.mark.scale
def test_the_objective_compiles_as_one_graph() -> None:
    made = experiment(*SKIP[:2], "network=conv", shape=(1, 8, 8), n=20)
    (batch,) = made.view(made.splits.val).batches()
    compiled = torch.compile(made.objective.__call__, backend="eager", fullgraph=True)
    expected = made.objective(made.model, batch, 0.0)["loss"]
    torch.testing.assert_close(compiled(made.model, batch, 0.0)["loss"], expected)


@pytest.mark.parametrize(
    ("typed", "begins", "remedy"),
    [
        ("model=vae", "network.skip: lets the decoder see", "model=dae"),
        ("model=rae corruption=gaussian", "network.skip: lets the decoder see", "model=dae"),
        ("posterior=normal", "network.skip: lets the decoder see", "posterior=delta"),
        ("corruption=none", "network.skip: with corruption=none", "corruption=gaussian"),
        ("prior=fitted_flow", "prior: found FittedFlow", "prior=fitted_gaussian"),
        ("trainer=layerwise", "network: found Conv", "trainer=gradient"),
        ("trainer=closed_form", "trainer=closed_form: is for linear maps", "network=mlp"),
        ("evaluation=generation", "evaluation.metrics: generation: needs a decoder", "skip=false"),
        ("evaluation.metrics=[geometry]", "evaluation.metrics: geometry: needs", "skip=false"),
    ],
)
def test_what_has_no_meaning_beside_skip_connections_is_refused(
    typed: str, begins: str, remedy: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        check(composed("model=dae", "network=conv", "network.skip=true", *typed.split()))
    assert str(refused.value).startswith(begins)
    assert remedy in str(refused.value)
