"""What two processes tell each other, and that they go on from the same checkpoint."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mlp_core.checkpoints.save import Checkpoints
from mlp_core.checkpoints.train_state import TrainState
from mlp_core.config import CheckpointConfig
from mlp_core.distributed.mesh import of_first_host, on_all_hosts
from tests.conftest import ROOT


def work(folder: str, port: str, host: str) -> None:
    """Of one process: what it prints at the end is compared."""
    jax.config.update("jax_num_cpu_devices", 1)
    jax.distributed.initialize(f"127.0.0.1:{port}", 2, int(host))
    assert on_all_hosts(True) and not on_all_hosts(host == "0") and not on_all_hosts(False)
    assert of_first_host({"host": [int(host)]}) == {"host": [0]}
    mesh = Mesh(np.array(jax.devices()), "data")
    whole, halves = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in ((), ("data",)))

    def checkpoints():
        config = CheckpointConfig(every="1 step", keep_latest=2, keep_best=0)
        return Checkpoints(Path(folder, "checkpoints"), config, "test/top1")

    def make(step):
        params = {"kernel": jnp.sin(jnp.arange(40_000.0) * step)}
        return TrainState(jnp.int32(step), params, (), None)

    shapes = jax.eval_shape(make, 0)
    shardings = TrainState(whole, {"kernel": halves}, (), None)
    abstract = jax.tree.map(
        lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
        shapes, shardings,
    )  # fmt: skip
    first = checkpoints()
    assert first.load_newest(abstract) is None
    for step in (2, 4):
        first.save(step, jax.jit(make, out_shardings=shardings)(step), None, {})
    first.close()
    on_all_hosts(True)  # Written by both.
    if host == "0":  # The half that only the other one reads.
        half = Path(folder, "checkpoints", "4", "state", "ocdbt.process_1", "d")
        for file in half.iterdir():
            file.write_bytes(file.read_bytes()[:100])
    on_all_hosts(True)
    again = checkpoints()
    state = again.load_newest(abstract)
    print(f"goes on from {state.step}, newest {again.latest_step}")
    again.close()


def test_hosts_go_on_from_the_same_checkpoint_when_one_of_them_cannot_read_the_newest(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", f"from {__name__} import work; work(*{args!r})"],
            cwd=ROOT, env=os.environ | {"JAX_PLATFORMS": "cpu"}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for args in ((str(tmp_path), str(port), host) for host in "01")
    ]  # fmt: skip
    try:
        outputs = [process.communicate(timeout=120) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, (out, errors) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, errors
        assert out.splitlines()[-1] == "goes on from 2, newest 2"
    assert "4: this checkpoint is damaged" in outputs[0][0] and "Note" not in outputs[1][0]
    assert (tmp_path / "checkpoints" / "damaged_4").exists()
