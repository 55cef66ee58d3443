import zipfile

import numpy as np

from mobilebert_jax.tasks.glue_submission import FILES, missing, write_submission
from mobilebert_jax.tasks.glue_tasks import TASKS

LEADERBOARD = {f"{name}.tsv" for name in "AX CoLA MNLI-m MNLI-mm MRPC QNLI QQP RTE SST-2 STS-B WNLI".split()}


def test_the_archive_grows_with_every_test_set(tmp_path):
    assert set(FILES) == LEADERBOARD and len(FILES) == 11
    path = write_submission(tmp_path, TASKS["rte"], "test", ["0", "1"], np.array([1, 0]))
    assert (tmp_path / "RTE.tsv").read_text() == "index\tprediction\n0\tnot_entailment\n1\tentailment\n"
    write_submission(tmp_path, TASKS["stsb"], "test", ["0", "1"], np.array([-0.2, 3.14159]))
    assert (tmp_path / "STS-B.tsv").read_text() == "index\tprediction\n0\t0.000\n1\t3.142\n"
    (tmp_path / "notes.txt").write_text("not theirs")
    write_submission(tmp_path, TASKS["mnli"], "test_mismatched", ["0"], np.array([2]))
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["STS-B.tsv", "MNLI-mm.tsv", "RTE.tsv"]
        assert archive.read("MNLI-mm.tsv") == b"index\tprediction\n0\tcontradiction\n"
    assert set(missing(tmp_path)) == LEADERBOARD - {"STS-B.tsv", "MNLI-mm.tsv", "RTE.tsv"}
    before = path.read_bytes()
    write_submission(tmp_path, TASKS["rte"], "test", ["0", "1"], np.array([1, 0]))
    assert path.read_bytes() == before
