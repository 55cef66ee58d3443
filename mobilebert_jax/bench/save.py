"""`bench save`: how long the loop stands still for a checkpoint, and what is left to do behind its back.

Each network of a config is saved as its phase saves it: parameters and optimizer slots, through `training.checkpoints`,
into a folder of the system's temporary one. A round copies the state from the device to the host and does nothing else,
saves and trains on until everything is on disk, saves and waits, and trains undisturbed; medians of the rounds.
"""

import contextlib
import statistics
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from mobilebert_jax.bench.stepping import seconds
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.initialise import init_params
from mobilebert_jax.recipes.plan_steps import abstract_batch
from mobilebert_jax.recipes.plans import alone_plan
from mobilebert_jax.recipes.settings import model_config, phase_settings
from mobilebert_jax.training.alone import AloneProgram
from mobilebert_jax.training.checkpoints import Checkpoints
from mobilebert_jax.training.program import control_at, init_state, make_step
from mobilebert_jax.utils.errors import UserError

PHASE_OF = {"teacher": "teacher", "student": "distill"}
"""Where each network is trained and saved whole."""

PARTS = ("copy", "hold", "behind", "whole", "step", "step_meanwhile")


def bench_save(
    config: ConfigDict,
    saves: int,
    networks: tuple[str, ...] = tuple(PHASE_OF),
    show: Callable[[dict[str, Any]], None] = lambda row: None,
) -> dict[str, Any]:
    """One row a network: bytes, and median seconds of PARTS.

    `copy`: of everything to the host. `hold`: until the loop goes on. `behind`: from then until the checkpoint is
    finished. `whole`: of a save that is waited for. `step`, and `step_meanwhile` while a checkpoint is written.
    `show` gets each row as soon as it is measured.

    Raises:
        UserError: no such network, or no space to save it.
    """
    for name in networks:
        if name not in PHASE_OF:
            raise UserError(f"--networks={name}: no such network; there are {', '.join(PHASE_OF)}")
    rows = []
    for name in networks:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(_measured(_Training(config, name), name, Path(folder), saves))
        show(rows[-1])
    return {"device": jax.devices()[0].device_kind, "saves": saves, "rows": rows}


class _Training:
    """A network's state and its phase's step, on one batch of nothing: what is trained does not matter here."""

    def __init__(self, config: ConfigDict, name: str):
        phase, cfg = PHASE_OF[name], model_config(config, name, config.data.vocab_size)
        model = build_model(cfg, "pretraining")
        plan = alone_plan(phase, config[phase].steps, cfg.num_hidden_layers, {"masked_lm": 1.0})
        settings = phase_settings(config, phase, plan.steps)
        self.state = init_state(init_params(model, 0), settings["optimizer"])
        program = AloneProgram(model, {"masked_lm": 1.0})
        call = make_step(
            program, settings["optimizer"], settings["learning_rate"], settings["accumulation"], settings["seed"]
        )
        shapes = abstract_batch(config[phase], config.data.packing)
        batch = {field: jnp.ones(leaf.shape, leaf.dtype) for field, leaf in shapes.items()}
        control = control_at(plan, 0)
        self._step = lambda state: call(state, {}, {}, batch, control)[0]
        self.step()  # compiles

    def step(self) -> float:
        """Seconds of a step."""
        return seconds(self._run)

    def _run(self) -> None:
        self.state = jax.block_until_ready(self._step(self.state))

    def saved(self) -> tuple[Any, Any]:
        """What the loop gives to a save."""
        return self.state.trained, self.state.opt_state


def _measured(training: _Training, name: str, folder: Path, saves: int) -> dict[str, Any]:
    """A network's row."""
    with contextlib.closing(Checkpoints(folder / "checkpoints", keep=1)) as checkpoints:
        rounds = [_round(training, checkpoints, 2 * number) for number in range(saves + 1)]
    leaves = jax.tree.leaves(training.saved())
    return {
        "network": name,
        "arrays": len(leaves),
        "bytes": sum(leaf.nbytes for leaf in leaves),
        "seconds": {part: statistics.median(each[part] for each in rounds[1:]) for part in PARTS},
    }


def _round(training: _Training, checkpoints: Checkpoints, number: int) -> dict[str, float]:
    """Seconds of every part, once; steps number `number` and the next are saved."""
    found = {"copy": _copy(training.saved())}
    found["hold"] = seconds(lambda: checkpoints.save(number, *training.saved(), {}))
    with ThreadPoolExecutor(1) as waiting:
        writing = waiting.submit(seconds, checkpoints.wait)
        meanwhile = [training.step()]
        while not writing.done():
            meanwhile.append(training.step())
    found["behind"] = writing.result()
    found["step_meanwhile"] = statistics.mean(meanwhile)
    found["step"] = statistics.mean(training.step() for _ in meanwhile)

    def save_and_wait() -> None:
        checkpoints.save(number + 1, *training.saved(), {})
        checkpoints.wait()

    found["whole"] = seconds(save_and_wait)
    return found


def _copy(tree: Any) -> float:
    """Seconds in which a tree of arrays is copied into the host's memory."""
    # Fresh arrays: one that has been read keeps its values on the host.
    leaves = jax.block_until_ready(jax.tree.leaves(jax.tree.map(jnp.copy, tree)))

    def copy() -> None:
        for leaf in leaves:
            leaf.copy_to_host_async()
        for leaf in leaves:
            np.array(leaf)

    return seconds(copy)


def print_head(saves: int) -> None:
    """What the rows below hold."""
    names = ("copy", "loop held", "of copy", "behind", "saved, waiting", "step", "meanwhile")
    print(f"{jax.devices()[0].device_kind}, medians of {saves}; milliseconds; what the loop is held, in plain copies")
    print(f"{'network':<10}{'arrays':>8}{'MB':>9}" + "".join(f"{name:>15}" for name in names), flush=True)


def print_row(row: dict[str, Any]) -> None:
    """One network's row."""
    seconds = row["seconds"]
    time_of = lambda part: f"{1000 * seconds[part]:15.1f}"  # noqa: E731
    share = f"{seconds['hold'] / seconds['copy']:15.1f}"
    text = time_of("copy") + time_of("hold") + share + "".join(map(time_of, ("behind", "whole", "step")))
    tqdm.write(f"{row['network']:<10}{row['arrays']:8}{row['bytes'] / 1e6:9,.1f}{text}{time_of('step_meanwhile')}")
