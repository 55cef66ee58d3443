"""TensorFlow 1 checkpoints: names, layouts, what is skipped; the files themselves need the extra `tf1`."""

import json

import numpy as np
import pytest
import safetensors.numpy

from mobilebert_jax.export.tf1 import Checkpoint, find_prefix, load_tf1, model_of, open_checkpoint, read_tf1_config
from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.folder_config import folder_config
from mobilebert_jax.models.initialise import abstract_params
from mobilebert_jax.models.pretrained import save_pretrained
from mobilebert_jax.models.state_dict import to_state_dict
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.trees import named_leaves
from tests.export.tf1_names import values, variables
from tests.models.model_cases import VARIANTS

CFG = VARIANTS["mobilebert"]
SLOTTED = "bert/encoder/layer_1/attention/self/value/kernel"


def checkpoint(arrays, path="m.ckpt"):
    return Checkpoint(path, {name: array.shape for name, array in arrays.items()}, arrays.__getitem__)


def with_slots(arrays):
    slots = {f"{name}/adam_{letter}": array + 1 for name, array in arrays.items() for letter in "mv"}
    return {**arrays, **slots, "global_step": np.array(7)}


def test_the_released_configuration_has_1119_variables():
    assert len(variables(ModelConfig.mobilebert())) == 1119


@pytest.mark.parametrize("variant", ["mobilebert", "tiny", "no_opt", "teacher"])
def test_every_variable_finds_its_parameter(variant):
    cfg = VARIANTS[variant]
    arrays = values(cfg)
    model, params, absent = model_of(checkpoint(with_slots(arrays)), cfg)
    assert absent == [] and type(model).__name__ == "MobileBertForPreTraining"
    layers = params["encoder"]["layers"]
    np.testing.assert_array_equal(layers["attention"]["value"]["kernel"][1], arrays[SLOTTED])
    last = cfg.num_feedforward_networks - 1
    expected = arrays["bert/encoder/layer_2/intermediate/dense/kernel"]
    np.testing.assert_array_equal(layers[f"ffn_{last}"]["intermediate"]["kernel"][2], expected)
    if last:
        expected = arrays["bert/encoder/layer_0/ffn_layer_0/output/dense/bias"]
        np.testing.assert_array_equal(layers["ffn_0"]["output"]["dense"]["bias"][0], expected)
    extra = arrays["cls/predictions/extra_output_weights"]
    np.testing.assert_array_equal(params["masked_lm"]["extra_embedding"], extra)
    np.testing.assert_array_equal(params["next_sentence"]["kernel"], arrays["cls/seq_relationship/output_weights"].T)
    counted = sum(leaf.size for leaf in named_leaves(abstract_params(model)).values())
    assert counted == sum(array.size for array in arrays.values())
    state = to_state_dict(model, params)
    np.testing.assert_array_equal(state["cls.predictions.dense.weight"], extra.T)


def test_teacher_variables_are_skipped_or_selected():
    own, given = values(CFG), values(VARIANTS["teacher"], seed=1)
    both = checkpoint({**own, **{f"teacher/{name}": array for name, array in given.items()}})
    _, student, _ = model_of(both, CFG)
    model, teacher, _ = model_of(both, VARIANTS["teacher"], teacher=True)
    np.testing.assert_array_equal(student["encoder"]["layers"]["attention"]["value"]["kernel"][1], own[SLOTTED])
    np.testing.assert_array_equal(teacher["encoder"]["layers"]["attention"]["value"]["kernel"][1], given[SLOTTED])
    assert model.cfg == VARIANTS["teacher"]
    with pytest.raises(UserError, match=r"m.ckpt: holds no variables below teacher/"):
        model_of(checkpoint(own), CFG, teacher=True)


@pytest.mark.parametrize(
    ("head", "name", "rows"), [("span", "cls/squad/", 2), ("classifier", "", 5)], ids=["squad", "classifier"]
)
def test_the_head_is_the_one_that_is_there(head, name, rows):
    arrays = {name: array for name, array in values(CFG).items() if not name.startswith("cls/")}
    arrays[f"{name}output_weights"] = np.random.RandomState(3).randn(rows, CFG.hidden_size).astype(np.float32)
    arrays[f"{name}output_bias"] = np.zeros(rows, np.float32)
    _, params, absent = model_of(checkpoint(arrays), CFG)
    assert absent == []
    np.testing.assert_array_equal(params[head]["kernel"], arrays[f"{name}output_weights"].T)


def test_variables_that_do_not_fit_are_listed():
    arrays = values(CFG)
    with pytest.raises(UserError, match=r"m.ckpt: 1 unknown variables: strange/kernel/x"):
        model_of(checkpoint({**arrays, "strange/kernel/x": np.zeros(1)}), CFG)
    del arrays[SLOTTED]
    with pytest.raises(UserError, match=r"1 missing: mobilebert\.encoder\.layer\.1\.attention\.self\.value\.weight"):
        model_of(checkpoint(arrays), CFG)


def test_the_originals_config_and_its_defaults(tmp_path):
    path = tmp_path / "config.json"
    given = {"hidden_size": 48, "num_attention_heads": 4, "hidden_act": "gelu", "use_bottleneck": True, "vocab_size": 9}
    path.write_text(json.dumps(given | {"unknown": 1}))
    cfg = read_tf1_config(path)
    assert (cfg.embedding_size, cfg.intra_bottleneck_size, cfg.type_vocab_size) == (48, 48, 16)
    assert (cfg.normalization_type, cfg.classifier_activation, cfg.trigram_input) == ("layer_norm", True, False)
    assert cfg.hidden_act == "gelu" and not cfg.torch_norm_eps
    path.write_text(json.dumps(given | {"num_attention_heads": 5}))
    with pytest.raises(UserError, match=r"config.json: model.num_attention_heads=5"):
        read_tf1_config(path)
    path.write_text("{}")
    with pytest.raises(UserError, match=r"config.json: no model config in JSON"):
        read_tf1_config(path)


def test_a_checkpoint_is_found_by_prefix_index_or_folder(tmp_path):
    assert find_prefix(tmp_path) is None
    (tmp_path / "m.ckpt.index").write_bytes(b"")
    for given in (tmp_path, tmp_path / "m.ckpt", tmp_path / "m.ckpt.index"):
        assert find_prefix(given) == tmp_path / "m.ckpt"
    with pytest.raises(UserError, match=r"m.ckpt: 0 model configs .* beside it; give --model_config=FILE"):
        load_tf1(tmp_path / "m.ckpt")


def write_checkpoint(tf, prefix, arrays):
    """What a TensorFlow 1 program's Saver leaves."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        made = [tf.compat.v1.get_variable(name, initializer=array) for name, array in arrays.items()]
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver(made).save(session, str(prefix), write_meta_graph=False)


def test_real_files_are_read(tmp_path):
    tf = pytest.importorskip("tensorflow")
    arrays = values(CFG)
    write_checkpoint(tf, tmp_path / "m.ckpt", with_slots(arrays))
    found = open_checkpoint(tmp_path / "m.ckpt")
    _, params, _ = model_of(found, CFG)
    _, expected, _ = model_of(checkpoint(arrays), CFG)
    for name, leaf in named_leaves(params).items():
        np.testing.assert_array_equal(leaf, named_leaves(expected)[name], err_msg=name)
    data = next(tmp_path.glob("m.ckpt.data-*"))
    data.write_bytes(data.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"m.ckpt: .* cannot be read \("):
        model_of(open_checkpoint(tmp_path / "m.ckpt"), CFG)
    (tmp_path / "m.ckpt.index").write_bytes(b"not a table")
    with pytest.raises(UserError, match=r"m.ckpt: not a readable TensorFlow checkpoint"):
        open_checkpoint(tmp_path / "m.ckpt")


@pytest.mark.parametrize("variant", ["mobilebert", "tiny", "no_opt"])
def test_the_tensors_are_those_of_transformers_own_conversion(tmp_path, variant):
    """Every byte; its converter is there until version 4 (needs torch and tensorflow in one environment)."""
    tf, torch = pytest.importorskip("tensorflow"), pytest.importorskip("torch")
    theirs = pytest.importorskip("transformers.models.mobilebert.modeling_mobilebert")
    if not hasattr(theirs, "load_tf_weights_in_mobilebert"):
        pytest.skip("transformers 5 no longer converts")
    cfg = VARIANTS[variant]
    arrays = values(cfg)
    write_checkpoint(tf, tmp_path / "m.ckpt", with_slots(arrays))
    model, params, _ = model_of(open_checkpoint(tmp_path / "m.ckpt"), cfg)
    save_pretrained(tmp_path / "folder", model, params)
    config = theirs.MobileBertConfig(**folder_config(model))
    converted = theirs.MobileBertForPreTraining(config)
    theirs.load_tf_weights_in_mobilebert(converted, config, str(tmp_path / "m.ckpt"))
    stored = safetensors.numpy.load_file(tmp_path / "folder" / "model.safetensors")
    named = {name: parameter.detach().numpy() for name, parameter in converted.named_parameters()}
    assert isinstance(next(converted.parameters()), torch.nn.Parameter)
    assert named.keys() == stored.keys()
    for name, tensor in named.items():
        assert np.ascontiguousarray(tensor).tobytes() == stored[name].tobytes(), name
