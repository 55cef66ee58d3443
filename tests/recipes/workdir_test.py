import json

import jax
import pytest

from mobilebert_jax.cli.flags import load_config, load_with_source
from mobilebert_jax.recipes import workdir as module
from mobilebert_jax.recipes.environment import environment
from mobilebert_jax.recipes.workdir import MAY_CHANGE, claim, file_input, flat, is_identity
from mobilebert_jax.utils.errors import UserError


def demo(*changes):
    return load_config("demo", changes)


@pytest.fixture
def started(tmp_path):
    """A folder in which a run of the demo has made something."""
    claim(tmp_path, demo())
    (tmp_path / "data").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    "change",
    [
        "distill.accumulation=2",
        "teacher.log_every=7",
        "finetune.evaluate_every=7",
        "transfer.evaluate_batches=7",
        "transfer.save_every=7",
        "teacher.keep_checkpoints=7",
        "distill.nonfinite_skips=3",
        "model.student.remat=full",
        "mesh.preset=fsdp",
        "mesh.data=4",
    ],
)
def test_cadence_and_memory_may_change_between_restarts(started, change):
    before = json.loads((started / "config.json").read_text())
    claim(started, demo(change))
    after = json.loads((started / "config.json").read_text())
    name, _, value = change.partition("=")
    assert str(flat(after["config"])[name]) == value
    assert after["identity"] == before["identity"]


def test_every_setting_that_may_change_exists():
    assert {part for name in flat(demo().to_dict()) for part in name.split(".")} >= MAY_CHANGE


@pytest.mark.parametrize(
    "change",
    [
        "seed=1",
        "data.corpus=other.txt",
        "data.mask_probability=0.2",
        "model.teacher.intermediate_size=64",
        "model.student.dtype=bfloat16",
        "transfer.steps=1000",
        "transfer.layer_map=1,2,3,4",
        "distill.batch_size=64",
        "distill.optimizer.learning_rate=0.1",
        "finetune.questions=",
    ],
)
def test_model_data_phases_optimizer_and_seed_may_not(started, change):
    written = (started / "config.json").read_text()
    name, _, _ = change.partition("=")
    with pytest.raises(
        UserError, match=rf"^config\.{name}=.*may not change between restarts; use another --workdir, or"
    ):
        claim(started, demo(change))
    assert (started / "config.json").read_text() == written


def test_the_message_names_the_old_value_the_new_and_what_may_change(started):
    with pytest.raises(UserError, match=r"config\.seed=3: .* was started with 0") as error:
        claim(started, demo("seed=3"))
    assert str(error.value).endswith(f"or change only {', '.join(sorted(MAY_CHANGE))}, which may")


def test_as_long_as_nothing_was_made_the_config_may_be_put_right(tmp_path):
    claim(tmp_path, demo())
    claim(tmp_path, demo("seed=3"))
    assert json.loads((tmp_path / "config.json").read_text())["config"]["seed"] == 3


def test_every_identity_setting_changes_the_hash(tmp_path):
    hashes = set()
    for number, change in enumerate(("seed=1", "teacher.steps=7", "data.lowercase=false", "transfer.copy=")):
        claim(tmp_path / str(number), demo(change))
        hashes.add(json.loads((tmp_path / str(number) / "config.json").read_text())["identity"])
    assert len(hashes) == 4
    assert is_identity("teacher.steps") and not is_identity("teacher.save_every")


def test_inputs_are_part_of_the_identity(tmp_path):
    weights = tmp_path / "folder" / "model.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"1")
    workdir = tmp_path / "run"
    claim(workdir, demo(), {"--model": file_input("--model", weights.parent)})
    (workdir / "finetune").mkdir()
    claim(workdir, demo(), {"--model": file_input("--model", weights.parent)})
    weights.write_bytes(b"2")
    with pytest.raises(UserError, match=r"^--model: .* was started with another one"):
        claim(workdir, demo(), {"--model": file_input("--model", weights.parent)})
    with pytest.raises(UserError, match=r"^--model: .* was started with another one"):
        claim(workdir, demo())
    with pytest.raises(UserError, match=r"--model=.*nowhere: no such file"):
        file_input("--model", tmp_path / "nowhere")


@pytest.mark.parametrize("content", ['{"model_type": "mobilebert"}', "[]", "nonsense"])
def test_a_folder_with_another_config_json_is_refused(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(UserError, match=r"not the config\.json of a run; give the folder of one"):
        claim(tmp_path, demo())
    assert (tmp_path / "config.json").read_text() == content


def test_a_workdir_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(UserError, match=f"--workdir={path}: .*give a folder that can be written"):
            claim(path, demo())


def test_another_environment_is_warned_of_and_written_down(started, monkeypatch):
    assert len(json.loads((started / "config.json").read_text())["environments"]) == 1
    claim(started, demo())
    now = environment()
    monkeypatch.setattr(module, "environment", lambda: {**now, "jax": "99.0", "XLA_FLAGS": "--x"})
    changed = rf"jax {jax.__version__}, now 99\.0; XLA_FLAGS none, now --x\): its bits may differ"
    with pytest.warns(UserWarning, match=changed):
        claim(started, demo())
    claim(started, demo())  # the same as last time: nothing to warn of
    written = json.loads((started / "config.json").read_text())["environments"]
    assert [each["jax"] for each in written] == [jax.__version__, "99.0"]
    assert written[0] == now


def test_where_the_config_came_from_is_written_down_and_handed_on(tmp_path):
    config, source = load_with_source("demo", ["seed=3"])
    assert source == {"config": "demo", "changed": {"seed": [0, 3]}}
    claim(tmp_path, config, source=source)
    again, handed_on = load_with_source(str(tmp_path / "config.json"), ["teacher.log_every=7"])
    assert handed_on == {"config": "demo", "changed": {"seed": [0, 3], "teacher.log_every": [20, 7]}}
    assert (again.seed, again.teacher.log_every) == (3, 7)
    assert load_with_source(str(tmp_path / "config.json"), ["seed=0"])[1]["changed"] == {}


def test_a_folder_from_before_a_setting_existed_was_made_with_its_default(started):
    path = started / "config.json"
    run = json.loads(path.read_text())
    del run["config"]["data"]["whole_word"]
    path.write_text(json.dumps(run))
    claim(started, demo())
    path.write_text(json.dumps(run))
    with pytest.raises(UserError, match=r"^config\.data\.whole_word=True: .* was started with False"):
        claim(started, demo("data.whole_word=true"))
