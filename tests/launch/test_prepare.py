"""Fetching ahead of time, as a user runs it: in a process of its own."""

import importlib.util
import os
import shutil
import subprocess
import sys

import pytest
import tensorflow_datasets as tfds

from tests.conftest import ROOT
from tests.mlp_core.data.tfds.made_archive import made_archive
from tests.mlp_vision.data.made_archives import picture

DIGITS = "--config=configs/mixer_digits.py"
FINE_TUNE = "--config=configs/mixer_b16_cifar100.py"


@pytest.fixture
def environment(tmp_path):
    """No address is reachable through a proxy that is not there."""
    return os.environ | {
        "JAX_PLATFORMS": "cpu",
        "TFDS_DATA_DIR": str(tmp_path / "default"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "https_proxy": "http://127.0.0.1:1",
        "no_proxy": "",
        "NO_PROXY": "",
    }


def launch(environment, program, *args):
    return subprocess.run(
        [sys.executable, f"launch/{program}.py", *map(str, args)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def prepare(environment, *args):
    return launch(environment, "prepare", *args)


def line(run, start):
    """The one line of output that begins so."""
    (found,) = [text for text in run.stdout.splitlines() if text.startswith(start)]
    return found


def test_a_config_without_downloads_is_prepared_where_a_run_looks(environment, tmp_path):
    folder = tmp_path / "default" / "digits" / "1.0.0"
    first = prepare(environment, DIGITS)
    assert first.returncode == 0, first.stderr
    assert line(first, "Data set digits/1.0.0: prepared,").endswith(f"MiB in {folder}")
    assert (folder / "dataset_info.json").exists()
    second = prepare(environment, DIGITS)
    assert line(second, "Data set digits/1.0.0: there already,").endswith(f"MiB in {folder}")


MIXER_S32 = (
    "--config.init.weights=gsam/Mixer-S_32", "--config.model.name=mixer_s32",
    "--config.data.image_size=224", "--config.model.patch_size=32", "--config.model.hidden_dim=512",
    "--config.model.num_blocks=8", "--config.model.tokens_mlp_dim=256",
    "--config.model.channels_mlp_dim=2048",
)  # fmt: skip


@pytest.mark.slow
def test_a_run_finds_data_and_weights_in_the_directory_with_the_flags_told(
    environment, mirror, tmp_path
):
    """As on a pod: prepared once, then read by hosts that see the folder and nothing else."""
    url, folder = mirror
    shared = tmp_path / "shared"
    args = (DIGITS, *MIXER_S32)
    first = prepare(environment, *args, f"--config.init.mirror={url}", f"--directory={shared}")
    assert first.returncode == 0, first.stderr
    copy = shared / "weights" / "gsam" / "Mixer-S_32.npz"
    assert line(first, "Weights gsam/Mixer-S_32: fetched and copied, 72.9 MiB").endswith(f"{copy}")
    assert copy.read_bytes() == (folder / "gsam" / "Mixer-S_32.npz").read_bytes()
    assert line(first, "Data set digits/1.0.0: prepared").endswith(f"{shared}/tfds/digits/1.0.0")
    flags = line(first, "  --config.data.data_dir").split()
    assert flags == [
        f"--config.data.data_dir={shared}/tfds",
        f"--config.init.mirror={shared}/weights",
    ]

    shutil.rmtree(tmp_path / "cache")
    second = prepare(environment, *args, f"--directory={shared}")
    assert second.returncode == 0, second.stderr
    assert line(second, "Weights gsam/Mixer-S_32: there already, 72.9 MiB").endswith(f"{copy}")
    assert line(second, "Data set digits/1.0.0: there already")

    run = launch(environment, "main", *args, *flags, "--dry_run", f"--workdir={tmp_path / 'run'}")
    assert run.returncode == 0, run.stderr
    assert not (tmp_path / "default").exists()


@pytest.mark.slow
def test_weights_of_the_hub_go_there_with_their_configuration(environment, tmp_path):
    """From the hub's own cache, as a download leaves it."""
    model = tmp_path / "hub" / "models--timm--mixer_made"
    snapshot = model / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text("0" * 40)
    (snapshot / "model.safetensors").write_bytes(b"weights")
    (snapshot / "config.json").write_text("{}")
    offline = environment | {"HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    shared = tmp_path / "shared"
    args = (DIGITS, "--config.init.weights=hf://timm/mixer_made", f"--directory={shared}")
    place = shared / "weights" / "timm" / "mixer_made"
    for done in ("copied", "there already"):
        run = prepare(offline, *args)
        assert run.returncode == 0, run.stderr
        assert line(run, f"Weights hf://timm/mixer_made: {done},")
        assert f"--config.init.weights={place}/model.safetensors" in run.stdout.split()
        shutil.rmtree(model, ignore_errors=True)
    assert {path.name for path in place.iterdir()} == {"model.safetensors", "config.json"}


def test_everything_missing_is_told_at_once(environment, tmp_path):
    run = prepare(environment, FINE_TUNE, f"--directory={tmp_path / 'shared'}")
    assert run.returncode == 2
    for text in (f"Put the file at {tmp_path}/shared/tfds/downloads/cifar-100-binary.tar.gz",
                 "imagenet21k/Mixer-B_16.npz", "Connection refused)"):  # fmt: skip
        assert text in run.stderr, text
    assert "Traceback" not in run.stderr and "flags" not in run.stdout


MISTAKES = {
    "data set": (["--config.data.name=imagnet2012"], "no data set 'imagnet2012'. Similar: image"),
    "data_dir twice": (
        ["--directory=shared", "--config.data.data_dir=/data"],
        "config.data.data_dir is /data besides",
    ),
    "directory": (["--directory=/dev/null/shared"], "--directory=/dev/null/shared: cannot be"),
    "field": (["--config.data.nmae=cifar10"], "no field 'nmae'"),
}


@pytest.mark.parametrize("args, message", MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_ends_in_a_sentence_and_a_status(environment, args, message):
    run = prepare(environment, DIGITS, *args)
    assert run.returncode == 2
    assert message in run.stderr
    assert "Traceback" not in run.stderr + run.stdout


HAS_TENSORFLOW = importlib.util.find_spec("tensorflow") is not None


def test_files_to_be_fetched_by_hand_are_named_with_their_place(environment, tmp_path):
    manual = tmp_path / "default" / "downloads" / "manual"
    manual.mkdir(parents=True)
    (manual / "ILSVRC2012_img_val.tar").write_bytes(b"")
    run = prepare(environment, DIGITS, "--config.data.name=imagenet2012")
    assert run.returncode == 2
    assert f"put into {manual}: ILSVRC2012_img_train.tar\n" in run.stderr + "\n"


@pytest.mark.skipif(HAS_TENSORFLOW, reason="TensorFlow is installed")
def test_without_tensorflow_both_ways_to_prepare_with_it_are_told(environment):
    run = prepare(environment, DIGITS, "--config.data.name=svhn_cropped")
    assert run.returncode == 2
    for text in ('pip install -e ".[prepare]"', "tfds.builder('svhn_cropped'", "data_dir"):
        assert text in run.stderr, text


@pytest.mark.skipif(not HAS_TENSORFLOW, reason="needs TensorFlow, which only preparing uses")
def test_imagenet_is_prepared_by_the_builder_of_tfds(environment, tmp_path):
    manual = tmp_path / "default" / "downloads" / "manual"
    classes = {}
    for name in ("n01440764", "n15075141"):
        pictures = {f"{name}_{i}.JPEG": picture(i) for i in range(3)}
        made_archive(tmp_path / "class.tar", pictures, compress=False)
        classes[f"{name}.tar"] = (tmp_path / "class.tar").read_bytes()
    made_archive(manual / "ILSVRC2012_img_train.tar", classes, compress=False)
    pictures = {f"ILSVRC2012_val_{i:08d}.JPEG": picture(i) for i in range(1, 5)}
    made_archive(manual / "ILSVRC2012_img_val.tar", pictures, compress=False)
    run = prepare(environment, DIGITS, "--config.data.name=imagenet2012")
    assert run.returncode == 0, run.stderr
    folder = tmp_path / "default" / "imagenet2012" / "5.1.0"
    assert line(run, "Data set imagenet2012/5.1.0: prepared").endswith(str(folder))
    source = tfds.builder_from_directory(folder).as_data_source("train")
    assert sorted(example["label"] for example in source) == [0, 0, 0, 999, 999, 999]
