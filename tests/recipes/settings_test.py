"""The paper's numbers in the configs, and what is refused before any text is read."""

import pytest

from mobilebert_jax.cli.flags import load_config
from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.folder_config import folder_config
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.initialise import encoder_parameter_count
from mobilebert_jax.recipes.settings import (
    PHASES,
    active_phases,
    at_run_time,
    check_config,
    learning_rate,
    model_config,
    optimizer_config,
    phase_seed,
    transfer_pair,
)
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.files import write_json


def student_of(spec, vocab_size=30522):
    return model_config(load_config(spec, []), "student", vocab_size)


def test_the_paper_s_run(config):
    assert [config[name].steps for name in PHASES[:3]] == [500_000, 240_000, 500_000]
    assert [config[name].batch_size for name in PHASES[:3]] == [4096, 2048, 2048]
    assert [config[name].sequence_length for name in PHASES] == [128, 512, 512, 384]
    for name in PHASES[:3]:
        optimizer = optimizer_config(config[name])
        assert (optimizer.name, optimizer.bias_correction, optimizer.clip_norm) == ("lamb", False, 1.0)
        assert (optimizer.b1, optimizer.b2, optimizer.eps, optimizer.weight_decay) == (0.9, 0.999, 1e-6, 0.01)
        assert config[name].max_predictions == 20
    assert config.transfer.strategy == "progressive" and config.transfer.lower_rate == 0
    check_config(config)


def test_the_paper_s_learning_rates(config):
    transfer, distill = (learning_rate(config[name], config[name].steps) for name in ("transfer", "distill"))
    for step in (0, 5_000, 239_999):
        assert float(transfer(step)) == pytest.approx(1.5e-3)
    assert float(distill(5_000)) == pytest.approx(0.75e-3)
    assert float(distill(250_000)) == pytest.approx(0.75e-3, rel=1e-3)
    assert float(distill(500_000)) == pytest.approx(1.5e-7, rel=1e-3)
    finetune = optimizer_config(config.finetune)
    assert (finetune.name, config.finetune.optimizer.learning_rate) == ("adamw", 4e-5)


@pytest.mark.parametrize(
    ("spec", "vocab_size", "parameters"),
    [
        ("mobilebert", 30522, 24_581_888),
        ("mobilebert:tiny", 30522, 15_485_696),
        ("mobilebert:soft", 30522, 24_581_888),
        ("mobilebert:multilingual", 119_547, 35_977_088),
    ],
)
def test_the_arguments_choose_the_published_students(spec, vocab_size, parameters):
    assert encoder_parameter_count(build_model(student_of(spec, vocab_size))) == parameters


def test_the_teacher_is_ib_bert_large(config):
    assert encoder_parameter_count(build_model(model_config(config, "teacher", 30522))) == 294_205_184


def test_what_the_arguments_change():
    assert student_of("mobilebert:no_opt").normalization_type == "layer_norm"
    multilingual = load_config("mobilebert:multilingual", []).data
    assert (multilingual.vocab_size, multilingual.lowercase) == (119_547, False)
    assert load_config("mobilebert:soft", []).transfer.lower_rate == 0.3
    both = load_config("mobilebert:tiny,soft,laptop", [])
    assert both.transfer.lower_rate == 0.3 and both.model.student.use_bottleneck_attention


@pytest.mark.parametrize("arguments", ["laptop", "tiny,laptop", "no_opt,soft,laptop", "multilingual,laptop"])
def test_laptop_shrinks_any_config_and_keeps_its_structure(arguments):
    laptop = load_config(f"mobilebert:{arguments}", ["data.corpus=a.txt", "finetune.questions=q.json"])
    check_config(laptop)
    full = load_config(f"mobilebert:{arguments.replace('laptop', 'soft')}", [])
    for which in ("teacher", "student"):
        small, large = model_config(laptop, which, 1000), model_config(full, which, 1000)
        assert encoder_parameter_count(build_model(small)) < 2_000_000
        for name in ("normalization_type", "num_feedforward_networks", "use_bottleneck_attention", "hidden_act"):
            assert getattr(small, name) == getattr(large, name)
    assert sum(laptop[name].steps for name in PHASES) <= 5000


def test_the_demo_is_checked_too():
    demo = load_config("demo", [])
    check_config(demo)
    assert active_phases(demo) == list(PHASES)
    transfer_pair(demo, *(model_config(demo, which, 4096) for which in ("teacher", "student")))


def test_no_two_phases_of_neighbouring_seeds_share_a_seed(config):
    seeds = []
    for seed in range(3):
        config.seed = seed
        seeds += [phase_seed(config, name) for name in PHASES]
    assert len(set(seeds)) == 12


def test_a_model_folder_takes_over_what_belongs_to_the_run(config):
    cfg = at_run_time(config, "student", ModelConfig.test_student())
    assert cfg == ModelConfig.test_student(dtype="bfloat16")


@pytest.mark.parametrize(
    ("layer_map", "blocks", "expected"),
    [((), 24, tuple(range(24))), ((), 6, (3, 7, 11, 15, 19, 23)), ((0, 5, 23), 3, (0, 5, 23))],
)
def test_layer_maps(config, layer_map, blocks, expected):
    config.transfer.layer_map = layer_map
    teacher, student = ModelConfig.ib_bert_large(), ModelConfig.mobilebert(num_hidden_layers=blocks)
    assert transfer_pair(config, teacher, student).layer_map == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("data.corpus=", "data.corpus is empty"),
        (
            "transfer.strategy=quick",
            "transfer.strategy='quick': must be one of progressive, joint, local, auxiliary, none",
        ),
        ("transfer.copy=pooler", "transfer.copy: 'pooler' cannot be copied, only embeddings, norm, heads"),
        ("transfer.layer_map=a,b", "transfer.layer_map=('a', 'b'): numbers of teacher blocks are needed"),
        ("transfer.layer_map=3,2", "ascending teacher blocks from 0 to 23"),
        ("transfer.block_rate=0", "transfer.block_rate=0.0, transfer.lower_rate=0.0: learning-rate multipliers"),
        ("transfer.tf1_compat=true", "the original knows soft freezing only; set transfer.lower_rate=0.3"),
        ("transfer.steps=47", "transfer.steps=47: 24 blocks need at least 2 each to learn"),
        ("data.packing=true", "teacher.next_sentence=1.0: packed rows (data.packing=True) hold no pairs"),
        ("distill.ground_truth_ratio=1.5", "distill.ground_truth_ratio=1.5: must lie in [0, 1]"),
        ("distill.steps=0", "distill.steps=0: must be at least 1"),
        ("distill.accumulation=3", "distill.accumulation=3: does not divide distill.batch_size=2048"),
        ("distill.save_every=-1", "distill.save_every=-1: must not be negative"),
        ("distill.optimizer.learning_rate=-1", "distill.optimizer.learning_rate=-1.0: must not be negative"),
        ("distill.optimizer.name=sgd", "distill.optimizer.name='sgd': right is one of lamb, adamw"),
        ("transfer.optimizer.b1=2", "transfer.optimizer.b1=2.0"),
        ("distill.sequence_length=513", "distill.sequence_length=513: model.teacher.max_position_embeddings is 512"),
        ("model.student.hidden_size=256", "student.hidden_size=256: must equal the teacher's 512"),
        ("model.student.dtype=float16", "model.student.dtype=float16: activations of NoNorm models reach 1e7"),
        ("model.teacher.num_attention_heads=5", "model.teacher.num_attention_heads=5: does not divide"),
        ("finetune.max_query_length=400", "finetune.max_query_length=400: leaves a window"),
        ("finetune.n_best=0", "finetune.n_best=0: must be at least 1"),
        ("finetune.dataset=glue", "finetune.dataset='glue': of a run's own labels only GLUE's are part"),
    ],
)
def test_a_value_no_phase_could_work_with_is_refused_by_its_name(change, message):
    words = ["data.corpus=a.txt", "finetune.questions=q.json", change]
    with pytest.raises(UserError) as error:
        check_config(load_config("mobilebert", words))
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("joint_share=1", "transfer.joint_share=1.0: a share of the steps, from 0 to below 1"),
        ("teacher_fed=1.5,0.0", "transfer.teacher_fed=(1.5, 0.0): two shares of the blocks from 0 to 1"),
        ("updates=0", "transfer.updates=0: updates from each batch, at least 1"),
        ("teacher_fed=1.0", "transfer.teacher_fed=(1.0,): two shares of the blocks"),
        (
            "block_stops=0.5,0.7,1.0",
            "transfer.block_stops=(0.5, 0.7, 1.0): 24 shares are needed, one for each block, or two, of the first and",
        ),
        ("block_stops=1.0,1.1", "would learn from 0.0 to 1.0043478260869565 of the local steps, which lies outside"),
        ("block_end_ratio=1.5", "transfer.block_end_ratio=1.5: a share of each rate, from 0 to 1"),
        (
            f"block_stops={','.join(['1.0'] * 23)},1.2",
            "block 23 would learn from 0.0 to 1.2 of the local steps, which lies outside them",
        ),
        (
            f"block_starts={','.join(['0.0'] * 23)},1.0",
            "block 23 would learn from 1.0 to 1.0 of the local steps, which lies outside them",
        ),
        (
            f"block_stops=0.000001,{','.join(['1.0'] * 23)}",
            "stage 'each block': block 0 learns from step 0 to 0, outside the stage's 240000 steps",
        ),
    ],
)
def test_a_schedule_of_local_transfer_that_cannot_be_is_refused(change, message):
    with pytest.raises(UserError) as error:
        check_config(load_config("mobilebert", ["data.corpus=a", "transfer.strategy=local", f"transfer.{change}"]))
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_layer_map_that_skips_blocks_cannot_be_fed_by_the_teacher():
    words = ["data.corpus=a", "transfer.strategy=local", "transfer.teacher_fed=1.0,0.0"]
    check_config(load_config("mobilebert", words))
    with pytest.raises(UserError) as error:
        check_config(load_config("mobilebert", [*words, "model.student.num_hidden_layers=12"]))
    assert "for block 0 the output of the teacher's block 0, which no block of the student imitates" in str(error.value)
    check_config(load_config("mobilebert", [*words[:2], "model.student.num_hidden_layers=12"]))


@pytest.mark.parametrize("strategy", ["progressive", "joint", "auxiliary", "none"])
@pytest.mark.parametrize(
    ("setting", "value", "off"),
    [
        ("updates=4", "4", "1"),
        ("joint_share=0.2", "0.2", "0.0"),
        ("teacher_fed=1.0,0.0", "(1.0, 0.0)", "(0.0, 0.0)"),
        ("block_starts=0.0,0.5", "(0.0, 0.5)", "()"),
        ("block_stops=0.5,1.0", "(0.5, 1.0)", "()"),
    ],
)
def test_what_is_for_blocks_that_learn_alone_is_refused_elsewhere(strategy, setting, value, off):
    words = ["data.corpus=a", f"transfer.{setting}"]
    check_config(load_config("mobilebert", [*words, "transfer.strategy=local"]))
    with pytest.raises(UserError) as error:
        check_config(load_config("mobilebert", [*words, f"transfer.strategy={strategy}"]))
    name = setting.partition("=")[0]
    said = f"transfer.{name}={value}: is for transfer.strategy=local; with {strategy} it stays {off}"
    assert str(error.value) == said


@pytest.mark.parametrize("spec", ["demo:local", "mobilebert:local", "mobilebert:tiny,local,laptop"])
def test_configs_of_local_transfer_have_a_joint_finish_and_a_falling_rate(spec):
    local = load_config(spec, ["data.corpus=a.txt"] if "mobilebert" in spec else [])
    check_config(local)
    assert local.transfer.strategy == "local"
    assert local.transfer.joint_share == (0.2 if spec == "demo:local" else 0.25)
    assert local.transfer.teacher_fed == ((1.0, 0.5) if spec == "mobilebert:local" else (0.0, 0.0))
    rate, last = learning_rate(local.transfer, local.transfer.steps), local.transfer.steps - 1
    assert float(rate(last)) < 0.02 * float(rate(0))
    assert "transfer" in active_phases(local)


@pytest.mark.parametrize("spec", ["demo:quick", "mobilebert:soft,local"])
def test_arguments_that_make_no_sense_are_refused(spec):
    with pytest.raises(UserError, match=spec.split(":")[1]):
        load_config(spec, [])


@pytest.mark.parametrize(
    "changes",
    [
        ["finetune.sequence_length=600"],  # no questions: the phase is idle
        ["teacher.path=teacher", "teacher.steps=0", "model.teacher.hidden_size=128"],  # the folder's config counts
        ["transfer.strategy=auxiliary", "transfer.steps=0"],
        ["transfer.strategy=none", "model.student.hidden_size=256"],
        ["transfer.tf1_compat=true", "transfer.lower_rate=0.3"],
        ["data.packing=true", "teacher.path=teacher", "distill.next_sentence=0"],  # transfer has no such loss
    ],
)
def test_what_a_config_does_not_use_may_be_anything(changes):
    check_config(load_config("mobilebert", ["data.corpus=a.txt", *changes]))


def test_a_given_teacher_s_folder_is_compared_before_any_text_is_read(config, tmp_path):
    write_json(tmp_path / "config.json", folder_config(build_model(ModelConfig.bert_base(), "pretraining")))
    config.data.corpus, config.teacher.path = "a.txt", str(tmp_path)
    with pytest.raises(UserError, match=r"student\.hidden_size=512: must equal the teacher's 768"):
        check_config(config)
    student = {"hidden_size": 768, "num_attention_heads": 12, "intra_bottleneck_size": 192, "num_hidden_layers": 12}
    config.model.student.update(student)
    check_config(config)
    config.model.student.num_attention_heads = 4
    with pytest.raises(UserError, match=r"student\.num_attention_heads=4: must equal the teacher's 12"):
        check_config(config)
