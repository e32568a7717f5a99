"""The Dockerfile, as far as it can be read without a Docker daemon; building it is for others."""

import re
import subprocess

import pytest

from tests.conftest import ROOT

INSTRUCTIONS = re.findall(
    r"^([A-Z]+) (.*)$",
    re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.M)),
    re.MULTILINE,
)


def test_what_is_copied_is_there_and_is_let_in():
    copied = [word for name, rest in INSTRUCTIONS if name == "COPY" for word in rest.split()[:-1]]
    assert {"configs", "launch", "mlp_core", "mlp_vision", "mlp_text", "setup.py"} <= set(copied)
    let_in = (ROOT / ".dockerignore").read_text().splitlines()
    assert let_in[0] == "*"  # Nothing else: no runs, no keys.
    for path in copied:
        assert (ROOT / path).exists() and f"!{path}" in let_in


@pytest.mark.parametrize(
    ("accelerator", "installed"),
    [("cpu", "."), ("gpu", ".[gpu]"), ("tpu", ".[tpu]"), ("npu", None)],
)
def test_each_accelerator_installs_its_extra_of_setup_py(accelerator, installed):
    (step,) = [rest for name, rest in INSTRUCTIONS if name == "RUN" and "case" in rest]
    said = subprocess.run(
        ["bash", "-c", f'pip() {{ echo "${{@: -1}}"; }}; ACCELERATOR={accelerator}; {step}'],
        capture_output=True,
        text=True,
    )
    assert (said.returncode == 0) == (installed is not None)
    assert said.stdout.strip() == (installed or "")
    if installed and "[" in installed:
        assert f'"{accelerator}": ["jax[' in (ROOT / "setup.py").read_text()


def test_it_does_not_run_as_root_and_signals_reach_python():
    names = [name for name, _ in INSTRUCTIONS]
    user = dict(INSTRUCTIONS)["USER"]
    assert user not in ("root", "0") and names.index("USER") < names.index("ENTRYPOINT")
    assert dict(INSTRUCTIONS)["ENTRYPOINT"].startswith("[")  # No shell in between.
