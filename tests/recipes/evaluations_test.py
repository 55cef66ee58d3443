import pytest

from mobilebert_jax.cli.flags import load_config
from mobilebert_jax.recipes.evaluations import NAME, keep_evaluation, read_evaluations
from mobilebert_jax.recipes.workdir import claim

SCORES = {"computed_in": "float32", "examples": {"dev": 12}, "accuracy": 60.0, "score": 60.0}


@pytest.fixture
def run(tmp_path):
    claim(tmp_path / "run", load_config("glue:rte", []), {"--model": "x", "--task": "rte"})
    (tmp_path / "run/finetune/model").mkdir(parents=True)
    (tmp_path / "run/model").mkdir()
    return tmp_path / "run"


def test_a_run_keeps_what_is_newest_of_its_models(run, monkeypatch):
    assert read_evaluations(run) == []
    keep_evaluation(run / "model", "rte", "glue", SCORES)
    keep_evaluation(run / "finetune/model", "rte", "glue", {**SCORES, "computed_in": "int8"})
    monkeypatch.chdir(run)
    keep_evaluation("model", "rte", "glue", {**SCORES, "accuracy": 61.0})
    found = [(own["computed_in"], own["accuracy"]) for own in read_evaluations(run)]
    assert found == [("int8", 60.0), ("float32", 61.0)]
    keep_evaluation("model", "rte", "other", SCORES)
    assert len(read_evaluations(run)) == 3


def test_models_of_no_run_and_predictions_without_scores_are_not_kept(run, tmp_path):
    keep_evaluation(run / "model", "rte", "glue", {**SCORES, "missing": ["AX.tsv"]})
    (tmp_path / "plain").mkdir()
    keep_evaluation(tmp_path / "plain", "rte", "glue", SCORES)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model").mkdir()
    keep_evaluation(tmp_path / "model", "rte", "glue", SCORES)
    assert list(tmp_path.rglob(NAME)) == []


def test_a_folder_that_cannot_be_written_to_is_a_warning(run, monkeypatch):
    def refuse(path, value):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("mobilebert_jax.recipes.evaluations.write_json", refuse)
    with pytest.warns(UserWarning, match=r"evaluations.json: Permission denied; the run's page will not show"):
        keep_evaluation(run / "model", "rte", "glue", SCORES)


def test_a_damaged_file_holds_nothing(run):
    for text in ("{", '{"a": 1}', '["a"]'):
        (run / NAME).write_text(text)
        assert read_evaluations(run) == []
