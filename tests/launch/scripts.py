"""Running the launch scripts with nothing on the PATH that could reach a cloud."""

import os
import shlex
import subprocess
from pathlib import Path

LAUNCH = Path(__file__).parents[2] / "launch"
JOB = ("run", "--config=configs/mobilebert.py:tiny", "--config.data.corpus=a b/*.zst", "--workdir=/mnt/mobilebert/run")
WHERE = ("--name=pod", "--zone=us-west4-a")
NFS = "--nfs=10.0.0.2:/share"
COMMANDS = {
    "tpu_vm.sh create": (*WHERE, "--topology=v5e:4x4", "--spot"),
    "tpu_vm.sh setup": (*WHERE, NFS),
    "tpu_vm.sh start": (*WHERE, "--", *JOB),
    "tpu_vm.sh watch": WHERE,
    "tpu_vm.sh status": (*WHERE, "--project=mine"),
    "tpu_vm.sh stop": WHERE,
    "tpu_vm.sh delete": WHERE,
    "queued.sh run": (*WHERE, "--topology=v5p:4x4x4", "--slices=2", NFS, "--", *JOB),
    "queued.sh status": WHERE,
    "queued.sh delete": WHERE,
    "gke.sh start": ("--name=job", "--image=registry/image:1", NFS, "--topology=v6e:16x16", "--slices=2", "--", *JOB),
    "gke.sh watch": ("--name=job",),
    "gke.sh status": ("--name=job",),
    "gke.sh stop": ("--name=job",),
    "xpk.sh start": (
        *WHERE,
        "--cluster=c",
        "--image=registry/image:1",
        "--topology=7x:4x4x4",
        "--storage=s",
        "--",
        *JOB,
    ),
    "xpk.sh status": (*WHERE, "--cluster=c"),
    "xpk.sh stop": (*WHERE, "--cluster=c"),
    "slurm.sh": ("--nodes=4", "--gpus=8", "--time=1-00:00:00", "--partition=h200", "--", *JOB),
}
"""Every command of every script, with words that are right."""


def launch(script, *words, path="", **environment):
    """The finished process of `script word word ...`; only the usual programs and those in `path` are found."""
    environment = {"PATH": f"{path}:/usr/bin:/bin", "HOME": "/nonexistent", "LC_ALL": "C", **environment}
    command = ["bash", str(LAUNCH / script), *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, cwd=LAUNCH)


def rehearsed(name, *words):
    """What `--dry_run` of one of COMMANDS prints."""
    script, *verb = name.split()
    process = launch(script, *verb, "--dry_run", *(words or COMMANDS[name]))
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    return process.stdout


def printed(text):
    """The commands of such a text, each as its words; a here-document is left out."""
    lines = text.split("<<'END'\n")[0].splitlines()
    return [shlex.split(line) for line in lines if not line.startswith("#")]


def on_the_host(words):
    """The shell words that a command of gcloud, SLURM or XPK has for the hosts; [] where it has none."""
    for word in words:
        for prefix in ("--command=", "MOBILEBERT_JOB="):
            if word.startswith(prefix):
                return shlex.split(word.removeprefix(prefix))
    return []


def made_executable(folder: Path, name: str, text: str) -> Path:
    """A program on a PATH of its own."""
    program = folder / name
    program.write_text(text)
    os.chmod(program, 0o755)
    return program
