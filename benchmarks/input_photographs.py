"""Photographs a second from encoded JPEGs to batches of 224 x 224 pixels, beside other roads.

Each road takes a random Inception crop (5 % of the area and more) of the same JPEGs and resizes it
bilinearly: made pictures of 400 x 350 pixels with the grain of photographs, or those of
`--pictures`, a folder whose pictures are cut to that size and encoded anew. The files are read from
disk, where they stay in the system's cache. Ours is `mlp_core.data.pipeline.train_batches` on a
folder of pictures, with threads and with worker processes, to a whole batch on the host; the start
of workers is not in the figure.

tf.data, with `decode_and_crop_jpeg` and all parameters left to AUTOTUNE, runs where `--tf_python`
(this Python, otherwise) has TensorFlow. The other three loops decode whole pictures with as many
threads as there are cores and make no batches. Each road has a process of its own; they take turns,
one after the other in each repetition, and each ratio is of neighbours in time. Seconds of CPU for
a thousand pictures say what is left when other work shares the cores.

    python benchmarks/input_photographs.py --pictures=FOLDER --tf_python=env/bin/python
"""

import argparse
import io
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from turns import Server, serve

SIZE, WIDTH, HEIGHT = 224, 400, 350  # Of a result and of a file, in pixels.
MIN_AREA = 0.05
SEED = 0
READ_AHEAD = 4  # Batches.
UNMEASURED = 2 * READ_AHEAD  # Of a turn: some were made while others had theirs.


def main() -> None:
    """Writes the pictures, runs all roads in turns, and prints the report."""
    options = _parse_options()
    if options.road:
        serve(lambda: _start(options))
        return
    from report import print_report, summary  # Not in TensorFlow's process: it needs JAX.

    with tempfile.TemporaryDirectory() as folder:
        mean_bytes = _write_pictures(Path(folder), options)
        servers = {}
        for road in options.roads.split(","):
            python = options.tf_python if road == "tf_data" else sys.executable
            command = [python, __file__, f"--road={road}", f"--folder={folder}"]
            command += [f"--batch_size={options.batch_size}", f"--batches={options.batches}"]
            # TensorFlow talks much.
            server = Server(command, quiet=road == "tf_data", JAX_PLATFORMS="cpu")
            if server.works:
                servers[road] = server
        turns = [
            {road: server.measure() for road, server in servers.items()}
            for _ in range(options.repetitions)
        ]
        for server in servers.values():
            server.end()
    figures = {}
    for road in servers:
        figures[f"{road}_per_second"] = summary([turn[road]["per_second"] for turn in turns])
        figures[f"{road}_cpu_seconds_per_1000"] = summary(
            [turn[road]["cpu_seconds_per_1000"] for turn in turns]
        )
    for road in {"threads", "workers"} & servers.keys():
        if "tf_data" in servers:
            figures[f"{road}_over_tf_data"] = summary(
                [turn[road]["per_second"] / turn["tf_data"]["per_second"] for turn in turns]
            )
    sizes = {
        "pictures": options.num_pictures,
        "picture_shape": (HEIGHT, WIDTH, 3),
        "mean_bytes": mean_bytes,
        "batch_size": options.batch_size,
        "batches_a_turn": options.batches,
        "repetitions": options.repetitions,
    }
    print_report("input_photographs", figures, sizes)


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small numbers: shows that it runs")
    parser.add_argument("--pictures", type=Path, help="a folder of photographs to use")
    parser.add_argument("--roads", default=",".join(ROADS), help="which to take")
    parser.add_argument("--tf_python", default=sys.executable, help="a Python with TensorFlow")
    parser.add_argument("--num_pictures", type=int, default=512, help="JPEGs to write")
    parser.add_argument("--batch_size", type=int, default=128, help="photographs")
    parser.add_argument("--batches", type=int, default=24, help="a turn of a road")
    parser.add_argument("--repetitions", type=int, default=7, help="turns of each road")
    parser.add_argument("--road", help=argparse.SUPPRESS)  # These two: in the measuring processes.
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.num_pictures, options.batch_size = 16, 8
        options.batches, options.repetitions = 2, 1
    return options


def _write_pictures(folder: Path, options: argparse.Namespace) -> int:
    """Writes JPEGs for two classes below `folder`; returns their mean size in bytes."""
    import numpy as np
    from PIL import Image, ImageOps

    rng, sizes = np.random.default_rng(SEED), []
    files = sorted(options.pictures.rglob("*.jpg")) if options.pictures else []
    for i in range(options.num_pictures):
        if files:
            image = Image.open(files[i % len(files)]).convert("RGB")
            image = ImageOps.fit(image, (WIDTH, HEIGHT), Image.Resampling.LANCZOS)
        else:
            coarse = Image.fromarray(rng.integers(0, 256, (12, 14, 3), np.uint8))
            smooth = np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
            grain = rng.normal(0, 9, (HEIGHT, WIDTH, 1))
            image = Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8))
        path = folder / "train" / "ab"[i % 2] / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        # Three of four as most programs write them, the rest with colour at full resolution.
        image.save(path, quality=92, subsampling=2 if i % 4 else 0)
        sizes.append(path.stat().st_size)
    return round(statistics.mean(sizes))


def _start(options: argparse.Namespace) -> Callable[[], dict[str, float]]:
    """Starts a road; what it returns measures one turn."""
    from mlp_core.process.memory import keep_freed_memory

    keep_freed_memory()  # As the command does.
    batches = ROADS[options.road](options)
    next(batches)  # Starts whatever there is to start.

    def measure() -> dict[str, float]:
        for _ in range(UNMEASURED):
            next(batches)
        started, cpu_started = time.perf_counter(), _cpu_seconds()
        for _ in range(options.batches):
            next(batches)
        seconds, count = time.perf_counter() - started, options.batches * options.batch_size
        return {
            "per_second": count / seconds,
            "cpu_seconds_per_1000": 1000 * (_cpu_seconds() - cpu_started) / count,
        }

    return measure


def _cpu_seconds() -> float:
    """Of this process and of its children that still run."""
    ticks = 0
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    for process in [str(os.getpid()), *children]:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _ours(options: argparse.Namespace, num_workers: int) -> Iterator:
    from mlp_core.data.pipeline import train_batches
    from mlp_vision.data.host_views import TrainView
    from mlp_vision.data.image_dataset import open_source
    from mlp_vision.data.image_folder import FolderDataset

    view = TrainView(SIZE, "inception", MIN_AREA)
    source = open_source(FolderDataset(Path(options.folder)), "train", view, SEED)
    return train_batches(source, options.batch_size, SEED, 0, 10**9, num_workers)


def _tf_data(options: argparse.Namespace) -> Iterator:
    import tensorflow as tf

    def view(path):
        encoded = tf.io.read_file(path)
        begin, size, _ = tf.image.sample_distorted_bounding_box(
            tf.image.extract_jpeg_shape(encoded),
            tf.zeros([0, 0, 4], tf.float32),
            area_range=(MIN_AREA, 1.0),
            min_object_covered=0,
            use_image_if_no_bounding_boxes=True,
        )
        (top, left, _), (height, width, _) = tf.unstack(begin), tf.unstack(size)
        image = tf.io.decode_and_crop_jpeg(encoded, [top, left, height, width], channels=3)
        return tf.cast(tf.image.resize(image, [SIZE, SIZE]), tf.uint8)

    paths = [str(path) for path in Path(options.folder).rglob("*.jpg")]
    dataset = tf.data.Dataset.from_tensor_slices(paths).shuffle(len(paths)).repeat()
    dataset = dataset.map(view, tf.data.AUTOTUNE).batch(options.batch_size)
    return iter(dataset.prefetch(READ_AHEAD))


def _decoder(options: argparse.Namespace, load: Callable[[], Callable]) -> Iterator:
    """Whole decoding of one picture after the other, by threads."""
    import numpy as np

    from mlp_vision.data.host_views import inception_crop

    view, paths = load(), list(Path(options.folder).rglob("*.jpg"))

    def one(i: int) -> None:
        rng = np.random.default_rng((SEED, i))
        view(
            paths[i % len(paths)].read_bytes(),
            lambda height, width: inception_crop(rng, height, width, MIN_AREA),
        )

    pool, first = ThreadPoolExecutor(os.cpu_count()), 0
    while True:
        list(pool.map(one, range(first, first + options.batch_size)))
        first += options.batch_size
        yield


def _pillow() -> Callable:
    from PIL import Image

    def view(encoded, draw):
        image = Image.open(io.BytesIO(encoded)).convert("RGB")
        top, left, height, width = draw(image.height, image.width)
        box = (left, top, left + width, top + height)
        return image.resize((SIZE, SIZE), Image.Resampling.BILINEAR, box)

    return view


def _opencv() -> Callable:
    import cv2
    import numpy as np

    cv2.setNumThreads(0)

    def view(encoded, draw):
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
        top, left, height, width = draw(*image.shape[:2])
        return cv2.resize(image[top : top + height, left : left + width], (SIZE, SIZE))

    return view


def _simplejpeg() -> Callable:
    import cv2
    import simplejpeg

    cv2.setNumThreads(0)

    def view(encoded, draw):
        image = simplejpeg.decode_jpeg(encoded)
        top, left, height, width = draw(*image.shape[:2])
        return cv2.resize(image[top : top + height, left : left + width], (SIZE, SIZE))

    return view


ROADS = {
    "threads": lambda options: _ours(options, 0),
    "tf_data": _tf_data,
    "workers": lambda options: _ours(options, os.cpu_count()),
    "pillow": lambda options: _decoder(options, _pillow),
    "opencv": lambda options: _decoder(options, _opencv),
    "simplejpeg": lambda options: _decoder(options, _simplejpeg),
}


if __name__ == "__main__":
    main()
