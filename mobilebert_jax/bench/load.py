"""How long a model folder takes to load, and how much memory, each time in a fresh process."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.initialise import init_params
from mobilebert_jax.models.pretrained import save_pretrained
from mobilebert_jax.models.tensor_files import tensor_headers, weight_files
from mobilebert_jax.utils.errors import UserError

PROGRAM = """
import json, pathlib, resource, sys, time, warnings
import jax
import mobilebert_jax as mb
from mobilebert_jax.models.folder_config import CONFIG, read_folder_config

warnings.simplefilter("ignore")
head = read_folder_config(pathlib.Path(sys.argv[1], CONFIG)).head
mb.from_pretrained, jax.block_until_ready(jax.numpy.zeros(1))

def memory(field):
    try:
        lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))

before, start = memory("VmRSS"), time.perf_counter()
params = jax.block_until_ready(mb.from_pretrained(sys.argv[1], head)[1])
seconds = time.perf_counter() - start
peak = memory("VmHWM")
size = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
print(json.dumps({"seconds": seconds, "rise": peak - before, "kept": memory("VmRSS") - before, "size": size}))
"""
"""Peak and resident memory are compared with the process after its imports and its first array.

Not the peak of getrusage, where Linux tells it itself: that one is inherited from the process that started this one.
"""


def bench_load(folder: str = "", repeats: int = 5) -> dict[str, Any]:
    """Seconds and memory of `from_pretrained` on a folder, by default one of MobileBERT with random weights.

    seconds: the median and the slowest. rise: the largest growth of resident memory at any moment of the load; kept:
    after it, file pages included; both in bytes and over `size`, what the parameters hold.

    Raises:
        UserError: no model folder, or fewer than one repeat.
    """
    if repeats < 1:
        raise UserError(f"--repeats={repeats}: must be at least 1")
    if folder:
        return _measured(Path(folder), repeats)
    with tempfile.TemporaryDirectory() as scratch:
        model = build_model(ModelConfig.mobilebert(), "qa")
        save_pretrained(Path(scratch, "model"), model, init_params(model, 0))
        return _measured(Path(scratch, "model"), repeats)


def print_load(report: dict[str, Any]) -> None:
    """The report in lines."""
    print(f"{report['parameters']:,} parameters, {report['size'] / 1e6:.1f} MB, {report['repeats']} fresh processes")
    print(f"seconds        {report['seconds']:.2f} (slowest {report['slowest']:.2f})")
    print(f"memory at most {report['rise'] / 1e6:.0f} MB, {report['rise_over_size']:.2f} times the parameters")
    print(f"memory after   {report['kept'] / 1e6:.0f} MB, {report['kept_over_size']:.2f} times")


def _measured(folder: Path, repeats: int) -> dict[str, Any]:
    files = weight_files(folder)
    runs = [_run(folder) for _ in range(repeats)]
    seconds = sorted(run["seconds"] for run in runs)
    size, rise, kept = runs[0]["size"], max(run["rise"] for run in runs), max(run["kept"] for run in runs)
    return {
        "parameters": sum(header.count for header in tensor_headers(folder).values()),
        "files": [path.name for path in files],
        "repeats": repeats,
        "size": size,
        "seconds": seconds[len(seconds) // 2],
        "slowest": seconds[-1],
        "rise": rise,
        "rise_over_size": rise / size,
        "kept": kept,
        "kept_over_size": kept / size,
    }


def _run(folder: Path) -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"{folder}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    return json.loads(done.stdout.splitlines()[-1])
