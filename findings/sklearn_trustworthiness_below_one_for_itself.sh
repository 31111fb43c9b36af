#!/usr/bin/env bash
# scikit-learn 1.9.0: the trustworthiness of a lattice with itself is below 1.
#
# sklearn.manifold.trustworthiness ranks the neighbours of the data by argsort of the distances, and
# takes those of the embedding from a NearestNeighbors index. Among neighbours at equal distances
# the two may choose differently, and each difference counts as an untrustworthy neighbour. Data with
# many ties (lattices, binary images, repeated rows) get less than 1 for the identity.
#
# Seen: lattice of 20 x 20 points, 5 neighbours: 0.9994; the same moved by noise of 1e-6: 1.0000
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet scikit-learn==1.9.0 numpy==2.4.6 scipy==1.17.1
"$folder/env/bin/python" - <<'PY'
import numpy as np
from sklearn.manifold import trustworthiness

axis = np.arange(20.0)
lattice = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
tied = trustworthiness(lattice, lattice, n_neighbors=5)
moved = lattice + 1e-6 * np.random.default_rng(0).normal(size=lattice.shape)
untied = trustworthiness(moved, moved, n_neighbors=5)
print(f"lattice with itself: {tied:.4f}; moved by 1e-6, with itself: {untied:.4f}")
assert 0.99 < tied < 0.9999
assert untied == 1
PY
