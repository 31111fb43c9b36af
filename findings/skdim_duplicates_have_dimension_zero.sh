#!/usr/bin/env bash
# scikit-dimension 0.5.0: data in which every point occurs twice have dimension 0.
#
# skdim.id.MLE takes a copy of a point as its nearest neighbour, at distance 0, so that log(r_k / 0) is
# infinite and the estimate 0, without an error. Images that occur twice are common. The same
# data once have dimension 3. TwoNN drops such points, and here has none left.
#
# Seen: 300 normal points in three dimensions: MLE 3.06 (once), 0.0 (each twice); TwoNN of each twice:
# ValueError
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet scikit-dimension==0.5.0 numpy==2.4.6 scipy==1.17.1
"$folder/env/bin/python" -W ignore - <<'PY'
import numpy as np
import skdim

points = np.random.default_rng(0).normal(size=(300, 3))
twice = np.concatenate([points, points])
once, doubled = (float(skdim.id.MLE().fit(x).dimension_) for x in (points, twice))
print(f"MLE: {once:.2f} once, {doubled:.2f} each twice")
assert 2.5 < once < 3.5
assert doubled == 0
try:
    skdim.id.TwoNN().fit(twice)
except ValueError as error:
    print("TwoNN:", error)
else:
    raise AssertionError("TwoNN has an answer")
PY
