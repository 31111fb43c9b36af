#!/usr/bin/env bash
# torch 2.14.1: the variance of a continuous Bernoulli distribution is negative near p = 0.5.
#
# torch.distributions.ContinuousBernoulli takes a power series where p is within (0.499, 0.501). Beside that
# band the variance is a difference of two large numbers, which in float32 loses all its digits. The
# standard deviation is then NaN.
#
# Seen: of 20,001 values of p in [0.49, 0.51], 676 have a negative variance, the least -1.6; the right
# value is 1/12
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet torch==2.14.1 numpy==2.4.6
"$folder/env/bin/python" -W ignore - <<'PY'
import torch
from torch.distributions import ContinuousBernoulli

p = torch.linspace(0.49, 0.51, 20001)
variance = ContinuousBernoulli(probs=p).variance
negative = p[variance < 0]
print(f"{len(negative)} negative variances, the least {float(variance.min()):.2f}")
print(f"for p from {float(negative.min()):.4f} to {float(negative.max()):.4f}")
exact = ContinuousBernoulli(probs=p.double()).variance
print(f"in float64: {float(exact.min()):.4f} to {float(exact.max()):.4f}")
assert len(negative) > 100
assert float(variance.min()) < -1
assert abs(float(exact.min()) - 1 / 12) < 1e-3
PY
