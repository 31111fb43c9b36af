"""The same training as bare arithmetic in torch: the fastest possible loop in eager torch.

The backward pass is written out, without autograd, modules and distributions; all parameters are in
one tensor and all gradients in another, into which products are written, and torch's fused Adam
makes one pass over both. It shows which part of the difference between vae-run and the matrix
products alone a loop in torch could gain.
"""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn
from tutorial import VAE

BATCH = 128


class Flat:
    """The weights of a `VAE` as views of one tensor, its two heads as one, and its gradients."""

    def __init__(self, model: VAE) -> None:
        self.model = model
        self.layers = [
            [model.hidden],
            [model.mean, model.log_variance],
            [model.decoder_hidden],
            [model.logits],
        ]
        parts = [
            torch.cat([getattr(layer, name).detach() for layer in group])
            for group in self.layers
            for name in ("weight", "bias")
        ]
        self.parameter = nn.Parameter(torch.cat([part.flatten() for part in parts]))
        self.parameter.grad = torch.zeros_like(self.parameter)
        sizes = [part.numel() for part in parts]
        self.values, self.gradients = (
            [piece.view_as(part) for piece, part in zip(flat.split(sizes), parts, strict=True)]
            for flat in (self.parameter.detach(), self.parameter.grad)
        )

    def restored(self) -> VAE:
        """The model with the weights as they are now."""
        for number, group in enumerate(self.layers):
            for index, name in enumerate(("weight", "bias")):
                pieces = self.values[2 * number + index].chunk(len(group))
                for layer, piece in zip(group, pieces, strict=True):
                    getattr(layer, name).data.copy_(piece)
        return self.model


@torch.no_grad()
def gradients(flat: Flat, x: Tensor) -> None:
    """Those of the negative ELBO in nats an image, of images x [B, 784] in [0, 1]."""
    w1, b1, w2, b2, w3, b3, w4, b4 = flat.values
    dw1, db1, dw2, db2, dw3, db3, dw4, db4 = flat.gradients
    h = torch.addmm(b1, x, w1.t()).relu_()
    mean, log_variance = torch.addmm(b2, h, w2.t()).chunk(2, 1)
    noise, scale = torch.randn_like(mean), torch.exp(0.5 * log_variance)
    z = torch.addcmul(mean, scale, noise)
    d = torch.addmm(b3, z, w3.t()).relu_()
    logits = torch.addmm(b4, d, w4.t())
    by_logits = logits.sigmoid_().sub_(x).mul_(1 / len(x))
    torch.mm(by_logits.t(), d, out=dw4)
    torch.sum(by_logits, 0, out=db4)
    by_d = torch.mm(by_logits, w4).mul_(d > 0)
    torch.mm(by_d.t(), z, out=dw3)
    torch.sum(by_d, 0, out=db3)
    by_z = torch.mm(by_d, w3)
    by_log_variance = 0.5 * (by_z * scale * noise + (scale.square() - 1) / len(x))
    by_heads = torch.cat([by_z + mean / len(x), by_log_variance], 1)
    torch.mm(by_heads.t(), h, out=dw2)
    torch.sum(by_heads, 0, out=db2)
    by_h = torch.mm(by_heads, w2).mul_(h > 0)
    torch.mm(by_h.t(), x, out=dw1)
    torch.sum(by_h, 0, out=db1)


def fit(train: Tensor, seed: int, epochs: int) -> tuple[VAE, float]:
    """The trained model, and images per second over all epochs."""
    torch.manual_seed(seed)
    flat = Flat(VAE())
    optimizer = torch.optim.Adam([flat.parameter], lr=1e-3, fused=True)
    started = time.perf_counter()
    for _ in range(epochs):
        for index in torch.randperm(len(train)).split(BATCH):
            gradients(flat, train.index_select(0, index))
            optimizer.step()
    speed = epochs * len(train) / (time.perf_counter() - started)
    return flat.restored(), speed
