"""Ends a run at many moments, starts it again each time, and compares the end with a run that was left alone.

python -m tests.recipes.kill_run --whole=runs/demo --workdir=runs/killed [words of `mobilebert run`]
python -m tests.recipes.kill_run --whole=runs/demo --workdir=runs/stopped --signal=TERM

The second asks the run to stop, and also measures how long that takes.
"""

import argparse
import dataclasses
import itertools
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from mobilebert_jax.recipes.settings import PHASES
from mobilebert_jax.training.metrics import read_metrics
from mobilebert_jax.utils.files import UNFINISHED, file_sha256, read_json

MAY_DIFFER = {"data_wait", "examples_per_second", "tokens_per_second", "step_seconds", "seconds", "memory"}
MAY_DIFFER |= {"mfu", "goodput"}
LIMIT = 3600.0
"""Seconds after which a moment that does not come is a failure."""


@dataclasses.dataclass(frozen=True)
class Moment:
    """When to kill: `now(workdir)`, or at the latest when `over(workdir)`, then `delay` seconds later."""

    name: str
    now: Callable[[Path], bool]
    over: Callable[[Path], bool] = lambda workdir: False
    delay: float = 0.0


def moments(config: dict, rng: random.Random) -> list[Moment]:
    """The moments in the order in which a run meets them."""
    before = [
        Moment("starting up", lambda workdir: True, delay=rng.uniform(0.1, 2.0)),
        Moment(
            "training the tokenizer",
            lambda workdir: (workdir / "config.json").exists(),
            lambda workdir: (workdir / "data" / "tokenizer").exists(),
            rng.uniform(0.0, 0.5),
        ),
        Moment(
            "writing the token stores",
            lambda workdir: any((workdir / "data" / "shards").glob(f"{UNFINISHED}*")),
            lambda workdir: (workdir / "data" / "manifest.json").exists(),
        ),
    ]
    page = Moment(
        "making the page",
        lambda workdir: _is(workdir, "finetune/results.json"),
        lambda workdir: _is(workdir, "report.html"),
        rng.uniform(0.0, 2.0),
    )
    within = itertools.chain.from_iterable(phase_moments(name, config[name], rng) for name in PHASES)
    return [*before, *within, page]


def phase_moments(name: str, settings: dict, rng: random.Random) -> Iterator[Moment]:
    """A step, a save, an evaluation (of the answers, in fine-tuning), and the writing of the phase's model."""
    step, every = rng.randrange(1, settings["steps"]), settings["evaluate_every"]
    published = lambda workdir: _is(workdir, f"{name}/model")  # noqa: E731
    first = 0 if name != "finetune" else -1  # where the log is before the first step: evaluated, or without a line
    begun = lambda w: _is(w, f"{name}/metrics.jsonl") and _logged(w, name)[1] >= first  # noqa: E731
    yield Moment(f"{name}: compiling its step", begun, published, rng.uniform(0.0, 0.5))
    yield Moment(f"{name}: step {step} or soon after", lambda w: _logged(w, name)[0] >= step, published, rng.random())
    saving = lambda workdir: any((workdir / name / "checkpoints").glob("*tmp*"))  # noqa: E731
    yield Moment(f"{name}: saving", saving, published)
    if name == "finetune":
        unscored = lambda workdir: _is(workdir, "model/config.json") and published(workdir)  # noqa: E731
        yield Moment(f"{name}: writing its model", lambda w: _being_written(w / name), published)
        yield Moment(f"{name}: scoring answers", unscored, lambda w: _is(w, f"{name}/results.json"), rng.random())
        return

    def evaluating(workdir: Path) -> bool:
        logged, evaluated = _logged(workdir, name)
        return logged > evaluated and bool(every) and logged % every == 0

    yield Moment(f"{name}: evaluating", evaluating, published, rng.uniform(0.0, 0.3))
    yield Moment(f"{name}: writing its model", lambda workdir: _being_written(workdir / name), published)


def _is(workdir: Path, name: str) -> bool:
    return (workdir / name).exists()


def _being_written(folder: Path) -> bool:
    return any(folder.glob(f"{UNFINISHED}model*"))


def _logged(workdir: Path, name: str) -> tuple[int, int]:
    """The last logged and the last evaluated step of a phase."""
    lines = read_metrics(workdir / name / "metrics.jsonl")
    steps = [[line["step"] for line in lines if ("heldout" in line) == evaluated] for evaluated in (False, True)]
    return max(steps[0], default=0), max(steps[1], default=-1)


def end_at(
    moment: Moment, process: subprocess.Popen, workdir: Path, number: signal.Signals = signal.SIGKILL
) -> tuple[str, float, int]:
    """Waits for the moment and sends the signal; returns (how that went, seconds to the exit, exit code)."""
    deadline, found = time.monotonic() + LIMIT, "over already"
    while time.monotonic() < deadline:
        if process.poll() is not None:
            return "the process had ended", 0.0, process.returncode
        if moment.now(workdir):
            found = "met"
            break
        if moment.over(workdir):
            break
        time.sleep(0.002)
    time.sleep(moment.delay)
    process.send_signal(number)
    began = time.perf_counter()
    process.communicate()
    return found, time.perf_counter() - began, process.returncode


def differences(workdir: Path, whole: Path) -> list[str]:
    """What the two finished runs do not have in common: files, bits, metrics; [] when they are the same."""
    found = [f"only in one: {name}" for name in sorted(files(workdir) ^ files(whole))]
    same = [*whole.glob("**/model.safetensors"), *whole.glob("finetune/*.json"), *whole.glob("data/**/*.npy")]
    for path in same:
        name = path.relative_to(whole)
        if not (workdir / name).exists() or file_sha256(workdir / name) != file_sha256(path):
            found.append(f"not the same bytes: {name}")
    phases = [path.parent.name for path in whole.glob("*/metrics.jsonl")]
    found += [f"metrics of {name}" for name in phases if metrics(workdir, name) != metrics(whole, name)]
    return found


def metrics(workdir: Path, phase: str) -> list[dict]:
    """All lines without what a clock says."""
    lines = read_metrics(workdir / phase / "metrics.jsonl")
    return [{name: value for name, value in line.items() if name not in MAY_DIFFER} for line in lines]


def files(workdir: Path) -> set[str]:
    """The run's files; a finished checkpoint is one, and so is TensorBoard's, whose name tells the time."""
    names = {str(path.relative_to(workdir)) for path in workdir.rglob("*") if path.is_file()}
    names = {re.sub(r"(checkpoints/\d+)/.*", r"\1", name) for name in names}
    return {re.sub(r"events\.out\.tfevents\..*", "events", name) for name in names}


def main() -> int:
    """The command; 0 when the ends are the same."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--whole", required=True, type=Path, help="the finished run to compare with")
    parser.add_argument("--workdir", required=True, type=Path, help="the run that is killed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--signal", default="KILL", choices=["KILL", "TERM", "INT"])
    options, words = parser.parse_known_args()
    command = [sys.executable, "-m", "mobilebert_jax", "run", f"--workdir={options.workdir}", *words]
    kind = signal.Signals[f"SIG{options.signal}"]
    config = read_json(options.whole / "config.json")["config"]
    for number, moment in enumerate(moments(config, random.Random(options.seed)), 1):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        found, seconds, code = end_at(moment, process, options.workdir, kind)
        print(f"{number:2}  {moment.name}: {found}; exit code {code} after {seconds:.1f} s", flush=True)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    found = differences(options.workdir, options.whole)
    if kind != signal.SIGKILL:  # a polite stop saves wherever it comes
        found = [each for each in found if not re.fullmatch(r"only in one: \w+/checkpoints/\d+", each)]
    print("\n".join(found) if found else "the same files, bits and metrics as the run that was left alone")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
