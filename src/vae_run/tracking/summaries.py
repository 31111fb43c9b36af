"""What TensorBoard shows besides scalars, as values of its event file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from tensorboard.compat.proto.histogram_pb2 import HistogramProto
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.plugins.custom_scalar.layout_pb2 import (
    Category,
    Chart,
    Layout,
    MultilineChartContent,
)
from tensorboard.plugins.text.plugin_data_pb2 import TextPluginData

from vae_run.plots import content

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


def about(plugin: str, data: Any = None) -> SummaryMetadata:
    """Which of TensorBoard's plugins shows a value, and the plugin's own message about it."""
    found = SummaryMetadata.PluginData(plugin_name=plugin)
    if data is not None:
        found.content = data.SerializeToString()
    return SummaryMetadata(plugin_data=found)


def text(name: str, markdown: str) -> Summary.Value:
    """A text of the page Text."""
    one = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
    tensor = TensorProto(dtype="DT_STRING", string_val=[markdown.encode()], tensor_shape=one)
    metadata = about("text", TextPluginData(version=0))
    return Summary.Value(tag=f"{name}/text_summary", metadata=metadata, tensor=tensor)


def layout(categories: Mapping[str, Mapping[str, Sequence[str]]]) -> Summary.Value:
    """The page Custom Scalars: {category: {chart: tags of its lines}}."""
    page = Layout(
        category=[
            Category(
                title=title,
                chart=[
                    Chart(title=chart, multiline=MultilineChartContent(tag=tags))
                    for chart, tags in charts.items()
                ],
            )
            for title, charts in categories.items()
        ]
    )
    tensor = TensorProto(
        dtype="DT_STRING",
        string_val=[page.SerializeToString()],
        tensor_shape=TensorShapeProto(),
    )
    metadata = about("custom_scalars")
    return Summary.Value(tag="custom_scalars__config__", tensor=tensor, metadata=metadata)


def picture(name: str, pixels: NDArray[Any]) -> Summary.Value:
    """A picture, uint8 [height, width, 3]; one of this package is not encoded a second time."""
    height, width, channels = pixels.shape
    image = Summary.Image(
        height=height,
        width=width,
        colorspace=channels,
        encoded_image_string=content(pixels),
    )
    return Summary.Value(tag=name, image=image)


def histogram(name: str, values: Tensor) -> Summary.Value:
    """The histogram of `values` over TensorBoard's bins, whose limits grow by a tenth."""
    given = values.detach().cpu().double().numpy().reshape(-1)
    counts, limits = np.histogram(given, bins=_bins())
    (filled,) = np.nonzero(counts)
    if not len(filled):
        raise ValueError(f"{name}: there is no value to count.")
    first, end = int(filled[0]), int(filled[-1]) + 1
    below = [0.0] if first == 0 else [float(counts[first - 1])]
    found = HistogramProto(
        min=given.min(),
        max=given.max(),
        num=len(given),
        sum=given.sum(),
        sum_squares=given.dot(given),
        bucket_limit=limits[first : end + 1].tolist(),
        bucket=[*below, *counts[first:end].tolist()],
    )
    return Summary.Value(tag=name, histo=found)


@cache
def _bins() -> list[float]:
    found, value = [], 1e-12
    while value < 1e20:
        found.append(value)
        value *= 1.1
    return [*(-value for value in reversed(found)), 0.0, *found]
