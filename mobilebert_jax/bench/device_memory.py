"""How much memory a file takes in its runtime: a process of its own loads it and runs it three times.

python -m mobilebert_jax.bench.device_memory litert model-128.tflite 128
"""

import json
import subprocess
import sys
from pathlib import Path

from mobilebert_jax.export import litert, onnx
from mobilebert_jax.export.checks import sample_inputs
from mobilebert_jax.utils.errors import UserError

RUNNERS = {"litert": litert.Runner, "onnx": onnx.Runner}
STATUS = Path("/proc/self/status")


def peak_memory(runtime: str, path: Path, length: int) -> int | None:
    """Bytes by which a process grows at most that has imported everything; None where the system does not tell."""
    if not STATUS.is_file():
        return None
    words = [sys.executable, "-m", __name__, runtime, str(path), str(length)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"{path.name}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def _measure(runtime: str, path: str, length: int) -> int:
    (inputs,) = sample_inputs(30_000, [(1, length)])
    __import__({"litert": "ai_edge_litert.interpreter", "onnx": "onnxruntime"}[runtime])
    before = _status("VmRSS")
    run = RUNNERS[runtime](path)
    for _ in range(3):
        run(*inputs)
    return max(0, _status("VmHWM") - before)


def _status(field: str) -> int:
    return 1024 * next(int(line.split()[1]) for line in STATUS.read_text().splitlines() if line.startswith(field))


if __name__ == "__main__":
    print(json.dumps(_measure(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
