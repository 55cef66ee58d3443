"""Fine-tuning, whatever the task: in a folder of its own, scored while it learns, the best of it kept."""

import contextlib
import dataclasses
import functools
import json
import time
from collections.abc import Callable, Mapping, Sized
from pathlib import Path
from typing import Any, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from mobilebert_jax.models.pretrained import save_pretrained
from mobilebert_jax.parallel.processes import exchange, first_says, is_first, on_first, whole
from mobilebert_jax.quantization.calibration import make_recipe
from mobilebert_jax.quantization.precision import at_precision
from mobilebert_jax.quantization.recipe import STATIC, Samples, WithRecipe
from mobilebert_jax.recipes.encoders import read_encoder
from mobilebert_jax.recipes.layouts import check_layout, check_network, make_layout
from mobilebert_jax.recipes.place import Place, opened
from mobilebert_jax.recipes.selection import BestOnDev
from mobilebert_jax.recipes.settings import check_phase
from mobilebert_jax.recipes.watch import check_traced, time_spent
from mobilebert_jax.recipes.workdir import claim, file_input
from mobilebert_jax.text.tokenizer import Tokenizer
from mobilebert_jax.training.loop import run_phase
from mobilebert_jax.training.phase import Phase
from mobilebert_jax.training.stopping import HasReason, Stopper
from mobilebert_jax.training.time_spent import TimeSpent
from mobilebert_jax.training.together import SharedStopper, agreed_reason, interruptible_together
from mobilebert_jax.training.trace import Traced
from mobilebert_jax.utils.errors import Stopped
from mobilebert_jax.utils.files import read_json, write_json
from mobilebert_jax.utils.types import Params

NEXT = "finetune comes next"
"""What a stop says that comes before the first step."""


class Sets(Protocol):
    """What a task is trained on and judged by."""

    task: str
    train: Sized


class Task(Protocol):
    """A task on a model folder: `model` has its head, `tokenizer` is the folder's."""

    model: nn.Module
    tokenizer: Tokenizer

    def phase(self) -> Phase:
        """The finetune phase without held-out figures; the examples become tokens here."""

    def samples(self) -> Samples:
        """Some training examples, to measure ranges of activations on."""

    def figures(self, params: Params) -> dict[str, float]:
        """Scores on the dev set by name, and `SCORE`, which decides."""

    def finish(self, computing: Any, params: Params, folder: Path) -> dict[str, Any]:
        """Writes the predictions of the chosen model; what results.json says of them, `SCORE` included.

        `computing` and `params` are what it ships as: `model` itself, or what `at_precision` makes of it.
        """


@dataclasses.dataclass(frozen=True)
class Kind:
    """How tasks of a kind are checked, loaded and made; `inputs` are the fingerprints of their sets, for `claim`."""

    check: Callable[[ConfigDict], None]
    load: Callable[[ConfigDict, str], Sets]
    inputs: Callable[[ConfigDict, Sets], dict[str, str]]
    make: Callable[[ConfigDict, Sets, Path, HasReason], Task]


def tune_folder(
    kind: Kind,
    config: ConfigDict,
    model_folder: str,
    task: str,
    workdir: str | Path,
    stopper: Stopper,
    source: Mapping[str, Any] | None = None,
    traced: Traced | None = None,
    since: float | None = None,
) -> dict[str, Any]:
    """Fine-tunes any model folder with a tokenizer on a task, in a folder of its own; see `tune`.

    The finished model lies in `workdir/model`. Started again, it continues. `source`: as in `claim`; `traced`, `since`:
    as in `run_recipe`.

    Raises:
        UserError: bad config, examples, model or workdir. Stopped: asked to stop, the state is saved.
    """
    load = functools.cache(lambda: kind.load(config, task))

    def checked() -> tuple[ConfigDict, dict[str, str]]:
        kind.check(config)
        sets = load()
        settings = with_steps(config, len(sets.train))
        check_phase(settings, "finetune")
        layout = make_layout(settings)
        check_layout(settings, layout, ["finetune"])
        check_network(layout, read_encoder(settings, model_folder)[0], model_folder)
        if traced:
            check_traced(settings, traced, ["finetune"])
        return settings, {"--model": file_input("--model", model_folder), "--task": task, **kind.inputs(settings, sets)}

    since = time.monotonic() if since is None else since
    with SharedStopper(stopper) as stopper, contextlib.ExitStack() as held:
        found = on_first(checked)
        place = held.enter_context(opened(workdir, stopper))
        on_first(lambda: claim(place.folder, *found, source))
        spent = held.enter_context(time_spent(place.folder, since))
        return tune(kind, config, model_folder, load, place, stopper, spent, traced)


def tune(
    kind: Kind,
    config: ConfigDict,
    model_folder: str | Path,
    load: Callable[[], Sets],
    place: Place,
    stopper: HasReason,
    spent: TimeSpent | None = None,
    traced: Traced | None = None,
) -> dict[str, Any]:
    """The finetune phase in the run's folder `finetune`, from where it stopped; the model also in `model`.

    Returns what results.json holds: `task`, `steps`, `best_step`, and what the task adds; {} in any process but the
    first. `spent`, `traced`: as in `run_phase`.
    """
    folder, spent = place.folder / "finetune", spent or TimeSpent()
    # Written last: with it, everything is there.
    if first_says((folder / "results.json").exists()):
        return on_first(lambda: read_json(folder / "results.json")) or {}
    if reason := agreed_reason(stopper):
        raise Stopped(f"{reason}; {NEXT}")
    sets = interruptible_together(load, stopper, NEXT)
    config = with_steps(config, len(sets.train))
    task = kind.make(config, sets, Path(model_folder), stopper)
    phase = interruptible_together(task.phase, stopper, NEXT)
    selection = _selection(config, task, place)
    if selection:
        phase = dataclasses.replace(phase, evaluate=functools.partial(_evaluate, task), selection=selection)
    places = place.checkpoints("finetune"), place.keep_soon
    last = whole(run_phase(phase, folder, stopper, spent, traced, *places))
    with spent.spending("evaluate"):
        return on_first(lambda: _finish(config, sets.task, task, selection, last, place.folder)) or {}


def with_steps(config: ConfigDict, examples: int) -> ConfigDict:
    """A copy of the config whose `finetune.epochs`, if any, have become steps, rounded down."""
    config = config.copy_and_resolve_references()
    settings = config.finetune
    if settings.epochs:
        epoch = examples / settings.batch_size
        settings.steps = max(1, int(epoch * settings.epochs))
        settings.optimizer.warmup_steps = int(settings.steps * settings.warmup_share)
        for name in ("evaluate_every", "save_every"):
            settings[name] = settings[name] or max(1, round(epoch))
    return config


def _selection(config: ConfigDict, task: Task, place: Place) -> BestOnDev | None:
    """None where the last parameters are wanted and no figures on the way to them."""
    settings = config.finetune
    if settings.select == "last" and not settings.patience and not settings.evaluate_every:
        return None
    lasting = place.checkpoints("finetune")
    return BestOnDev(place.folder / "finetune", task.model, settings.select == "best", settings.patience, lasting)


def _evaluate(task: Task, params: Params, stop: Callable[[], Any]) -> dict[str, Any] | None:
    """Process 0 makes the figures alone, on one device."""
    if stop():
        return None
    params = whole(params) if jax.device_count() > 1 else params
    figures = on_first(lambda: task.figures(params))
    return json.loads(exchange(json.dumps(figures) if is_first() else "")[0])


def _finish(
    config: ConfigDict, name: str, task: Task, selection: BestOnDev | None, last: Params, workdir: Path
) -> dict[str, Any]:
    """Writes the chosen model, its predictions and results.json; returns the results.

    A recipe lies beside a model that has learnt to be quantized, and its scores are those of its int8.
    """
    folder, settings = workdir / "finetune", config.finetune
    best_step = selection.chosen()[0] if selection else settings.steps
    params = selection.chosen_params() if selection and settings.select == "best" else last
    params = jax.tree.map(jnp.asarray, params)
    files, shipped = task.tokenizer, (task.model, params)
    if settings.quantize:
        samples = task.samples() if settings.quantize == STATIC else {}
        recipe = make_recipe(task.model, params, settings.quantize, samples)
        files, shipped = WithRecipe(files, recipe), at_precision(*shipped, "int8", recipe)
    for place in (folder / "model", workdir / "model"):
        save_pretrained(place, task.model, params, files)
    results = {"task": name, "steps": settings.steps, "best_step": best_step, **task.finish(*shipped, folder)}
    write_json(folder / "results.json", results)
    if selection:
        selection.clear()
    return results
