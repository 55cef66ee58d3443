"""`bench load` measures a folder in processes of their own."""

import jax
import pytest

from mobilebert_jax.bench.load import bench_load, print_load
from mobilebert_jax.utils.errors import UserError
from tests.models.model_folders import saved


def test_a_folder_is_measured(tmp_path, capsys):
    _, params = saved(tmp_path / "m", head="qa")
    report = bench_load(str(tmp_path / "m"), repeats=1)
    assert report["parameters"] * 4 == report["size"] == sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    assert 0 < report["seconds"] == report["slowest"] and report["files"] == ["model.safetensors"]
    print_load(report)
    assert "times the parameters" in capsys.readouterr().out


def test_what_is_no_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="not a model folder"):
        bench_load(str(tmp_path), repeats=1)
    with pytest.raises(UserError, match="--repeats=0: must be at least 1"):
        bench_load(str(tmp_path), repeats=0)
