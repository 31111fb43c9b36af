"""A part of a model as ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vae_run.errors import ConfigError, RunError, first_line
from vae_run.exports.agreement import check
from vae_run.exports.facts import Port, facts, inputs, outputs
from vae_run.exports.graph import Part
from vae_run.exports.plain_text import texts
from vae_run.exports.program import quiet, traced
from vae_run.exports.source import Source
from vae_run.version import __version__

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
MOST_BYTES = 1.9e9
"""Weights that an ONNX file holds at most: protocol buffers end at 2 GiB."""


def onnx_file(source: Source, part: Part, what: str) -> tuple[bytes, float]:
    """The content of an ONNX file, and its largest difference from the model.

    Raises:
        ConfigError: the weights are too large for one file.
        RunError: it cannot be made, or does not agree with the model under onnxruntime.
    """
    size = sum(t.numel() * t.element_size() for t in source.model.state_dict().values())
    if size > MOST_BYTES:
        raise ConfigError(
            f"format: the weights have {size / 1e9:.1f} GB, and an ONNX file holds 2 GB at most. "
            "Use format=torch_export."
        )
    ins, outs = inputs(source, part), outputs(source, part)
    program = traced(source, part)
    try:
        with quiet():
            made = torch.onnx.export(
                program,
                (),
                dynamo=True,
                verbose=False,
                input_names=[port.name for port in ins],
                output_names=[port.name for port in outs],
            )
            assert made is not None
            proto = made.model_proto
    except Exception as error:  # of operations that ONNX lacks, of whatever kind
        raise RunError(
            f"format: ONNX has no translation of this model, part={part}: {first_line(error)}. Use "
            "format=torch_export."
        ) from error
    _describe(proto, ins, outs, texts(facts(source, part)))
    content: bytes = proto.SerializeToString()
    return content, _checked(source, part, content, what, outs)


def _describe(proto: Any, ins: Sequence[Port], outs: Sequence[Port], told: dict[str, str]) -> None:
    """Add what the file tells of itself, and remove what names files of this machine."""
    from onnx import helper

    proto.producer_name, proto.producer_version = "vae-run", __version__
    proto.doc_string = "\n".join(
        f"{port.name} {list(port.shape)} {port.type}: {port.meaning}" for port in (*ins, *outs)
    )
    helper.set_model_props(proto, told)
    batch = proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    meanings = {port.name: port.meaning for port in (*ins, *outs)}
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info):
        value.doc_string = meanings.get(value.name, "")
        value.ClearField("metadata_props")
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param == batch:
                size.dim_param = "batch"
    for node in proto.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    for weight in proto.graph.initializer:
        weight.ClearField("metadata_props")
    proto.graph.ClearField("metadata_props")


def _checked(source: Source, part: Part, content: bytes, what: str, outs: Sequence[Port]) -> float:
    import onnx
    import onnxruntime

    onnx.checker.check_model(content)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [port.name for port in session.get_inputs()]

    def run(given: Sequence[Tensor]) -> dict[str, Tensor]:
        arrays = {name: each.numpy() for name, each in zip(names, given, strict=True)}
        found = session.run([port.name for port in outs], arrays)
        return {port.name: torch.from_numpy(value) for port, value in zip(outs, found, strict=True)}

    return check(source, part, run, what)
