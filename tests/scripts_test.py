"""The scripts that start several processes, without the systems that they are for."""

import pathlib
import subprocess

import pytest
import yaml

LAUNCH = pathlib.Path(__file__).parents[1] / "launch"


@pytest.mark.parametrize("name", ["local.sh", "slurm.sbatch", "tpu_pod.sh"])
def test_scripts_parse(name):
  subprocess.run(["bash", "-n", LAUNCH / name], check=True)


@pytest.mark.parametrize(
  ("name", "words", "said"),
  [
    ("local.sh", ["--preset=catch"], "name the number of processes first"),
    ("tpu_pod.sh", ["slice", "zone"], "name the slice, its zone and a run"),
  ],
)
def test_what_is_missing_is_said(name, words, said):
  call = subprocess.run([LAUNCH / name, *words], capture_output=True, text=True, check=False)
  assert call.returncode == 2 and call.stderr.startswith(f"error: {said}")


def test_the_tpu_script_quotes_flags(tmp_path):
  """What gcloud gets is a command for the shells of the hosts."""
  gcloud = tmp_path / "gcloud"
  gcloud.write_text('#!/bin/bash\nprintf "%s\\n" "$@"\n')
  gcloud.chmod(0o755)
  call = subprocess.run(
    [LAUNCH / "tpu_pod.sh", "slice", "zone", "--workdir=/mnt/two words"],
    capture_output=True,
    text=True,
    check=True,
    env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
  )
  words = call.stdout.splitlines()
  assert words[:5] == ["compute", "tpus", "tpu-vm", "ssh", "slice"]
  assert words[-1].endswith(r"--coordinator=auto --workdir=/mnt/two\ words ")


def test_the_kubernetes_job_names_its_own_pods():
  service, job = yaml.safe_load_all((LAUNCH / "kubernetes.yaml").read_text())
  spec, name = job["spec"], job["metadata"]["name"]
  pod = spec["template"]["spec"]
  command = pod["containers"][0]["command"]
  assert spec["completionMode"] == "Indexed" and spec["completions"] == spec["parallelism"]
  assert f"--processes={spec['completions']}" in command
  assert pod["subdomain"] == service["metadata"]["name"]
  assert f"--coordinator={name}-0.{pod['subdomain']}:29500" in command
  assert service["spec"]["selector"] == {"job-name": name}
