"""The model: shapes, samples and that codes are decoded one by one."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from parts import composed, experiment, options

from vae_run.config.check import check
from vae_run.models.build import build_model

B, D = 4, 3


def built(shape=(1, 8, 8), *words):
    torch.manual_seed(0)
    settings = check(composed(f"latent_dim={D}", "network.widths=[6]", *words))
    return build_model(settings, shape).eval()


@pytest.mark.parametrize("network", options("network"))
def test_samples_in_front_of_the_batch_are_decoded_one_by_one(network):
    model, z = built((2, 5, 7), f"network={network}"), torch.randn(2, 3, B, D)
    whole = model.decode(z)
    assert whole.mean.shape == (2, 3, B, 2, 5, 7)
    x = torch.rand(B, 2, 5, 7)
    assert whole.log_prob(x).shape == (2, 3, B)
    for i in range(2):
        for k in range(3):
            alone = model.decode(z[i, k])
            torch.testing.assert_close(whole.mean[i, k], alone.mean)
            torch.testing.assert_close(whole.log_prob(x)[i, k], alone.log_prob(x))
            for b in range(B):
                single = model.decode(z[i, k, b][None]).mean[0]
                torch.testing.assert_close(whole.mean[i, k, b], single)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 7), (11,)], ids=str)
def test_codes_and_images_have_their_shapes(shape):
    model, x = built(shape), torch.rand(B, *shape)
    q = model.encode(x)
    assert q.mean.shape == (B, D)
    assert q.log_prob(q.mean).shape == (B,)
    assert model.latent_prior().sample().shape == (D,)
    assert model.reconstruct(x).shape == x.shape
    assert model.sample(5).shape == (5, *shape)


def test_reconstruct_is_the_mean_of_the_mean():
    model, x = built(), torch.rand(B, 1, 8, 8)
    expected = model.decode(model.encode(x).mean).mean
    found = model.reconstruct(x)
    assert torch.equal(found, expected)
    assert not found.requires_grad


def test_samples_are_decoded_from_the_prior_and_follow_torchs_seed():
    model = built()
    torch.manual_seed(5)
    first = model.sample(6)
    torch.manual_seed(5)
    assert torch.equal(model.sample(6), first)
    assert not torch.equal(model.sample(6), first)
    torch.manual_seed(5)
    z = torch.distributions.Normal(torch.zeros(D), torch.ones(D)).sample((6,))
    assert torch.equal(model.decode(z).mean, first)


def test_the_weights_follow_the_seed():
    words = ("likelihood=gaussian", "network=conv")
    states = [built((1, 8, 8), *words).state_dict() for _ in range(2)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("network", ["conv", "resnet"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 31, 45), (3, 128, 128), (2, 127, 65)], ids=str)
def test_pyramids_take_images_of_any_size_down_by_halves_and_back(network, shape):
    model, x = built(shape, f"network={network}", "network.widths=[4,6,8]"), torch.rand(2, *shape)
    assert model.encode(x).mean.shape == (2, D)
    assert model.reconstruct(x).shape == x.shape
    sizes, y = [], x
    for layer in model.encoder:
        y = layer(y)
        if y.dim() == 4 and tuple(y.shape[2:]) not in sizes:
            sizes.append(tuple(y.shape[2:]))
    halves = [shape[1:]]
    for _ in range(3):
        halves.append(tuple(-(-side // 2) for side in halves[-1]))
    assert [size for size in sizes if size != shape[1:]] == halves[1:]


@pytest.mark.parametrize(
    "words",
    [
        *((f"model={name}",) for name in options("model") if name not in ("pca", "ppca")),
        *((f"network={name}",) for name in options("network")),
        ("model=ae", "network.tied=true"),
        ("network.spectral_norm=true",),
        ("prior=vamp",),
        ("condition=label",),
    ],
    ids=" ".join,
)
def test_a_copy_has_nothing_of_its_original(words):
    made = experiment(*words)
    view = made.view(made.splits.train)
    batch = next(iter(view.batches()))

    def outputs(model):
        given = model.given(batch.given).eval()
        with torch.no_grad():
            code = given.encode(batch.input).mean
            return [code, given.decode(code).mean]

    expected, other = outputs(made.model), copy.deepcopy(made.model)
    with torch.no_grad():
        for tensor in itertools.chain(made.model.parameters(), made.model.buffers()):
            if tensor.is_floating_point():
                tensor.fill_(torch.nan)
    assert all(map(torch.equal, outputs(other), expected))
