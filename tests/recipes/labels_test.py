import json

import numpy as np
import pytest

from mobilebert_jax.cli.flags import load_config
from mobilebert_jax.recipes.evaluate_labels import average_runs, class_order
from mobilebert_jax.recipes.labels import load_label_sets, part_scores
from mobilebert_jax.recipes.tuning import with_steps
from mobilebert_jax.utils.errors import UserError
from tests.tasks.glue_files import write_glue

THREE = ("entailment", "neutral", "contradiction")


@pytest.fixture(scope="module")
def glue(tmp_path_factory):
    return write_glue(tmp_path_factory.mktemp("glue"))


def test_both_dev_sets_of_mnli_are_scored_by_part(glue):
    sets = load_label_sets(load_config("glue:mnli", [f"finetune.dataset={glue}"]).finetune, "mnli")
    said = {"dev_matched": sets.dev["dev_matched"].labels, "dev_mismatched": np.zeros(6, int)}
    found = part_scores(sets.metrics, sets.dev, said)
    assert found == {"dev_matched": {"accuracy": 100.0}, "dev_mismatched": {"accuracy": pytest.approx(100 / 3)}}
    third = {"accuracy": pytest.approx(100 / 3)}
    assert sets.baselines() == {"majority_class": {"dev_matched": third, "dev_mismatched": third}}


def test_the_fingerprint_follows_every_text_and_label(glue, tmp_path):
    def fingerprint(folder):
        return load_label_sets(load_config("glue:rte", [f"finetune.dataset={folder}"]).finetune, "rte").fingerprint()

    before = fingerprint(glue)
    assert fingerprint(glue / "RTE") == before
    for old, new in (("sentence1 0", "sentence1 9"), ("\tentailment", "\tnot_entailment")):
        for part in ("train", "dev"):
            text = (glue / "RTE" / f"{part}.tsv").read_text()
            (tmp_path / f"{part}.tsv").write_text(text.replace(old, new, 1) if part == "dev" else text)
        assert fingerprint(tmp_path) != before


def test_a_model_s_classes_are_found_by_name_or_taken_in_order():
    columns = np.arange(3)
    assert columns[class_order(THREE, THREE, "m")].tolist() == [0, 1, 2]
    assert columns[class_order(("LABEL_0", "LABEL_1", "LABEL_2"), THREE, "m")].tolist() == [0, 1, 2]
    assert columns[class_order(("contradiction", "entailment", "neutral"), THREE, "m")].tolist() == [1, 2, 0]
    for other in (("entailment", "not_entailment"), ()):
        with pytest.raises(UserError, match="m: the model's classes are"):
            class_order(other, THREE, "m")


def test_epochs_become_steps_and_the_cadence_of_an_epoch():
    config = load_config("glue:rte", [])
    found = with_steps(config, 2490).finetune
    assert (found.steps, found.evaluate_every, found.save_every) == (1556, 156, 156)  # 10 epochs of batches of 16
    assert found.optimizer.warmup_steps == 155
    assert config.finetune.steps != 1556
    fixed = load_config("glue:rte", ["finetune.epochs=0", "finetune.steps=7", "finetune.optimizer.warmup_steps=2"])
    found = with_steps(fixed, 2490).finetune
    assert (found.steps, found.evaluate_every, found.optimizer.warmup_steps) == (7, 0, 2)
    assert with_steps(load_config("glue:rte", []), 1).finetune.steps == 1


def test_presets_lie_in_the_paper_s_grid():
    for task in "cola sst2 mrpc stsb qqp mnli qnli rte wnli classification regression".split():
        settings = load_config(f"glue:{task}", []).finetune
        assert settings.batch_size in (16, 32, 48) and 2 <= settings.epochs <= 10
        assert 1e-5 <= settings.optimizer.learning_rate <= 1e-4 and settings.sequence_length == 128


def test_finished_runs_are_averaged_and_two_of_a_task_refused(tmp_path):
    def finish(folder, task, **scores):
        (tmp_path / folder / "finetune").mkdir(parents=True)
        (tmp_path / folder / "finetune" / "results.json").write_text(json.dumps({"task": task, "student": scores}))

    with pytest.raises(UserError, match="no finished run of one of GLUE's tasks there"):
        average_runs(f"{tmp_path}/*")
    finish("a", "rte", accuracy=60.0)
    finish("questions", "squad2", f1=80.0)
    finish("seeds/seed=1", "wnli", accuracy=50.0)
    (tmp_path / "seeds" / "results.json").write_text(json.dumps({"best": "seed=1"}))
    (tmp_path / "unfinished").mkdir()
    expected = {"rte": {"accuracy": 60.0}, "wnli": {"accuracy": 50.0}}
    assert average_runs(f"{tmp_path}/*") == expected | {"tasks": 2, "average": 55.0, "average_without_wnli": 60.0}
    assert average_runs(f"{tmp_path}/a,{tmp_path}/questions")["tasks"] == 1
    finish("b", "rte", accuracy=61.0)
    with pytest.raises(UserError, match="are both of rte; name one of them"):
        average_runs(f"{tmp_path}/*")
