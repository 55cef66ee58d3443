"""What a teacher starts from: a model folder, with fresh blocks above its own."""

import jax
import numpy as np
import pytest

from mobilebert_jax.cli.main import main
from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.initialise import init_params
from mobilebert_jax.models.pretrained import from_pretrained, save_pretrained
from mobilebert_jax.recipes.settings import check_config
from mobilebert_jax.recipes.teacher_start import check_start, extended
from mobilebert_jax.training.walks import Pair, default_layer_map
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.trees import named_leaves
from tests.recipes.tiny_run import XLA_FLAGS

TEACHER = ModelConfig.test_teacher()


def params_of(blocks, seed):
    return init_params(build_model(TEACHER.replace(num_hidden_layers=blocks), "pretraining"), seed)


@pytest.mark.parametrize("given", [0, 1, 3])
def test_blocks_of_the_folder_stay_and_fresh_ones_come_on_top(given):
    start, fresh = params_of(given, 1), params_of(3, 2)
    made = named_leaves(extended(start, fresh))
    for name, leaf in made.items():
        if "/layers/" in name:
            assert np.array_equal(leaf[:given], named_leaves(start)[name])
            assert np.array_equal(leaf[given:], named_leaves(fresh)[name][given:])
        else:
            assert np.array_equal(leaf, named_leaves(start)[name])


def test_a_model_without_blocks_is_kept_and_read(tmp_path):
    model = build_model(TEACHER.replace(num_hidden_layers=0), "pretraining")
    params = params_of(0, 1)
    save_pretrained(tmp_path / "bare", model, params)
    read, again = from_pretrained(tmp_path / "bare", "pretraining")
    assert read.cfg.num_hidden_layers == 0
    assert jax.tree.all(jax.tree.map(np.array_equal, params, again))
    ids = np.arange(12).reshape(2, 6)
    logits = read.apply({"params": again}, ids).prediction_logits
    assert logits.shape == (2, 6, TEACHER.vocab_size) and np.isfinite(logits).all()


@pytest.fixture(scope="module")
def bare(tiny_run, tmp_path_factory):
    """The folder of a teacher without blocks, and of the run that made it."""
    workdir = tmp_path_factory.mktemp("bare") / "run"
    no_blocks = ["--config.model.teacher.num_hidden_layers=0", "--config.transfer.strategy=none"]
    tiny_run.finish("pretrain", workdir, *no_blocks)
    return workdir / "teacher" / "model"


@pytest.mark.parametrize("devices", [1, 2])
def test_a_teacher_goes_on_from_one_without_blocks(tiny_run, bare, tmp_path, devices):
    """At a rate of 0 the new teacher is what it started from, and its fresh blocks, wherever they are kept."""
    still = ["--config.teacher.steps=2", "--config.teacher.optimizer.learning_rate=0.0"]
    split = ["--config.mesh.preset=fsdp", "--config.mesh.fsdp=2", "--config.mesh.replicate_below=64"]
    words = [f"--config.teacher.start={bare}", *still, *(split if devices == 2 else [])]
    flags = f"{XLA_FLAGS} --xla_force_host_platform_device_count={devices}"
    process = tiny_run.start("pretrain", tmp_path / "deep", *words, xla=flags)
    error = process.communicate(timeout=300)[1]
    assert process.returncode == 0, error
    given, made = (
        named_leaves(from_pretrained(path, "pretraining")[1]) for path in (bare, tmp_path / "deep/teacher/model")
    )
    assert all(np.array_equal(made[name], leaf) for name, leaf in given.items() if "/layers/" not in name)
    kernels = [leaf for name, leaf in made.items() if "/layers/" in name and name.endswith("kernel")]
    assert kernels and all(len(leaf) == 2 and np.std(leaf[0]) > 0 for leaf in kernels)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_hidden_layers": 4}, "has 4 blocks, more than the 3"),
        ({"intermediate_size": 8}, "its intermediate_size is 8, the teacher's"),
        ({"vocab_size": 99}, "its vocab_size is 99, the teacher's"),
    ],
)
def test_a_start_of_another_shape_is_refused(config, tmp_path, changes, message):
    cfg = TEACHER.replace(**changes)
    save_pretrained(tmp_path / "start", model := build_model(cfg, "pretraining"), init_params(model, 0))
    config.teacher.start = str(tmp_path / "start")
    with pytest.raises(UserError, match=message):
        check_start(config, TEACHER)


def test_a_start_that_is_not_there_is_refused_and_nothing_is_left(tmp_path, capsys):
    words = [f"--config.teacher.start={tmp_path / 'none'}", f"--workdir={tmp_path / 'run'}"]
    assert main(["pretrain", "--config=configs/demo.py", *words]) == 2
    assert "teacher.start" in capsys.readouterr().err
    assert not (tmp_path / "run" / "config.json").exists()


def test_a_finished_teacher_and_a_start_exclude_each_other(config, tmp_path):
    config.data.corpus = "text"
    config.teacher.update({"path": "one", "start": "other"})
    with pytest.raises(UserError, match="nothing starts there"):
        check_config(config)


@pytest.mark.parametrize("without", ["teacher", "student"])
def test_without_blocks_there_is_nothing_to_transfer(without):
    pair = {"teacher": TEACHER, "student": ModelConfig.test_student()}
    pair[without] = pair[without].replace(num_hidden_layers=0)
    with pytest.raises(UserError, match=f"model.{without}.num_hidden_layers=0: without blocks"):
        Pair(**pair, layer_map=default_layer_map(**pair))
