"""Images a second through the input pipeline, from a data set in memory.

Batches of random 32 x 32 x 3 uint8 pictures with a label come out of
`mlp_core.data.pipeline.train_batches`: shuffled by epoch, gathered and read ahead through Grain.
The clock runs from the call that makes the iterator to the last batch, so it holds the start of
Grain's threads and every epoch's shuffle.

`host`: the batches are only taken. `on_device`: each one is also put on the device with
`mlp_core.distributed.mesh.put_batch`, and waited for. The two alternate.

    python benchmarks/input_in_memory.py
"""

import argparse
import time

import jax
import numpy as np
from jax.sharding import Mesh
from report import print_report, summary

from mlp_core.data.pipeline import train_batches
from mlp_core.data.sources import ArraySource
from mlp_core.distributed.mesh import make_mesh, put_batch

IMAGE_SHAPE = (32, 32, 3)


def main() -> None:
    """Measures and prints the report."""
    options = _parse_options()
    source, mesh = _random_pictures(options.num_examples), make_mesh()
    _images_per_second(source, options, mesh)  # Unmeasured: the first run warms up.
    host, on_device = [], []
    for _ in range(options.repetitions):
        host.append(_images_per_second(source, options, None))
        on_device.append(_images_per_second(source, options, mesh))
    figures = {
        "host_images_per_second": summary(host),
        "on_device_images_per_second": summary(on_device),
    }
    sizes = {
        "image_shape": IMAGE_SHAPE,
        "num_examples": options.num_examples,
        "batch_size": options.batch_size,
        "steps": options.steps,
        "repetitions": options.repetitions,
    }
    print_report("input_in_memory", figures, sizes)


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small numbers: shows that it runs")
    parser.add_argument("--num_examples", type=int, default=50_000, help="in the data set")
    parser.add_argument("--batch_size", type=int, default=512, help="over all devices")
    parser.add_argument("--steps", type=int, default=1000, help="batches a repetition")
    parser.add_argument("--repetitions", type=int, default=15, help="of each of the two")
    options = parser.parse_args()
    if options.quick:
        options.num_examples, options.steps, options.repetitions = 5_000, 20, 2
    return options


def _random_pictures(num_examples: int) -> ArraySource:
    rng = np.random.default_rng(0)
    return ArraySource(
        {
            "image": rng.integers(0, 256, (num_examples, *IMAGE_SHAPE), np.uint8),
            "label": rng.integers(0, 10, num_examples, np.int32),
        }
    )


def _images_per_second(
    source: ArraySource, options: argparse.Namespace, mesh: Mesh | None
) -> float:
    """Throughput of one pass; onto the devices of `mesh` unless it is None."""
    started = time.perf_counter()
    for batch in train_batches(source, options.batch_size, 0, 0, options.steps):
        if mesh is not None:
            jax.block_until_ready(put_batch(batch, mesh))
    return options.steps * options.batch_size / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
