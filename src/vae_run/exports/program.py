"""A part of a model as a graph of torch's own operations, and the `.pt2` file that holds it."""

from __future__ import annotations

import io
import logging
import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule

from vae_run.errors import RunError, first_line
from vae_run.exports.agreement import check
from vae_run.exports.facts import facts, outputs
from vae_run.exports.graph import Graph, Part, examples
from vae_run.exports.source import Source
from vae_run.system.files import json_text

FACTS = "vae_run.json"
"""The file inside a `.pt2` that tells about the model (`extra_files` of `torch.export.load`)."""


def traced(source: Source, part: Part) -> ExportedProgram:
    """The graph of `part`, for batches of any size from 1.

    Raises:
        RunError: torch cannot trace it, such as parts of one's own that decide by values.
    """
    given = examples(source, part)
    batch = Dim("batch", min=1)
    sizes = {name: {0: batch} for name, _ in zip(("first", "given"), given, strict=False)}
    graph = Graph(source, part).eval()
    try:
        with quiet(), torch.no_grad():
            program = torch.export.export(graph, given, dynamic_shapes=sizes)
    except Exception as error:  # torch raises what it likes
        raise RunError(
            f"part={part}: torch cannot trace this model as one graph: {first_line(error)}. "
            "format=safetensors writes its weights."
        ) from error
    for module in program.graph_module.modules():  # the graph, and those inside it
        if isinstance(module, GraphModule):
            for node in module.graph.nodes:
                node.meta.pop("stack_trace", None)  # names files of this machine
                node.meta.pop("nn_module_stack", None)
    return program


def program_file(source: Source, part: Part, what: str) -> tuple[bytes, float]:
    """The content of a `.pt2` file, and its largest difference from the model.

    Raises:
        RunError: it cannot be traced, or does not agree with the model.
    """
    program, told = traced(source, part), facts(source, part)
    buffer = io.BytesIO()
    with quiet():
        torch.export.save(program, buffer, extra_files={FACTS: json_text(told, indent=2)})
        content, mark = buffer.getvalue(), str(told["about"]).encode()
        # The comment of the archive, by which `output` knows the file again.
        content = content[:-2] + struct.pack("<H", len(mark)) + mark
        loaded = torch.export.load(io.BytesIO(content)).module()
    names = [port.name for port in outputs(source, part)]

    @torch.no_grad()
    def run(given: Sequence[Tensor]) -> dict[str, Tensor]:
        return dict(zip(names, loaded(*given), strict=True))

    return content, check(source, part, run, what)


@contextmanager
def quiet() -> Iterator[None]:
    """Without the log lines and warnings of torch's exporters, which are about their own parts."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
