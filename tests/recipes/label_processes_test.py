"""Fine-tuning on labels in two processes of four devices, and in a bucket, beside one device and a folder."""

import dataclasses
import shutil
import signal
import time

import fsspec
import numpy as np
import pytest

from mobilebert_jax.recipes.place import folder_of
from mobilebert_jax.training.metrics import read_metrics
from mobilebert_jax.utils.files import read_json
from tests.recipes.labels_model import TINY, save_encoder, write_rte
from tests.recipes.processes_test import devices, ends, free_port
from tests.recipes.tiny_run import TinyRun

SHORT = ("finetune.epochs=1", "finetune.evaluate_every=2", "finetune.save_every=2")
"""Five steps."""


@dataclasses.dataclass(frozen=True)
class Tuning(TinyRun):
    """`finetune --task=rte` in processes of their own."""

    @property
    def words(self):
        """The overrides of labels, and what is tuned on what."""
        given = [f"--model={self.folder / 'encoder'}", "--task=rte", f"--dataset={self.folder / 'glue'}"]
        return [*given, *(f"--config.{override}" for override in (*TINY, *SHORT))]


@pytest.fixture(scope="module")
def tuning(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuning")
    save_encoder(folder / "encoder")
    write_rte(folder / "glue")
    return Tuning(folder)


@pytest.fixture(scope="module")
def alone(tuning):
    """The folder of a run on one device."""
    tuning.finish("finetune", tuning.folder / "alone")
    return tuning.folder / "alone"


def figures(workdir):
    """step -> every figure of the line."""
    lines = read_metrics(workdir / "finetune/metrics.jsonl")
    return {(line["step"], "heldout" in line): line.get("heldout") or line["classification"] for line in lines}


def shares(workdir):
    """Probabilities of the dev set, as they were written."""
    rows = [line.split("\t") for line in (workdir / "finetune/dev.tsv").read_text().splitlines()[1:]]
    return np.array([[float(value) for value in row[3:]] for row in rows])


def test_two_processes_of_four_devices_score_as_one_device(tuning, alone, tmp_path):
    place = [f"--coordinator=localhost:{free_port()}", "--num_processes=2"]
    both = [
        tuning.start("finetune", tmp_path / "both", *place, f"--process_id={number}", xla=devices(4))
        for number in range(2)
    ]
    try:
        (first, said), (second, whispered) = ends(both)
    finally:
        for process in both:
            process.kill()
    assert (first, second) == (0, 0), said + whispered
    found, expected = figures(tmp_path / "both"), figures(alone)
    assert found.keys() == expected.keys()
    for step, value in expected.items():
        assert found[step] == pytest.approx(value, rel=1e-4), step
    np.testing.assert_allclose(shares(tmp_path / "both"), shares(alone), atol=1e-4)
    results = [read_json(folder / "finetune/results.json") for folder in (tmp_path / "both", alone)]
    assert results[0] == results[1]
    assert not (tmp_path / "both/finetune/candidates").exists()


def test_killed_on_one_machine_and_continued_on_another_a_bucket_holds_what_a_folder_does(tuning, alone, bucket):
    workdir, here = f"{bucket}/tuned", folder_of(f"{bucket}/tuned")
    process = tuning.start("finetune", workdir)
    while process.poll() is None and max(figures(here), default=(0, False)) < (4, False):
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL, process.stderr.read()
    shutil.rmtree(here.parent)

    out, _ = tuning.finish("finetune", workdir)
    assert out.endswith(f"finished: {workdir}/model\n")
    store = fsspec.filesystem("gs")
    for name in ("finetune/results.json", "finetune/dev.tsv", "model/config.json", "model/model.safetensors"):
        assert store.cat(f"{workdir}/{name}") == (alone / name).read_bytes(), name
    assert not [path for path in store.find(workdir) if "/candidates/" in path or "/.lease" in path]
