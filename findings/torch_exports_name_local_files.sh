#!/usr/bin/env bash
# torch 2.14.1: exported models tell the folders and the source lines of the machine that made them.
#
# torch.onnx.export(dynamo=True) and torch.export.save put a stack trace beside every node of the graph:
# absolute paths of the user's own files, with user and project names, and lines of source. A model that
# is handed to others or published says where, and partly by which code, it was made. Neither function
# has an argument that leaves them out.
#
# Seen: the path of the script, and its line "secret = x * 2", in model.onnx and model.pt2
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet torch==2.14.1 onnx==1.23.2 onnxscript==0.7.2 numpy==2.4.6
cat > "$folder/private_name.py" <<'PY'
import sys
from pathlib import Path

import torch


class Model(torch.nn.Module):
    def forward(self, x):
        secret = x * 2
        return secret


folder = Path(__file__).parent
program = torch.export.export(Model(), (torch.zeros(3),))
torch.export.save(program, folder / "model.pt2")
torch.onnx.export(program, (), folder / "model.onnx", dynamo=True, verbose=False)
for name in ("model.pt2", "model.onnx"):
    content = (folder / name).read_bytes()
    for text in (__file__, "secret = x * 2"):
        found = text.encode() in content
        print(f"{name}: {text}: {'found' if found else 'absent'}")
        if not found:
            sys.exit(1)
PY
"$folder/env/bin/python" -W ignore "$folder/private_name.py"
