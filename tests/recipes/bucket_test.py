"""A run in a bucket: machines come and go, each with nothing of the run, and it ends like one left alone."""

import re
import shutil
import signal

import fsspec
import pytest

from mobilebert_jax.recipes.place import folder_of, opened
from mobilebert_jax.training.metrics import read_metrics
from mobilebert_jax.training.stopping import Stopper
from mobilebert_jax.utils.errors import UserError
from tests.recipes.kill_run import differences
from tests.recipes.tiny_run import STEPS

KILLED, STOPPED = -signal.SIGKILL, 42


def logged(folder, phase, step):
    """Whether that step of a phase is logged."""
    return lambda: any(line["step"] >= step for line in read_metrics(folder / phase / "metrics.jsonl"))


def test_a_run_on_ever_new_machines_ends_with_the_same_bits(finished_run, tiny_run, bucket):
    workdir, here = f"{bucket}/run", folder_of(f"{bucket}/run")
    code, error = tiny_run.interrupt(logged(here, "transfer", 7), signal.SIGKILL, workdir)
    assert code == KILLED, error

    shutil.rmtree(here.parent)
    begun = logged(here, "distill", 2)

    def two_at_work():
        if begun():
            busy = rf"^--workdir={workdir}: another process \(pid \d+\) works there; "
            with pytest.raises(UserError, match=busy), opened(workdir, Stopper()):
                raise AssertionError("two at work")
        return begun()

    slow = "--config.distill.save_every=1"
    code, error = tiny_run.interrupt(two_at_work, signal.SIGTERM, workdir, slow)
    assert code == STOPPED and "stopped: received SIGTERM; distill is saved at step" in error, error
    assert "teacher step" not in error  # its model was there

    shutil.rmtree(here.parent)
    out, error = tiny_run.finish("distill", workdir)
    assert out == f"finished: {workdir}/distill/model\n"
    assert "transfer step" not in error
    found = differences(here, finished_run)
    assert [each for each in found if not re.search("finetune|report.html|checkpoints|: model/", each)] == []
    names = [path.partition("/run/")[2] for path in fsspec.filesystem("gs").find(workdir)]
    assert f"distill/checkpoints/{STEPS['distill']}/_CHECKPOINT_METADATA" in names
    assert not [name for name in names if name.startswith(".lease")]
    assert {str(path.relative_to(here)) for path in here.rglob("*") if path.is_file()} < set(names)
