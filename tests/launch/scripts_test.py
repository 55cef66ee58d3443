"""What the launch scripts would run, and how they refuse."""

import json
import re
import shlex
import shutil
import subprocess

import pytest

from mobilebert_jax.cli.main import parse
from tests.launch.scripts import COMMANDS, JOB, LAUNCH, WHERE, launch, on_the_host, printed, rehearsed

SCRIPTS = sorted(path.name for path in LAUNCH.glob("*.sh"))
STARTING = [name for name, words in COMMANDS.items() if "--" in words and not name.startswith("gke")]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_rehearsal_prints_commands_of_one_program_and_runs_none(name):
    programs = {words[0] for words in printed(rehearsed(name))}
    assert programs <= {"gcloud", "kubectl", "xpk", "env", "git", "mkdir"}
    assert programs & {"gcloud", "kubectl", "xpk", "env"}


@pytest.mark.parametrize("name", STARTING)
def test_the_job_reaches_every_host_word_by_word_and_is_one_of_ours(name):
    found = [on_the_host(words) for words in printed(rehearsed(name))]
    jobs = [
        words[words.index("run") :] for words in found if "run" in words and "--workdir=/mnt/mobilebert/run" in words
    ]
    assert jobs
    for words in jobs:
        job = [word for word in words if word not in ("2>&1", "</dev/null", "&") and not word.startswith(">>")]
        assert tuple(job) == JOB
        options = parse(job)
        assert options.command == "run" and options.overrides == ["data.corpus=a b/*.zst"]


@pytest.mark.parametrize("name", ["queued.sh run", "gke.sh start", "xpk.sh start"])
def test_a_workdir_in_a_bucket_needs_no_share(name):
    words = [word for word in COMMANDS[name] if not word.startswith(("--nfs=", "--storage=", "--workdir="))]
    text = rehearsed(name, *words, "--workdir=gs://bucket/run")
    assert "gs://bucket/run" in text
    assert not [word for word in ("nfs", "/mnt/mobilebert", "olume", "storage=") if word in text]


def test_both_slices_are_set_up_and_started():
    calls = [words[4:7] for words in printed(rehearsed("queued.sh run")) if "tpu-vm" in words]
    nodes = [words[2] if words[0] == "scp" else words[1] for words in calls]
    assert nodes == ["pod-0:", "pod-1:", *["pod-0", "pod-1"] * 3]  # the code, its installation, the share, the job


@pytest.mark.parametrize(
    ("topology", "sizing"),
    [
        ("v4:4x4x4", ["--type=v4", "--topology=4x4x4", "--version=tpu-ubuntu2204-base"]),
        ("v5e:16x16", ["--accelerator-type=v5litepod-256", "--version=v2-alpha-tpuv5-lite"]),
        ("v5p:4x4x4", ["--accelerator-type=v5p-128", "--version=v2-alpha-tpuv5"]),
        ("v6e:4x8", ["--accelerator-type=v6e-32", "--version=v2-alpha-tpuv6e"]),
    ],
)
def test_a_shape_becomes_what_gcloud_calls_it(topology, sizing):
    (words,) = printed(rehearsed("tpu_vm.sh create", *WHERE, f"--topology={topology}"))
    assert words == ["gcloud", "compute", "tpus", "tpu-vm", "create", "pod", *sizing, "--zone=us-west4-a"]


@pytest.mark.parametrize(
    ("script", "words", "message"),
    [
        ("tpu_vm.sh", [], "one of create, setup, start, watch"),
        ("tpu_vm.sh", ["make", *WHERE], "make: one of create, setup"),
        ("tpu_vm.sh", ["watch", "--zone=z"], "--name=VALUE is needed"),
        ("tpu_vm.sh", ["watch", *WHERE, "--spott"], "--spott: no such option; there are --name"),
        ("tpu_vm.sh", ["watch", *WHERE, "--dry_run=yes"], "--dry_run=yes: no such option"),
        ("tpu_vm.sh", ["create", *WHERE, "--topology=v9:2x2"], "--topology=v9:2x2: .*kinds are v4, v5e, v5p, v6e, 7x"),
        ("tpu_vm.sh", ["create", *WHERE, "--topology=v5e:2x2x2"], "v5e has two dimensions"),
        ("tpu_vm.sh", ["create", *WHERE, "--topology=v5p:4x4"], "v5p has three dimensions"),
        ("tpu_vm.sh", ["create", *WHERE, "--topology=v5e:3x5"], "15 chips are no whole number of hosts"),
        ("tpu_vm.sh", ["create", *WHERE, "--topology=7x:2x2x2"], "rented through GKE, see gke.sh"),
        ("tpu_vm.sh", ["start", *WHERE], "after -- comes what mobilebert shall do"),
        ("tpu_vm.sh", ["start", *WHERE, "--", "rm", "-r"], "rm: a job is one of run"),
        ("tpu_vm.sh", ["start", *WHERE, "--", "run"], "--workdir=DIR is needed"),
        ("tpu_vm.sh", ["start", *WHERE, "--", "run", "--workdir="], "one that every host can reach, or --workdir=gs:"),
        ("tpu_vm.sh", ["setup", *WHERE, "--nfs=10.0.0.2"], "--nfs=10.0.0.2: SERVER:/FOLDER"),
        ("queued.sh", ["run", *WHERE, "--topology=v5e:4x4", "--", *JOB], "--nfs=VALUE is needed"),
        ("queued.sh", ["run", *WHERE, "--topology=v5e:4x4", "--slices=0", "--", *JOB], "--slices=0: a whole number"),
        ("gke.sh", ["start", "--name=My_job", "--image=i", "--topology=v5e:4x4"], "--name=My_job: up to 40"),
        ("gke.sh", ["start", "--name=j", "--image=i", "--topology=v5e:4x4", "--", *JOB], "--nfs=VALUE is needed"),
        ("xpk.sh", ["start", *WHERE], "--cluster=VALUE is needed"),
        (
            "xpk.sh",
            ["start", *WHERE, "--cluster=c", "--image=i", "--topology=v5e:4x4", "--", *JOB],
            "--storage=VALUE is needed",
        ),
        ("slurm.sh", ["start"], "start: options begin with --"),
        ("slurm.sh", ["--nodes=x", "--gpus=8", "--time=1", "--", *JOB], "--nodes=x: a whole number"),
    ],
)
def test_bad_words_are_refused_in_one_line(script, words, message):
    process = launch(script, "--dry_run", *words)
    assert process.returncode == 2 and process.stdout == ""
    assert len(process.stderr.splitlines()) == 1
    assert re.search(message, process.stderr), process.stderr


@pytest.mark.parametrize(
    "script", [name for name in SCRIPTS if name not in ("common.sh", "hosts.sh", "keep_running.sh")]
)
def test_help_is_the_head_of_the_script(script):
    process = launch(script, "--help")
    assert process.returncode == 0 and script in process.stdout and "--dry_run" in process.stdout


@pytest.mark.parametrize(("script", "program"), [("tpu_vm.sh", "gcloud"), ("slurm.sh", "sbatch"), ("xpk.sh", "xpk")])
def test_a_missing_program_is_one_line(script, program, tmp_path):
    for name in ("bash", "sed", "dirname", "cat"):
        (tmp_path / name).symlink_to(shutil.which(name))
    words = ["status", *WHERE, "--cluster=c"][: 3 if script == "tpu_vm.sh" else 4] if script != "slurm.sh" else []
    command = [str(tmp_path / "bash"), str(LAUNCH / script), *words]
    process = subprocess.run(command, env={"PATH": str(tmp_path)}, capture_output=True, text=True, timeout=60)
    assert process.returncode == 2 and f"{program} is not installed" in process.stderr


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("script", SCRIPTS)
def test_shellcheck_has_nothing_to_say(script):
    process = subprocess.run(["shellcheck", "-x", script], cwd=LAUNCH, capture_output=True, text=True, timeout=60)
    assert process.returncode == 0, process.stdout


@pytest.mark.skipif(shutil.which("gcloud") is None, reason="gcloud is not installed")
@pytest.mark.parametrize("name", ["tpu_vm.sh create", "tpu_vm.sh start", "queued.sh run", "queued.sh delete"])
def test_gcloud_knows_the_words(name, tmp_path, monkeypatch):
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    for line in {line for line in rehearsed(name).splitlines() if line.startswith("gcloud") and "pod-1" not in line}:
        command = ["gcloud", "meta", "lint-gcloud-commands", f"--command-string={line}"]
        process = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert [(found["success"], found.get("error_message")) for found in json.loads(process.stdout)] == [
            (True, None)
        ]


def commands_of_readme(program):
    """The commands of launch/README.md that call this, each as its words."""
    text = (LAUNCH / "README.md").read_text().replace("\\\n", " ")
    lines = [line.strip().replace(" ...", "") for line in text.splitlines() if line.startswith(f"    {program}")]
    return [shlex.split(line, comments=True) for line in lines]


def test_the_readme_s_own_commands_are_ours():
    found = commands_of_readme("mobilebert ")
    assert len(found) > 2
    for words in found:
        parse(words[1:])


@pytest.mark.parametrize("script", ["queued.sh", "tpu_vm.sh", "gke.sh", "xpk.sh", "slurm.sh"])
def test_the_readme_s_scripts_accept_their_words(script):
    found = commands_of_readme(f"launch/{script}")
    assert found
    for words in found:
        job = words[words.index("--") + 1 :] if "--" in words else []
        if job and not any(word.startswith("--workdir=") for word in job):
            words = [*words, "--workdir=/mnt/mobilebert/run"]
        process = launch(script, "--dry_run", *words[1:])
        assert process.returncode == 0, process.stderr
        if job:
            parse(job)
