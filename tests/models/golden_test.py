"""transformers' own outputs, stored: the folder that it would write gives the same numbers here, without torch.

`tests/parity/make_golden.py` made the files.
"""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
import safetensors.numpy

from mobilebert_jax.models.folder_config import config_of, read_folder_config
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.pretrained import from_pretrained, save_pretrained
from mobilebert_jax.models.state_dict import StateDict, from_state_dict
from mobilebert_jax.models.tensor_files import TensorHeader
from tests.models.tame_weights import batch, tame_state_dict

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.npz"))
TOLERANCE = 1e-5
LENGTH = 7


@pytest.fixture(params=GOLDEN, ids=lambda path: path.stem)
def case(request, tmp_path):
    """What transformers gave, and the folder that it had saved."""
    stored = dict(np.load(request.param))
    (tmp_path / "config.json").write_text(str(stored.pop("config")))
    tensors = tame_state_dict(json.loads(str(stored.pop("shapes"))))
    safetensors.numpy.save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    return stored, tmp_path, request.param.stem.split("-")[1]


def test_transformers_numbers_come_out(case):
    stored, folder, head = case
    assert read_folder_config(folder / "config.json").head == (None if head == "none" else head)
    model, params = from_pretrained(folder, None if head == "none" else head)
    flags = {"output_hidden_states": True, "output_attention_probs": True}
    forward = jax.jit(lambda params, inputs: model.apply({"params": params}, *inputs, **flags))
    for kind in ("whole", "padded"):
        out = forward(params, batch(model.cfg.vocab_size, LENGTH, kind == "padded"))
        found = {**vars(getattr(out, "encoder", out)), **vars(out)}
        expected = {name.split("/")[1]: value for name, value in stored.items() if name.startswith(kind)}
        assert {"hidden_states", "attention_probs"} < expected.keys()
        for name, value in expected.items():
            assert found[name].shape == value.shape
            scale = np.abs(value).max()
            assert np.abs(found[name] - value).max() < TOLERANCE * scale, (kind, name)


def test_the_round_trip_keeps_every_byte(case):
    _, folder, head = case
    model, params = from_pretrained(folder, None if head == "none" else head)
    save_pretrained(folder / "back", model, params)
    given, back = (safetensors.numpy.load_file(path / "model.safetensors") for path in (folder, folder / "back"))
    assert given.keys() == back.keys()
    assert all(given[name].tobytes() == back[name].tobytes() for name in given)
    before, after = (json.loads((path / "config.json").read_text()) for path in (folder, folder / "back"))
    assert (before["model_type"], before["architectures"]) == (after["model_type"], after["architectures"])
    assert before["hidden_act"] == after["hidden_act"] and after["transformers_differs"] == []


def test_the_files_are_small():
    assert len(GOLDEN) > 8 and sum(path.stat().st_size for path in GOLDEN) < 300_000


def test_the_stored_numbers_tell_the_epsilons_and_the_activations_apart():
    """What the config says by name matters: each of these small differences is far above the tolerance."""
    stored = dict(np.load(next(path for path in GOLDEN if path.stem == "mobilebert_no_opt-pretraining")))
    cfg = config_of(json.loads(str(stored["config"])), "golden")
    assert (cfg.torch_norm_eps, cfg.hidden_act) == (True, "gelu")
    state = tame_state_dict(json.loads(str(stored["shapes"])))
    headers = {name: TensorHeader(tensor.shape, "float32") for name, tensor in state.items()}

    def error(**changes):
        model = build_model(cfg.replace(**changes), "pretraining")
        params, _ = from_state_dict(model, StateDict("mobilebert", headers, state.__getitem__, "golden"))
        out = model.apply({"params": params}, *batch(cfg.vocab_size, LENGTH, False))
        return np.abs(out.prediction_logits - stored["whole/prediction_logits"]).max()

    right = error()
    assert error(torch_norm_eps=False) > 20 * right and error(hidden_act="gelu_erf") > 20 * right
