# syntax=docker/dockerfile:1
# vae-run in a container: docker build --target cpu (or cuda) --tag vae-run .
# Runs are written to /vae-run/outputs and data are read from /vae-run/data, so a folder is mounted at /vae-run; docs/installation.md.

FROM python:3.11-slim-bookworm AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY src src
COPY conf conf
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.11-slim-bookworm AS base
ENV PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    HOME=/tmp \
    VAE_RUN_DATA=/vae-run/data
RUN useradd --uid 1000 --no-create-home vae \
    && install --directory --owner=vae --group=vae /vae-run
WORKDIR /vae-run

# PyTorch for CPUs is much smaller than PyTorch with CUDA.
FROM base AS cpu
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --no-cache-dir --index-url "$TORCH_INDEX" 'torch>=2.10' 'torchvision>=0.25'
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    pip install --no-cache-dir /wheels/*.whl
USER 1000
ENTRYPOINT ["vae-run"]

# PyTorch brings its own CUDA libraries; the driver is the host's, through NVIDIA's container toolkit (--gpus all).
FROM base AS cuda
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    pip install --no-cache-dir /wheels/*.whl
USER 1000
ENTRYPOINT ["vae-run"]
