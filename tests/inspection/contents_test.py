"""What `inspect` says of each kind, from files that the project itself writes."""

import hashlib
import json
import shutil

import jax.numpy as jnp
import numpy as np
import pytest

from mobilebert_jax.cli.flags import load_config
from mobilebert_jax.inspection.compare import array_difference, compare
from mobilebert_jax.inspection.contents import read_contents
from mobilebert_jax.recipes.workdir import claim
from mobilebert_jax.text.tokenizer import train_tokenizer
from mobilebert_jax.training.checkpoints import Checkpoints
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.trees import count_parameters
from tests.models.model_folders import CFG, edit_tensors, saved
from tests.text.stores import make_stores

PARAMS = {"encoder": {"layers": {"kernel": jnp.arange(24.0).reshape(2, 3, 4)}}, "bias": jnp.ones(5)}
META = {"phase": "transfer", "stage": 1, "teacher": {"path": "t"}}


def save_checkpoints(folder, changed=0.0):
    """Steps 3 and 6; `changed` is added to one entry of the newest."""
    checkpoints = Checkpoints(folder, keep=2)
    for step in (3, 6):
        params = {**PARAMS, "bias": PARAMS["bias"].at[2].add(changed if step == 6 else 0.0)}
        slots = {"mu": jnp.full(3, float(step)), "count": jnp.zeros((), jnp.int32)}
        checkpoints.save(step, params, slots, {**META, "step": step})
    checkpoints.wait()
    checkpoints.close()


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "transfer" / "checkpoints"
    save_checkpoints(folder)
    return folder


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    documents = [f"Document {number} is here. It has two sentences." for number in range(20)]
    tokenizer = train_tokenizer(documents, 200)
    tokenizer.save(folder / "tokenizer")
    return folder, make_stores(folder, documents, tokenizer, shard_bytes=300)


def files_of(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_checkpoints_folder_is_its_newest_step(checkpoints):
    before = files_of(checkpoints)
    found = read_contents(checkpoints)
    assert (found.kind, found.facts["step"], found.facts["steps"]) == ("checkpoint", 6, [3, 6])
    assert {name: found.facts[name] for name in META} == META
    assert (found.facts["parameters"], found.facts["optimizer_slots"]) == (29, 4)
    kernel = found.leaves["params/encoder/layers/kernel"]
    assert (kernel.shape, kernel.dtype, kernel.count) == ((2, 3, 4), "float32", 24)
    assert next(iter(found.leaves)).startswith("params/")
    np.testing.assert_array_equal(found.load()["params/encoder/layers/kernel"], PARAMS["encoder"]["layers"]["kernel"])
    assert read_contents(checkpoints / "3").facts["step"] == 3
    assert files_of(checkpoints) == before


def test_a_fingerprint_is_that_of_the_parameters(checkpoints, tmp_path):
    save_checkpoints(tmp_path / "same")
    save_checkpoints(tmp_path / "other", changed=1e-3)
    prints = [read_contents(path).facts["sha256"] for path in (checkpoints, tmp_path / "same", tmp_path / "other")]
    assert prints[0] == prints[1] != prints[2]


def test_two_checkpoints(checkpoints, tmp_path):
    save_checkpoints(tmp_path / "other", changed=0.5)
    same = compare(read_contents(checkpoints), read_contents(checkpoints))
    assert not any(same[part] for part in ("only_in_first", "only_in_second", "shapes", "dtypes", "values", "facts"))
    report = compare(read_contents(checkpoints), read_contents(tmp_path / "other"))
    assert report["values"] == {"params/bias": {"differing": 1, "absolute": 0.5, "relative": pytest.approx(1 / 3)}}
    assert report["largest"] == {"absolute": "params/bias", "relative": "params/bias"}
    assert list(report["facts"]) == ["sha256.params"]
    steps = compare(read_contents(checkpoints / "3"), read_contents(checkpoints / "6"))
    assert steps["facts"] == {"step": [3, 6]}
    assert steps["values"]["opt_state/mu"] == {"differing": 3, "absolute": 3.0, "relative": 0.5}


def test_a_damaged_checkpoint_is_refused(checkpoints, tmp_path):
    shutil.copytree(checkpoints / "6", tmp_path / "6")
    (tmp_path / "6" / "state" / "manifest.ocdbt").write_bytes(b"")
    with pytest.raises(UserError, match="6: the checkpoint cannot be read"):
        read_contents(tmp_path / "6")


def test_a_store(stores):
    folder, opened = stores
    found = read_contents(folder)
    assert found.kind == "store" and found.facts["intact"] is True and found.facts["shards"] > 2
    for split, store in opened.items():
        assert found.facts[split] == {
            name: getattr(store, f"num_{name}") for name in ("documents", "sentences", "tokens")
        }
        assert found.facts["sha256"][split] == store.manifest["sha256"]
        assert found.leaves[f"{split}/tokens"].shape == (store.num_tokens,)
        assert found.leaves[f"{split}/tokens"].dtype == "uint16"
    stored = sum(path.stat().st_size for path in folder.rglob("*.npy"))
    assert found.facts["bytes_per_token"] == stored / sum(store.num_tokens for store in opened.values())


def test_a_store_whose_tokens_were_changed_is_not_intact(stores, tmp_path):
    shutil.copytree(stores[0], tmp_path / "data")
    path = tmp_path / "data" / "shards" / "00001" / "train" / "tokens.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    found = read_contents(tmp_path / "data").facts
    assert found["intact"] is False and found["damaged"] == ["00001"]
    report = compare(read_contents(stores[0]), read_contents(tmp_path / "data"))
    assert report["values"]["train/tokens"]["differing"] == 1
    assert list(report["facts"]) == ["intact", "damaged"]


def test_a_model_folder(tmp_path):
    _, params = saved(tmp_path / "model")
    found = read_contents(tmp_path / "model")
    assert (found.kind, found.facts["architectures"]) == ("model", ["MobileBertForPreTraining"])
    assert found.facts["config"]["hidden_size"] == CFG.hidden_size
    # The output table is stored whole, the embeddings' share of it included.
    assert found.facts["parameters"] == sum(leaf.count for leaf in found.leaves.values()) >= count_parameters(params)
    table = found.leaves["mobilebert.embeddings.word_embeddings.weight"]
    assert (table.shape, table.dtype) == ((CFG.vocab_size, CFG.embedding_size), "float32")
    weights = (tmp_path / "model" / "model.safetensors").read_bytes()
    assert found.facts["sha256"]["model.safetensors"] == hashlib.sha256(weights).hexdigest()


def test_two_model_folders(tmp_path):
    saved(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    first, second, third, fourth = sorted(read_contents(tmp_path / "one").leaves)[:4]

    def change(tensors):
        del tensors[first]
        tensors[second] = tensors[second].astype(jnp.bfloat16)
        tensors[third] = np.zeros((1, 2), np.float32)
        tensors[fourth] = np.full_like(tensors[fourth], np.nan)
        tensors["new"] = np.zeros(1, np.float32)

    edit_tensors(tmp_path / "two", change)
    report = compare(read_contents(tmp_path / "one"), read_contents(tmp_path / "two"))
    assert (report["only_in_first"], report["only_in_second"]) == ([first], ["new"])
    assert report["dtypes"] == {second: ["float32", "bfloat16"]}
    assert list(report["shapes"]) == [third] and report["shapes"][third][1] == [1, 2]
    assert report["values"][fourth]["absolute"] is None
    assert report["largest"]["absolute"] == fourth
    assert set(report["values"]) <= {second, fourth}
    assert set(report["facts"]) == {"sha256.model.safetensors", "parameters"}


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory, stores):
    """As a run leaves it after its transfer phase."""
    folder = tmp_path_factory.mktemp("whole")
    claim(folder, load_config("demo", []))
    shutil.copytree(stores[0], folder / "data")
    save_checkpoints(folder / "transfer" / "checkpoints")
    saved(folder / "transfer" / "model")
    saved(folder / "model")
    return folder


def test_a_run(run_folder, stores):
    found = read_contents(run_folder)
    run = json.loads((run_folder / "config.json").read_text())
    assert (found.kind, found.facts["identity"]) == ("run", run["identity"])
    phase = found.facts["phases"]["transfer"]
    assert (phase["step"], phase["of"], phase["stage"], phase["finished"]) == (6, 400, 1, True)
    assert phase["sha256"] == found.facts["sha256"]["model/model.safetensors"]
    assert found.facts["data"]["train"]["documents"] == stores[1]["train"].num_documents
    assert found.leaves == read_contents(run_folder / "model").leaves


def test_two_runs(run_folder, tmp_path):
    claim(tmp_path, load_config("demo", ["seed=3"]))
    report = compare(read_contents(run_folder), read_contents(tmp_path))
    assert report["facts"]["config.seed"] == [0, 3]
    assert {"identity", "phases.transfer.step", "data.train.tokens"} <= set(report["facts"])
    assert len(report["only_in_first"]) == len(read_contents(run_folder).leaves)


def test_two_kinds_are_not_compared(stores, checkpoints):
    with pytest.raises(UserError, match=r"is a store, .* a checkpoint: two of one kind can be compared"):
        compare(read_contents(stores[0]), read_contents(checkpoints))


@pytest.mark.parametrize(
    ("one", "two", "differing", "absolute", "relative"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0, 0.0, 0.0),
        ([1.0, np.nan], [1.0, np.nan], 0, 0.0, 0.0),
        ([0.0, 2.0], [1e-3, 2.0], 1, 1e-3, 1.0),
        ([4.0, -1.0], [3.0, 1.0], 2, 2.0, 2.0),
        ([1.0], [np.nan], 1, None, None),
        ([1.0], [np.inf], 1, None, None),
        ([65535], [0], 1, 65535.0, 1.0),
    ],
)
def test_array_difference(one, two, differing, absolute, relative):
    kind = np.uint16 if isinstance(one[0], int) else np.float32
    found = array_difference(np.array(one, kind), np.array(two, kind))
    expected = {"differing": differing, "absolute": absolute, "relative": relative}
    assert found == {n: v if v is None else pytest.approx(v, rel=1e-6) for n, v in expected.items()}
