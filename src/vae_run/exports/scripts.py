"""Python scripts of about 20 lines that use a file without vae-run; tests run every line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from vae_run.exports.facts import Port, inputs, outputs, values
from vae_run.exports.graph import Part, given_values
from vae_run.exports.plain_text import one_line
from vae_run.exports.source import Source
from vae_run.models.likelihoods import (
    BernoulliLikelihood,
    GaussianLikelihood,
    LaplaceLikelihood,
    Likelihood,
)
from vae_run.models.posteriors import DeltaPosterior, NormalPosterior
from vae_run.version import __version__

ONNX = """\
# written by vae-run {version}; needs: pip install onnxruntime numpy
import sys

import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession({path!r}, providers=["CPUExecutionProvider"])
print(session.get_modelmeta().description)  # every input and output, and what it means
{feed}
if sys.argv[1:]:  # or an archive FILE.npz with arrays of these names
    feed = dict(np.load(sys.argv[1]))
names = [port.name for port in session.get_outputs()]  # {outputs}
results = dict(zip(names, session.run(names, feed)))
for name, value in results.items():
    print(name, value.dtype, value.shape)
if sys.argv[2:]:  # and where to write the results
    np.savez(sys.argv[2], **results)
"""

PROGRAM = """\
# written by vae-run {version}; needs: pip install torch numpy
import json
import sys

import numpy as np
import torch

extra = {{"vae_run.json": ""}}
model = torch.export.load({path!r}, extra_files=extra).module()
facts = json.loads(extra["vae_run.json"])  # every input and output, and what it means
{feed}
if sys.argv[1:]:  # or an archive FILE.npz with arrays of these names
    feed = dict(np.load(sys.argv[1]))
with torch.no_grad():
    values = model(*(torch.from_numpy(feed[port["name"]]) for port in facts["inputs"]))
results = {{port["name"]: v.numpy() for port, v in zip(facts["outputs"], values)}}
for name, value in results.items():  # {outputs}
    print(name, value.dtype, value.shape)
if sys.argv[2:]:  # and where to write the results
    np.savez(sys.argv[2], **results)
"""

WEIGHTS = """\
# written by vae-run {version}; needs: pip install torch safetensors
# {why}
import sys

import torch
from safetensors import safe_open

with safe_open({path!r}, framework="pt") as file:
    facts = file.metadata()  # texts: range, axes, code, prior, class_names, configuration, ...
    weights = {{name: file.get_tensor(name) for name in file.keys()}}
for name, value in facts.items():
    print(f"{{name}}: {{value[:200]}}")
for name, tensor in weights.items():
    print(name, tensor.dtype, list(tensor.shape))
"""

NETWORKS = """
from torch import nn

def filled(network, *prefixes):  # the layers of one prefix after those of the other
    for part, prefix in zip(network, prefixes):
        own = {{n.removeprefix(prefix): t for n, t in weights.items() if n.startswith(prefix)}}
        part.load_state_dict(own)
    return network.eval()

encoder = filled({encoder}, "encoder.", "posterior.projection.")
decoder = filled({decoder}, "decoder.", "likelihood.projection.")
with torch.no_grad():
    x = torch.rand({shape})  # {meaning}
    mean = encoder(x)[:, :{size}]  # the code
    decoded = decoder(mean).flatten(1).unflatten(1, {event}){link}
print("mean", list(mean.shape), "decoded", list(decoded.shape))
if sys.argv[1:]:  # where to write them
    torch.save({{"x": x, "mean": mean, "decoded": decoded}}, sys.argv[1])
"""


def script(source: Source, format: str, part: Part, path: Path) -> str:
    """The script for a file of `format` at `path`."""
    if format == "safetensors":
        return _of_weights(source, path)
    text = ONNX if format == "onnx" else PROGRAM
    return text.format(
        version=__version__,
        path=str(path),
        feed=_feed(source, part),
        outputs=", ".join(port.name for port in outputs(source, part)),
    )


def _feed(source: Source, part: Part) -> str:
    """The lines that make inputs for four examples."""
    lines = ["feed = {"]
    for port in inputs(source, part):
        meaning = port.meaning if len(port.meaning) < 200 else f"{port.meaning[:200]}..."
        lines.append(f"    {port.name!r}: {_values(source, port)},  # {one_line(meaning)}")
    return "\n".join([*lines, "}"])


def _values(source: Source, port: Port) -> str:
    shape = (4, *port.shape[1:])
    if port.name in ("label", "conditions"):
        given = given_values(source, 4)
        assert given is not None
        return f"np.array({given.tolist()}, {port.type!r})"
    kind = "standard_normal" if port.name == "z" else "random"
    return f"np.random.default_rng(0).{kind}({shape}, {port.type!r})"


def _of_weights(source: Source, path: Path) -> str:
    networks = _networks(source)
    why = (
        "The layers below are those of this run."
        if networks
        else "A safetensors file holds tensors, not the network that they belong to; the layers of "
        "this run need more\n# than a short script: format=onnx or torch_export has them, and "
        "vae_run.exports.from_pretrained builds them."
    )
    return WEIGHTS.format(version=__version__, path=str(path), why=why) + networks


LINKS: Mapping[type[Likelihood], str] = {
    BernoulliLikelihood: ".sigmoid()",
    GaussianLikelihood: "",
    LaplaceLikelihood: "",
}
"""What makes means of the outputs of likelihoods with one output for each pixel."""


def _networks(source: Source) -> str:
    """Encoder and decoder in torch's own layers; empty where it takes more than these."""
    model, posterior = source.model, source.model.posterior
    link = LINKS.get(type(model.likelihood))
    if link is None or not isinstance(posterior, (NormalPosterior, DeltaPosterior)):
        return ""
    halves = (model.encoder, posterior.projection), (model.decoder, model.likelihood.projection)
    if model.conditional or source.scaling or not all(map(_plain, (*halves[0], *halves[1]))):
        return ""
    encoder, decoder = (f"nn.Sequential({_text(a)}, {_text(b)})" for a, b in halves)
    return NETWORKS.format(
        encoder=encoder,
        decoder=decoder,
        shape=str((4, *source.event_shape))[1:-1],
        meaning=one_line(f"{source.noun}: {values(source)}"),
        size=source.settings.fixed.latent_dim,
        event=source.event_shape,
        link=link,
    )


def _plain(module: nn.Module) -> bool:
    """Whether a module is made of layers of torch.nn alone, in sequence."""
    if isinstance(module, nn.Sequential):
        return all(_plain(layer) for layer in module)
    return getattr(nn, type(module).__name__, None) is type(module) and not [*module.children()]


def _text(module: nn.Module) -> str:
    """The Python expression that makes a `_plain` module; torch shows layers as their calls."""
    if not isinstance(module, nn.Sequential):
        return f"nn.{module!r}"
    layers = "".join(f"\n    {_text(layer)}," for layer in module)
    return f"nn.Sequential({layers}\n)"
