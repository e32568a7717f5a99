"""Images a second of a whole training run beside a plain PyTorch loop with a DataLoader, on CPU.

Both train a small Mixer of `bare_model.py` by AdamW, with clipped gradients, on the same folder of
made 32 x 32 PNG files of ten classes, from padded crops that may be flipped. Ours is the command
`launch/main.py` with configs/mixer_cifar10_scratch.py; its rate is the median of what it reports in
metrics.jsonl, without the first report. PyTorch's loop, as many steps long, has timm's model,
torchvision's transforms and a DataLoader with `--workers` processes. Runs take turns, and ratios
are of neighbours in time.

    python benchmarks/loop_against_pytorch.py --torch_python=other/bin/python
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

IMAGE_SIZE, NUM_CLASSES, SEED = 32, 10, 0
TRAIN, TEST_IMAGES = "train", 100
REPORTS = 5  # Of a run.
ROOT = Path(__file__).resolve().parent.parent
OURS, EAGER, COMPILED = "ours", "eager", "compiled"
TORCH_ROADS = (EAGER, COMPILED)


def main() -> None:
    """Writes the images, trains by each road in turns, and prints the report."""
    options = _parse_options()
    if options.road:
        print(_torch_rate(options))
        return
    from report import print_report, summary  # Not in PyTorch's processes: it needs JAX.

    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        _write_images(images / TRAIN, options.images)
        _write_images(images / "test", TEST_IMAGES)
        turns = []
        for turn in range(options.repetitions):
            rates = {OURS: _our_rate(images, Path(folder) / f"run_{turn}", options)}
            for road in options.peers:
                command = [options.torch_python, __file__, *sys.argv[1:]]
                command += [f"--road={road}", f"--folder={images / TRAIN}"]
                rates[road] = float(_output_of(command).split()[-1])
            turns.append(rates)
            print(rates, file=sys.stderr, flush=True)
    figures = {road: summary([turn[road] for turn in turns]) for road in turns[0]}
    for road in options.peers:
        figures[f"ours_over_{road}"] = summary([turn[OURS] / turn[road] for turn in turns])
    unreported = ("road", "folder", "quick")
    sizes = {name: value for name, value in vars(options).items() if name not in unreported}
    print_report("loop_against_pytorch", figures, sizes)


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small numbers: shows that it runs")
    parser.add_argument("--model", default="mixer_small", help="or mixer_coursework")
    parser.add_argument("--images", type=int, default=5_000, help="files")
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=100, help="of a run")
    parser.add_argument("--repetitions", type=int, default=3, help="runs of each")
    parser.add_argument("--peers", nargs="*", default=TORCH_ROADS, choices=TORCH_ROADS)
    parser.add_argument("--workers", type=int, default=2, help="processes of the DataLoader")
    parser.add_argument("--torch_python", default=sys.executable, help="a Python with PyTorch")
    parser.add_argument("--road", help=argparse.SUPPRESS)  # In PyTorch's processes, as the next.
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.images, options.batch_size, options.steps = 60, 4, REPORTS
        options.repetitions, options.peers = 1, []
    return options


def _write_images(folder: Path, count: int) -> None:
    import numpy as np
    from PIL import Image

    pixels = np.random.default_rng(SEED)
    for index in range(count):
        path = folder / f"class_{index % NUM_CLASSES}" / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.integers(0, 256, (IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)).save(path)


def _our_rate(images: Path, workdir: Path, options: argparse.Namespace) -> float:
    from bare_model import SMALL_IMAGE_MODELS

    from mlp_core.run_folder.metrics import read_metrics

    _, sizes = SMALL_IMAGE_MODELS[options.model]
    fields = {f"model.{name}": size for name, size in sizes.items()} | {
        "data.name": images,
        "data.train_split": TRAIN,
        "data.eval_splits": "{'validation': 'test'}",
        "train.duration": f"{options.steps} steps",
        "train.global_batch_size": options.batch_size,
        "schedule.warmup": "1 steps",
        "log.every": f"{max(options.steps // REPORTS, 1)} steps",
        "checkpoint.every": "0 steps",
        "evaluation.every": "0 steps",
    }
    command = [sys.executable, str(ROOT / "launch" / "main.py"), f"--workdir={workdir}"]
    command += ["--config=configs/mixer_cifar10_scratch.py"]
    _output_of([*command, *(f"--config.{name}={value}" for name, value in fields.items())])
    name = "train/examples_per_second_per_device"
    rates = [row[name] for row in read_metrics(workdir / "metrics.jsonl") if name in row]
    return statistics.median(rates[1:])


def _output_of(command: list[str]) -> str:
    """What a command prints.

    Raises:
        CalledProcessError: it fails.
    """
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True
    ).stdout


def _torch_rate(options: argparse.Namespace) -> float:
    """The median of as many rates as our run reports, without the first."""
    import torch
    from torch_small_images import small_image_model
    from torchvision import datasets, transforms

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    module = small_image_model(options.model).train()
    forward = torch.compile(module) if options.road == COMPILED else module
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3, weight_decay=0.1)
    steps = [
        transforms.RandomCrop(IMAGE_SIZE, padding=4),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize([0.5] * 3, [0.5] * 3),
    ]
    images = datasets.ImageFolder(options.folder, transforms.Compose(steps))
    loader = torch.utils.data.DataLoader(
        images,
        options.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=options.workers,
        persistent_workers=options.workers > 0,
    )
    every, rates, step, started = max(options.steps // REPORTS, 1), [], 0, time.perf_counter()
    while step < options.steps:
        for inputs, labels in loader:
            optimizer.zero_grad(set_to_none=True)
            torch.nn.functional.cross_entropy(forward(inputs), labels).backward()
            torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimizer.step()
            step += 1
            if step % every == 0:
                now = time.perf_counter()
                rates.append(every * options.batch_size / (now - started))
                started = now
            if step == options.steps:
                break
    return statistics.median(rates[1:])


if __name__ == "__main__":
    main()
