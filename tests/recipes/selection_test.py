"""What is chosen is what a run without a kill would have chosen, wherever the kill came."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.initialise import abstract_params
from mobilebert_jax.recipes.selection import BestOnDev, best, best_until
from mobilebert_jax.training.checkpoint_reader import MARK
from mobilebert_jax.training.metrics import MetricsFile

MODEL = build_model(ModelConfig.test_student(vocab_size=10), "classification")
SHAPES = abstract_params(MODEL)


class PowerCut(Exception):
    pass


def train(folder, scores, *, restored=0, save_every=2, cut_at=None, cut=None, patience=0):
    """Evaluations at steps 10, 20, ... of a phase whose parameters are all the number of the step."""
    metrics = MetricsFile(folder / "metrics.jsonl", restored)
    selection = BestOnDev(folder, MODEL, patience=patience)
    if not restored:
        metrics.write({"step": 0, "heldout": {"score": 1000.0}})  # untrained: never chosen
    for number, score in enumerate(scores, start=1):
        step = 10 * number
        if step <= restored:
            continue
        if selection.ended():
            break
        params = jax.tree.map(lambda leaf, step=step: jnp.full(leaf.shape, step, jnp.float32), SHAPES)
        if number % save_every == 0 and (step, cut) != (cut_at, "before saving"):
            (folder / "checkpoints" / str(step) / "state").mkdir(parents=True, exist_ok=True)
            (folder / "checkpoints" / str(step) / MARK).touch()
        selection.keep(step, params, {"score": score})
        if (step, cut) == (cut_at, "before the line"):
            raise PowerCut
        metrics.write({"step": step, "heldout": {"score": score}})
        if step == cut_at:
            raise PowerCut
    return selection


def saved_steps(folder):
    return sorted(int(path.name) for path in (folder / "checkpoints").glob("[0-9]*"))


def value(params):
    return {float(np.asarray(leaf).reshape(-1)[0]) for leaf in jax.tree.leaves(params)}


@pytest.mark.parametrize(("cut", "seed"), [("before saving", 0), ("before the line", 1), ("after the line", 2)])
def test_a_killed_run_chooses_as_a_whole_one(tmp_path, cut, seed):
    scores = np.random.default_rng(seed).integers(0, 5, 6).astype(float).tolist()
    expected = 10 * (int(np.argmax(scores)) + 1)
    for number in (3, 6):
        folder = tmp_path / f"{number}"
        with pytest.raises(PowerCut):
            train(folder, scores, cut_at=10 * number, cut=cut)
        selection = train(folder, scores, restored=max(saved_steps(folder), default=0))
        assert selection.chosen() == (expected, max(scores))
        assert value(selection.chosen_params()) == {expected}
        selection.clear()
        assert not (folder / "candidates").exists()


def test_no_more_is_kept_than_a_restart_may_need(tmp_path):
    train(tmp_path, [3.0, 1.0, 5.0, 4.0, 2.0, 9.0], save_every=4)
    assert sorted(path.name for path in (tmp_path / "candidates").iterdir()) == ["30", "60"]


def test_patience_counts_evaluations_without_a_better_one(tmp_path):
    scores = [1.0, 3.0, 2.0, 3.0, 9.0]
    selection = train(tmp_path, scores, patience=2)
    assert selection.chosen() == (20, 3.0) and selection.ended()
    again = train(tmp_path, scores, restored=20, patience=2)  # the line of step 30, 40 is lost, and made again
    assert again.chosen() == (20, 3.0) and again.ended()
    assert train(tmp_path / "never", scores).chosen() == (50, 9.0)


def test_without_choosing_the_last_one_counts_and_nothing_is_kept(tmp_path):
    selection = BestOnDev(tmp_path, MODEL, keeps=False)
    metrics = MetricsFile(tmp_path / "metrics.jsonl", 0)
    for step, score in ((0, 9.0), (10, 5.0), (20, 4.0)):
        selection.keep(step, {}, {"score": score})
        metrics.write({"step": step, "heldout": {"score": score}})
    assert selection.chosen() == (20, 4.0) and not (tmp_path / "candidates").exists()


def test_of_equals_the_first_is_best():
    scored = [(10, 1.0), (20, 2.0), (30, 2.0)]
    assert best(scored) == (20, 2.0)
    assert [best_until(scored, step) for step in (5, 10, 35)] == [None, 10, 20]
