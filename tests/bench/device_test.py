"""Exported files of small networks are timed in their runtimes; ALBERT's one block is stored once."""

import json

import jax
import pytest

from mobilebert_jax.bench import device, device_networks
from mobilebert_jax.bench.device import bench_device, print_networks, print_rows, write_report
from mobilebert_jax.bench.device_networks import NETWORKS, Network, flops, random_form
from mobilebert_jax.bench.device_parts import dense_layers
from mobilebert_jax.cli.main import main
from mobilebert_jax.models.config import ModelConfig

SMALL = {"vocab_size": 30_000, "max_position_embeddings": 16, "num_hidden_layers": 2}
SMALL_BERT = SMALL | {"hidden_size": 64, "intra_bottleneck_size": 64, "num_attention_heads": 4, "embedding_size": 64}


@pytest.fixture
def small(monkeypatch):
    bert = ModelConfig.bert_base(**SMALL_BERT, intermediate_size=128)
    networks = {
        "mobilebert": Network(
            ModelConfig.mobilebert(**SMALL, hidden_size=64, embedding_size=32, intra_bottleneck_size=32)
        ),
        "bert_base": Network(bert),
        "albert_base": Network(bert.replace(embedding_size=32), shared=True),
    }
    for module in (device, device_networks):
        monkeypatch.setattr(module, "NETWORKS", networks)
    return networks


@pytest.mark.parametrize(("runtime", "library"), [("litert", "litert_converter"), ("onnx", "jax2onnx")])
def test_every_network_is_timed_in_every_setting(runtime, library, small, capsys, tmp_path):
    pytest.importorskip(library)
    report = bench_device((), (runtime,), ("float32", "int8"), (8,), (1, 2), repeats=1, show=print_rows)
    assert len(report["rows"]) == 2 * 2 * 3
    rows = {(row["network"], row["precision"]): row for row in report["rows"]}
    for network in small:
        whole, small_file = rows[network, "float32"], rows[network, "int8"]
        assert 0.2 < small_file["bytes"] / whole["bytes"] < 0.45
        assert whole["ms"] > 0 and whole["memory"] > 0
    assert rows["bert_base", "int8"]["faster"] == 1.0
    assert len(report["parts"]) == 2 * 3 and {row["threads"] for row in report["parts"]} == {1}
    for row in report["parts"]:
        assert row["ms"] == next(each["ms"] for each in report["rows"] if each.items() >= row_of(row).items())
        assert row["dense_ms"] > 0 and 0 < row["dense_flops"] < report["networks"][row["network"]]["flops"][8]
    write_report(report, tmp_path / "new")
    assert f"**{runtime}, where the time goes: 8 tokens, 1 thread**" in (tmp_path / "new" / "device.md").read_text()
    assert json.loads((tmp_path / "new" / "device.json").read_text())["rows"] == report["rows"]
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"device.json", "device.md", "device.svg"}
    print_networks(report)
    assert "4.3 times smaller, 5.5 times faster" in capsys.readouterr().out


def row_of(part):
    return {name: part[name] for name in ("network", "runtime", "precision", "length", "threads")}


def test_dense_layers_are_the_forms_kernels_and_nothing_else(small):
    form, _ = random_form(small["mobilebert"])
    kernels = [leaf for leaf in jax.tree.leaves((form.blocks, form.embeddings.transformation)) if leaf.ndim == 2]
    work = 2 * 8 * (sum(kernel.size for kernel in kernels) + form.outputs["span"].kernel.size)
    assert work <= flops(form, 8, dense_layers) < 1.05 * work


def test_one_block_for_all_layers_has_the_work_of_all_and_the_size_of_one(small):
    (albert, count), (bert, more) = random_form(small["albert_base"]), random_form(small["bert_base"])
    assert count < more and len(albert.blocks) == len(bert.blocks) == 2
    assert albert.blocks[0] is albert.blocks[1]
    assert flops(albert, 8) == pytest.approx(flops(bert, 8), rel=0.1)


def test_the_networks_have_the_sizes_that_are_known():
    assert set(NETWORKS) == set("mobilebert mobilebert_tiny mobilebert_no_opt bert_base distilbert albert_base".split())
    assert NETWORKS["distilbert"].cfg.num_hidden_layers == 6
    assert [name for name, network in NETWORKS.items() if network.shared] == ["albert_base"]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--models=gpt", "--models=gpt: there is no such one, only mobilebert"),
        ("--runtimes=tvm", "--runtimes=tvm: there is no such one, only litert, onnx"),
        ("--lengths=128,x", "--lengths=x: whole numbers are needed"),
        ("--threads=0", "--threads=0: whole numbers are needed"),
        ("--output=gs://bucket/x", "--output=gs://bucket/x: bench device writes into a folder of this machine"),
    ],
)
def test_bad_words_are_one_line_and_exit_code_2(word, message, capsys):
    assert main(["bench", "device", word]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
