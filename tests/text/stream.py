"""The training stream's rows as hashes, as one of several processes makes them.

python -m tests.text.stream DATA --steps=0:200 --process=1/2      one line a step: the step, a hash a row
python -m tests.text.stream DATA --steps=0:200 --compare          one process, two, and 2 -> 1 in the middle
"""

import argparse
import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mobilebert_jax.text.examples import PretrainingExamples
from mobilebert_jax.text.loader import iterate
from mobilebert_jax.text.store import TokenStore
from mobilebert_jax.text.tokenizer import load_tokenizer


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("--steps", default="0:200")
    parser.add_argument("--process", default="0/1")
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--sequence_length", type=int, default=128)
    parser.add_argument("--compare", action="store_true")
    options = parser.parse_args()
    if options.compare:
        return print(compare(options))
    for line in own_lines(options):
        print(line, flush=True)


def own_lines(options: argparse.Namespace) -> Iterator[str]:
    """The lines of this process' rows."""
    index, processes = map(int, options.process.split("/"))
    each = options.batch_size // processes
    rows = slice(index * each, (index + 1) * each)
    examples = PretrainingExamples(
        TokenStore.open(options.data, "train"),
        load_tokenizer(Path(options.data, "tokenizer")),
        seed=7,
        batch_size=options.batch_size,
        sequence_length=options.sequence_length,
        max_predictions=20,
    )
    start, stop = map(int, options.steps.split(":"))
    batches = iterate(lambda step: examples.batch(step, rows), start, stop)
    for step, batch in enumerate(batches, start=start):
        yield " ".join([str(step), *(_row_hash(batch, row) for row in range(each))])


def _row_hash(batch: dict[str, np.ndarray], row: int) -> str:
    digest = hashlib.sha256()
    for name, values in sorted(batch.items()):
        digest.update(name.encode() + np.ascontiguousarray(values[row]).tobytes())
    return digest.hexdigest()[:16]


def global_lines(options: argparse.Namespace, processes: int, steps: str) -> list[str]:
    """The lines of the whole batches, put together from real processes that each make their rows."""
    own = [sys.executable, "-m", "tests.text.stream", options.data, f"--steps={steps}"]
    own += [f"--batch_size={options.batch_size}", f"--sequence_length={options.sequence_length}"]
    running = [
        subprocess.Popen([*own, f"--process={index}/{processes}"], stdout=subprocess.PIPE, text=True)
        for index in range(processes)
    ]
    lines = [process.communicate()[0].splitlines() for process in running]
    assert all(process.returncode == 0 for process in running)
    return list(map(_joined, *lines))


def _joined(*parts: str) -> str:
    """One line of the rows of all processes."""
    (step,) = {part.split(" ")[0] for part in parts}
    return " ".join([step, *(word for part in parts for word in part.split(" ")[1:])])


def compare(options: argparse.Namespace) -> str:
    """Says that the streams are equal, with the hash of all of it; fails otherwise."""
    start, stop = map(int, options.steps.split(":"))
    middle = (start + stop) // 2
    streams = {
        "one process": global_lines(options, 1, options.steps),
        "two processes": global_lines(options, 2, options.steps),
        "four processes": global_lines(options, 4, options.steps),
        "two, then one": global_lines(options, 2, f"{start}:{middle}") + global_lines(options, 1, f"{middle}:{stop}"),
    }
    digests = {name: hashlib.sha256("\n".join(lines).encode()).hexdigest() for name, lines in streams.items()}
    assert all(len(lines) == stop - start for lines in streams.values())
    assert len(set(digests.values())) == 1, digests
    return "\n".join(f"{name:<16} steps {options.steps}  {digest}" for name, digest in digests.items())


if __name__ == "__main__":
    main()
