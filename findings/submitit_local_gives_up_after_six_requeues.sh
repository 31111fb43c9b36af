#!/usr/bin/env bash
# submitit 1.5.4: a local job that is queued again runs six times at most, and ends without a word.
#
# The executor `local` takes `local_max_num_timeout`, here 1000. Its controller starts a job six times
# whatever that says, then ends: the state is FINISHED, there is no result, and no line in the log
# says why. A training that writes a checkpoint at each time limit is lost after the sixth.
#
# Seen: a job that asks eight times to be queued again starts six times; FINISHED, no result
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet submitit==1.5.4 cloudpickle==3.1.3 numpy==2.4.6
"$folder/env/bin/python" -W ignore - <<'PY'
import os
import signal
import tempfile
import time
from pathlib import Path

import submitit


class Task:
    def __init__(self, file):
        self.file = file

    def __call__(self):
        with open(self.file, "a") as file:
            file.write("started\n")
        if len(Path(self.file).read_text().splitlines()) < 8:
            os.kill(os.getpid(), signal.SIGUSR2)
            time.sleep(60)
        return "done"

    def checkpoint(self):
        return submitit.helpers.DelayedSubmission(self)


folder = tempfile.mkdtemp()
executor = submitit.AutoExecutor(folder, "local", local_max_num_timeout=1000)
executor.update_parameters(timeout_min=1)
job = executor.submit(Task(f"{folder}/starts"))
while job.state == "RUNNING":
    time.sleep(0.1)
starts = len(Path(f"{folder}/starts").read_text().splitlines())
print(f"{starts} starts; state {job.state}; result: {job.paths.result_pickle.exists()}")
assert starts == 6
assert job.state == "FINISHED"
assert not job.paths.result_pickle.exists()
PY
