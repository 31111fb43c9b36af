"""Optimisers: torch's own numbers, and each of them descends."""

from __future__ import annotations

import copy

import pytest
import torch
from parts import composed, options
from torch import nn

from vae_run.config.check import check
from vae_run.training.optimizers import SGD, Adam, AdamW


def descended(make, steps=20):
    """A point after `steps` on a quadratic, and the values on the way."""
    point = nn.Parameter(torch.tensor([3.0, -2.0, 0.5]))
    optimizer, values = make([point]), []
    for _ in range(steps):
        optimizer.zero_grad()
        value = (torch.tensor([1.0, 4.0, 0.3]) * (point - 1).square()).sum()
        value.backward()
        optimizer.step()
        values.append(value.item())
    return point.detach(), values


@pytest.mark.parametrize(
    ("ours", "torchs", "arguments"),
    [
        (Adam, torch.optim.Adam, {"lr": 0.1, "betas": [0.8, 0.95], "eps": 1e-6}),
        (Adam, torch.optim.Adam, {"lr": 0.1, "weight_decay": 0.3}),
        (AdamW, torch.optim.AdamW, {"lr": 0.1, "betas": [0.8, 0.95], "weight_decay": 0.3}),
        (SGD, torch.optim.SGD, {"lr": 0.02, "momentum": 0.5, "weight_decay": 0.3}),
        (SGD, torch.optim.SGD, {"lr": 0.02, "momentum": 0.5, "nesterov": True}),
        (SGD, torch.optim.SGD, {"lr": 0.02, "momentum": 0.0}),
    ],
)
def test_each_is_torchs(ours, torchs, arguments):
    found, _ = descended(lambda point: ours(point, **arguments))
    expected, _ = descended(lambda point: torchs(point, **arguments, foreach=False))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("option", options("optimizer"))
def test_every_optimizer_reduces_a_quadratic(option):
    settings = check(composed(f"optimizer={option}"))
    _, values = descended(lambda point: settings.build("optimizer", params=point), steps=100)
    assert values[-1] < 0.95 * values[0]
    assert settings.build("optimizer", params=[nn.Parameter(torch.ones(1))]).defaults["lr"] > 0


@pytest.mark.parametrize("option", options("optimizer"))
def test_every_optimizer_goes_on_from_its_saved_state(option):
    settings = check(composed(f"optimizer={option}"))

    def step(point, optimizer):
        optimizer.zero_grad()
        point.square().sum().backward()
        optimizer.step()

    point = nn.Parameter(torch.tensor([1.0, 2.0]))
    optimizer = settings.build("optimizer", params=[point])
    for _ in range(3):
        step(point, optimizer)
    other = nn.Parameter(point.detach().clone())
    resumed = settings.build("optimizer", params=[other])
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    step(point, optimizer)
    step(other, resumed)
    assert torch.equal(point, other)
