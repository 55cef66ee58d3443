"""The JobSet of gke.sh against the resource's schema, and the image it runs."""

import copy
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from mobilebert_jax.cli.main import parse
from tests.launch.scripts import COMMANDS, JOB, LAUNCH, NFS, rehearsed

SCHEMA = yaml.safe_load((Path(__file__).parent / "jobset_schema.yaml").read_text())
ROOT = LAUNCH.parent


def rendered(*words):
    text = rehearsed("gke.sh start", *words)
    return yaml.safe_load(text.split("<<'END'\n")[1].rsplit("END", 1)[0])


@pytest.fixture(scope="module")
def jobset():
    return rendered(*COMMANDS["gke.sh start"])


@pytest.mark.parametrize("spot", [[], ["--spot"]])
@pytest.mark.parametrize("topology", ["v4:2x2x2", "v5e:16x16", "v5e:1x1", "v5p:4x4x4", "v6e:4x8", "7x:2x2x2"])
def test_every_kind_of_slice_is_a_jobset(topology, spot):
    made = rendered("--name=job", "--image=i", NFS, f"--topology={topology}", *spot, "--", *JOB)
    jsonschema.validate(made, SCHEMA)
    pod = made["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
    assert ("cloud.google.com/gke-spot" in pod["nodeSelector"]) == bool(spot)
    assert pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"] == topology.split(":")[1]
    assert "@" not in str(made)


def test_hosts_and_slices_are_counted(jobset):
    (job,) = jobset["spec"]["replicatedJobs"]
    assert job["replicas"] == 2
    assert job["template"]["spec"]["parallelism"] == job["template"]["spec"]["completions"] == 64


def test_the_pods_run_our_command_with_its_words_as_they_were(jobset):
    (container,) = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]["containers"]
    assert tuple(container["args"]) == JOB
    assert parse(container["args"]).workdir == "/mnt/mobilebert/run"
    words = ["run", "--workdir=/x", '--config.data.corpus=a "b" & \\c *@name@']
    made = rendered("--name=job", "--image=i", NFS, "--topology=v5e:2x2", "--", *words)
    (container,) = made["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]["containers"]
    assert container["args"] == words


def test_every_pod_has_the_share_where_the_workdir_lies(jobset):
    pod = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
    (volume,), (mount,) = pod["volumes"], pod["containers"][0]["volumeMounts"]
    assert volume == {"name": mount["name"], "nfs": {"server": "10.0.0.2", "path": "/share"}}
    assert parse(pod["containers"][0]["args"]).workdir.startswith(f"{mount['mountPath']}/")


def test_exit_42_starts_the_pods_again_and_bad_input_does_not(jobset):
    job = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]
    (rule,) = job["podFailurePolicy"]["rules"]
    assert rule["onExitCodes"]["operator"] == "In" and rule["action"] == "FailJob"
    assert 2 in rule["onExitCodes"]["values"] and 42 not in rule["onExitCodes"]["values"]
    assert rule["onExitCodes"]["values"] == sorted(rule["onExitCodes"]["values"])
    assert rule["onExitCodes"]["containerName"] == job["template"]["spec"]["containers"][0]["name"]
    policy = jobset["spec"]["failurePolicy"]
    assert policy["rules"][0]["onJobFailureReasons"] == ["PodFailurePolicy"] and policy["maxRestarts"] > 0


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec/replicatedJobs/0/template/spec/parallelism", "64"),
        ("spec/replicatedJobs/0/template/spec/template/spec/restartPolicy", "OnFailure"),
        ("spec/replicatedJobs/0/template/spec/podFailurePolicy/rules/0/onExitCodes/operator", "Not"),
        ("spec/replicatedJobs/0/template/spec/template/spec/nodeSelector/cloud.google.com~gke-spot", True),
        ("spec/failurePolicy/maxRestart", 3),
        ("metadata/name", "My_job"),
    ],
)
def test_the_schema_refuses_what_the_cluster_would(jobset, path, value):
    broken = copy.deepcopy(jobset)
    *parents, last = [part.replace("~", "/") for part in path.split("/")]
    node = broken
    for part in parents:
        node = node[int(part) if part.isdigit() else part]
    node[last] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, SCHEMA)


def test_the_image_copies_what_an_installation_needs():
    text = (LAUNCH / "Dockerfile").read_text()
    copied = [word for line in re.findall(r"^COPY (.*) \S+$", text, re.MULTILINE) for word in line.split()]
    assert all((ROOT / name).exists() for name in copied)
    allowed = re.findall(r"^!(\S+)$", (LAUNCH / "Dockerfile.dockerignore").read_text(), re.MULTILINE)
    assert sorted(allowed) == sorted(copied)
    for needed in ("pyproject.toml", "README.md", "LICENSE", "configs", "mobilebert_jax"):
        assert needed in copied
    assert 'ENTRYPOINT ["mobilebert"]' in text
