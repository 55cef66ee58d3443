"""Starting again after 42 and after a preemption, with programs that stand for the job and for the cloud."""

import shlex
import signal
import subprocess
import time

import pytest

from tests.launch.scripts import JOB, LAUNCH, NFS, WHERE, launch, made_executable

ENDS = """#!/bin/bash
echo start >>{folder}/starts
codes=({codes})
exit ${{codes[$(wc -l <{folder}/starts) - 1]}}
"""
WAITS = """#!/bin/bash
trap 'sleep 0.3; echo saved >>{folder}/saved; exit 42' TERM
echo start >>{folder}/starts
while :; do sleep 0.05; done
"""


def starts(folder):
    path = folder / "starts"
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.mark.parametrize(("codes", "ran"), [("42 42 0", 3), ("2 0", 1), ("42 1 0", 2), ("0", 1), ("42 137 0", 2)])
def test_a_job_runs_again_after_42_only(tmp_path, codes, ran):
    job = made_executable(tmp_path, "job", ENDS.format(folder=tmp_path, codes=codes))
    process = launch("keep_running.sh", str(tmp_path / "state"), str(job), RESTART_SECONDS="0")
    assert starts(tmp_path) == ran
    assert process.returncode == int(codes.split()[ran - 1])
    assert (tmp_path / "state").read_text() == f"ended {process.returncode}\n"


def test_a_stop_lets_the_job_save_and_is_the_end(tmp_path):
    job = made_executable(tmp_path, "job", WAITS.format(folder=tmp_path))
    command = ["bash", str(LAUNCH / "keep_running.sh"), str(tmp_path / "state"), str(job)]
    with subprocess.Popen(command, env={"PATH": "/usr/bin:/bin", "RESTART_SECONDS": "0"}) as process:
        deadline = time.monotonic() + 20
        while not starts(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert (tmp_path / "state").read_text() == f"running {process.pid}\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 42
    assert (tmp_path / "saved").read_text() == "saved\n" and starts(tmp_path) == 1
    assert (tmp_path / "state").read_text() == "ended 42\n"


def test_too_few_words_are_refused():
    assert launch("keep_running.sh", "state").returncode == 2


CLOUD = """#!/bin/bash
# A cloud whose request goes through the states in {folder}/states, and whose first host's job through those in jobs.
echo "$*" >>{folder}/calls
next() {{ head -n 1 "$1"; sed -i '1{{$!d}}' "$1"; }}
case "$*" in
  *"queued-resources describe"*) state=$(next {folder}/states); [[ $state == NONE ]] && exit 1; echo "$state" ;;
  *"cat mobilebert.state"*) next {folder}/jobs ;;
esac
"""


def followed(folder, states, jobs):
    """What `queued.sh run` asks of such a cloud, one word a call, and how it ends."""
    (folder / "states").write_text("\n".join(states) + "\n")
    (folder / "jobs").write_text("\n".join(jobs) + "\n")
    made_executable(folder, "gcloud", CLOUD.format(folder=folder))
    made_executable(folder, "sleep", "#!/bin/bash\n")
    # The clock and the archive of the checkout are real; so is everything the script decides.
    words = ["run", *WHERE, "--topology=v5e:4x4", NFS, "--", *JOB]
    process = launch("queued.sh", *words, path=str(folder))
    kinds = {
        "resources create": "create",
        "resources delete": "delete",
        "keep_running.sh": "start",
        "uv venv": "install",
    }
    calls = (folder / "calls").read_text().splitlines()
    return [name for call in calls for text, name in kinds.items() if text in call], process


def test_a_preempted_slice_is_given_back_rented_again_and_the_job_started_there(tmp_path):
    states = ["NONE", "WAITING_FOR_RESOURCES", "ACTIVE", "ACTIVE", "SUSPENDED", "NONE", "ACTIVE", "ACTIVE"]
    asked, process = followed(tmp_path, states, ["", "running 7", "", "ended 0"])
    assert asked == ["create", "install", "start", "delete", "create", "install", "start"]
    assert process.returncode == 0 and "the job ended with 0" in process.stderr


def test_bad_input_ends_the_loop_with_its_code(tmp_path):
    asked, process = followed(tmp_path, ["ACTIVE"], ["ended 2"])
    assert asked == [] and process.returncode == 2


def test_a_job_that_was_stopped_goes_on(tmp_path):
    asked, process = followed(tmp_path, ["ACTIVE"], ["ended 42", "ended 0"])
    assert asked == ["start"] and process.returncode == 0


@pytest.mark.parametrize(("code", "asked"), [(42, ["requeue 17"]), (0, []), (2, [])])
def test_a_slurm_job_asks_to_be_queued_again_after_42_only(tmp_path, code, asked):
    made_executable(tmp_path, "srun", f"#!/bin/bash\nprintf '%s\\n' \"$@\" >{tmp_path}/words\nexit {code}\n")
    made_executable(tmp_path, "scontrol", f'#!/bin/bash\necho "$*" >>{tmp_path}/asked\n')
    job = shlex.join(JOB)
    process = launch("slurm.sh", path=str(tmp_path), SLURM_JOB_ID="17", MOBILEBERT_JOB=job)
    assert process.returncode == code
    assert (tmp_path / "words").read_text().splitlines() == ["--kill-on-bad-exit=0", ".venv/bin/mobilebert", *JOB]
    found = (tmp_path / "asked").read_text().splitlines() if (tmp_path / "asked").exists() else []
    assert found == asked
