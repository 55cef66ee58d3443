"""Students side by side leave in their folders what runs of their own would."""

import shutil

import numpy as np
import pytest

from mobilebert_jax.cli.flags import load_config
from mobilebert_jax.models.pretrained import from_pretrained
from mobilebert_jax.recipes.run import run_recipe
from mobilebert_jax.recipes.side_by_side import Member, in_common, run_side_by_side
from mobilebert_jax.training.metrics import read_metrics
from mobilebert_jax.training.stopping import Stopper
from mobilebert_jax.utils.errors import Stopped, UserError
from mobilebert_jax.utils.trees import named_leaves
from tests.recipes.kill_run import MAY_DIFFER

PHASES = "transfer", "distill"


class StopAfter(Stopper):
    """Asks to stop from its so manieth question on."""

    def __init__(self, questions):
        super().__init__()
        self.left = questions

    @property
    def reason(self):
        self.left -= 1
        return "asked to" if self.left < 0 else None


def config_of(finished_run, seed=0):
    """The finished run's config, which goes on from its text and its teacher."""
    given = [f"data.store={finished_run}/data", f"teacher.path={finished_run}/teacher/model", "finetune.questions="]
    return load_config(str(finished_run / "config.json"), [f"seed={seed}", "data.corpus=", *given])


def parameters(folder, phase):
    return named_leaves(from_pretrained(folder / phase / "model", "pretraining")[1])


def log(folder, phase):
    lines = read_metrics(folder / phase / "metrics.jsonl")
    return [{name: value for name, value in line.items() if name not in MAY_DIFFER} for line in lines]


@pytest.fixture(scope="module")
def pair(finished_run, tmp_path_factory):
    """Folders of two students; the first began as the finished run's did."""
    folder = tmp_path_factory.mktemp("pair")
    folders = {seed: folder / str(seed) for seed in (0, 1)}
    members = [Member(config_of(finished_run, seed), folder) for seed, folder in folders.items()]
    with pytest.raises(Stopped):
        run_side_by_side(members, folder / "both", StopAfter(40))
    assert not any(path.exists() for path in folders.values())
    run_side_by_side(members, folder / "both", Stopper())
    return folders


@pytest.mark.parametrize("phase", PHASES)
def test_the_first_is_the_student_of_a_run_of_its_own(finished_run, pair, phase):
    expected, found, other = (parameters(folder, phase) for folder in (finished_run, pair[0], pair[1]))
    for name, leaf in expected.items():
        if name.endswith("key/bias"):  # adds the same to all scores of a query: its gradient is nothing but rounding
            continue
        scale = np.abs(leaf).max() or 1.0
        np.testing.assert_allclose(found[name] / scale, leaf / scale, rtol=0, atol=1e-3, err_msg=name)
    assert any(np.abs(other[name] - leaf).max() > 1e-2 for name, leaf in expected.items())
    for line, own in zip(log(pair[0], phase), log(finished_run, phase), strict=True):
        assert line.keys() == own.keys() and line["step"] == own["step"]
        if "hidden" in own:
            np.testing.assert_allclose(line["hidden"], own["hidden"], rtol=1e-2)


def test_a_run_goes_on_from_what_they_left(finished_run, pair):
    before = {(seed, phase): log(folder, phase) for seed, folder in pair.items() for phase in PHASES}
    for seed, folder in pair.items():
        run_recipe(config_of(finished_run, seed), folder, Stopper(), PHASES)
        kept = named_leaves(from_pretrained(folder / "model", "pretraining")[1])
        assert all(np.array_equal(kept[name], leaf) for name, leaf in parameters(folder, "distill").items())
    assert before == {(seed, phase): log(folder, phase) for seed, folder in pair.items() for phase in PHASES}


def test_distillation_after_other_kinds_of_transfer_is_what_each_would_learn_alone(finished_run, pair, tmp_path):
    """One after the finished transfer, one from where it began: of one seed, on the same examples."""
    transferred, fresh = config_of(finished_run), config_of(finished_run)
    fresh.transfer.strategy = "none"
    shutil.copytree(finished_run / "transfer" / "model", tmp_path / "after" / "transfer" / "model")
    members = [Member(transferred, tmp_path / "after"), Member(fresh, tmp_path / "fresh")]
    run_side_by_side(members, tmp_path / "both", Stopper(), ("distill",))
    run_recipe(fresh, tmp_path / "alone", Stopper(), PHASES)
    for found, expected in ((tmp_path / "after", finished_run), (tmp_path / "fresh", tmp_path / "alone")):
        assert log(found, "distill")[-1]["heldout"] == pytest.approx(log(expected, "distill")[-1]["heldout"], rel=1e-3)
    assert not (tmp_path / "fresh" / "transfer").exists()


def test_students_that_learn_otherwise_are_refused_before_anything_is_written(finished_run, tmp_path):
    one, other = config_of(finished_run), config_of(finished_run)
    other.distill.ground_truth_ratio = 0.25
    members = [Member(one, tmp_path / "one"), Member(other, tmp_path / "other")]
    with pytest.raises(UserError, match="distill is not the same for all students side by side"):
        run_side_by_side(members, tmp_path / "both", Stopper())
    assert not any(tmp_path.iterdir())


def test_what_must_be_in_common_leaves_out_the_transfer_unless_it_is_inside(finished_run):
    one, other = config_of(finished_run), config_of(finished_run, seed=3)
    other.transfer.lower_rate = 0.5
    assert in_common(one, "distill") == in_common(other, "distill")
    assert in_common(one, "transfer") != in_common(other, "transfer")
    for config in (one, other):
        config.transfer.strategy = "auxiliary"
    assert in_common(one, "distill") != in_common(other, "distill")
