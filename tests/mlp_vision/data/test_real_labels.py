"""ReaL: accuracy by the reassessed labels of ImageNet's validation pictures."""

import json
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow_datasets as tfds

from mlp_core.errors import UserError
from mlp_vision.data.host_views import EvalView
from mlp_vision.data.image_dataset import open_image_dataset, open_source
from mlp_vision.data.real_labels import NUM_CLASSES, open_real_labels
from mlp_vision.tasks import experiment
from mlp_vision.tasks.classification import view_logits
from mlp_vision.tasks.preparation import prepare
from mlp_vision.tools.scoring import score
from mlp_vision.weights.loading import open_weights
from mlp_vision.weights.pretrained import load_params
from tests.configs.config_files import load
from tests.conftest import ROOT
from tests.mlp_vision.data.made_photos import encoded, photo

# None for every fifth picture, else many of the classes that the made pictures have.
LISTS = [[] if n % 5 == 0 else sorted({k * n % 41 for k in range(1, 22)}) for n in range(50_000)]
NUMBERS = [50_000, *range(1, 40)]  # Of the pictures in the made data sets.


@pytest.fixture(scope="module")
def real_json(tmp_path_factory):
    path = tmp_path_factory.mktemp("real") / "real.json"
    path.write_text(json.dumps(LISTS))
    return path


def file_name(number):
    return f"ILSVRC2012_val_{number:08d}.JPEG"


class ImagenetLike(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Photographs with the features of TFDS's imagenet2012."""

    name = "imagenet_like"
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {
            "image": tfds.features.Image(encoding_format="jpeg"),
            "label": tfds.features.ClassLabel(num_classes=NUM_CLASSES),
            "file_name": tfds.features.Text(),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {
            "train": self._generate_examples(False),
            "validation": self._generate_examples(True),
        }

    def _generate_examples(self, held_out):
        for number in NUMBERS:
            name = file_name(number) if held_out else f"n01440764_{number}.JPEG"
            image = encoded(photo(number))
            yield number, {"image": image, "label": number % NUM_CLASSES, "file_name": name}


@pytest.fixture(scope="module")
def tfds_directory(tmp_path_factory):
    builder = ImagenetLike(data_dir=tmp_path_factory.mktemp("tfds"), file_format="array_record")
    builder.download_and_prepare()
    return str(builder.data_path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """ImageNet's own tree: 1,000 class folders, one small picture in each but the first."""
    root = tmp_path_factory.mktemp("imagenet")
    small = encoded(photo(0).resize((16, 16)))
    for label in range(NUM_CLASSES):
        (root / "val" / f"n{label:08d}").mkdir(parents=True)
        (root / "val" / f"n{label:08d}" / file_name(label + 1)).write_bytes(small)
    return str(root)


def small_run(dataset, real_labels=None):
    """A tiny Mixer on pictures of 32 pixels."""
    config = load(ROOT / "configs" / "mixer_b16_imagenet.py", "smoke")
    config.data.name, config.data.image_size = dataset, 32
    config.data.train_split = "train"
    config.data.eval_splits = {"validation": "train[:10]", "test": "validation"}
    config.data.real_labels = real_labels and str(real_labels)
    config.model.hidden_dim = config.model.channels_mlp_dim = 16
    config.train.duration, config.schedule.peak_learning_rate = "2 steps", 1.0
    return config


@pytest.fixture(scope="module")
def trained(tfds_directory, tmp_path_factory, real_json):
    """A run, and what its last evaluation told."""
    workdir = tmp_path_factory.mktemp("run")
    return workdir, experiment.train(small_run(tfds_directory, real_json), workdir)


def expected_accuracy(workdir, name, split):
    """Counted one by one over the pictures that have labels, and how many these are."""
    weights = open_weights(workdir)
    spec, model = weights.spec, weights.spec.create_model(jnp.float32)
    params = jax.device_put(load_params(weights, spec, "auto"))
    dataset = open_image_dataset(name, None)
    records = dataset.records(split)
    source = open_source(dataset, split, EvalView(spec.image_size, spec.eval_preset))
    batch = source.gather(np.arange(len(source)))
    best = np.asarray(view_logits(spec, model, params, batch["image"])).argmax(-1)
    lists = [LISTS[int(records.file_name(i)[15:23]) - 1] for i in range(len(source))]
    judged = [b in right for b, right in zip(best, lists, strict=True) if right]
    return sum(judged) / len(judged), len(judged)


@pytest.mark.slow
def test_training_tells_real_accuracy_of_imagenets_validation_pictures_only(
    trained, tfds_directory
):
    workdir, results = trained
    accuracy, count = expected_accuracy(workdir, tfds_directory, "validation")
    assert count == 32 and 0 < accuracy < 1  # 8 of the 40 pictures have no label.
    assert results["test/top1_real"] == pytest.approx(accuracy)
    assert "validation/top1_real" not in results and "validation/top1" in results
    saved = json.loads((workdir / "results.json").read_text())
    assert "test/top1_real" in str(saved)


@pytest.mark.parametrize("batch_size", [8, 24])
def test_every_picture_with_labels_counts_once_whatever_the_batch(
    trained, tfds_directory, real_json, batch_size, capsys
):
    config = small_run(tfds_directory, real_json)
    config.evaluation.global_batch_size = batch_size
    scores = score(config, str(trained[0]), {}, {"test": "validation", "other": "train"})
    assert scores["test/top1_real"] == pytest.approx(trained[1]["test/top1_real"])
    assert f"ReaL top-1 {100 * scores['test/top1_real']:.2f} %" in capsys.readouterr().out
    assert "other/top1_real" not in scores


def test_a_folder_of_imagenets_pictures_is_judged_by_their_file_names(trained, folder, real_json):
    # The classes of a folder have names, which are others than the made ones of the run.
    config = small_run(folder, real_json)
    weights = open_weights(trained[0])
    assert weights.spec.num_classes == NUM_CLASSES
    scores = score(config, str(trained[0]), {}, {"test": "val"})
    accuracy, count = expected_accuracy(trained[0], folder, "val")
    assert count == 800 and scores["test/top1_real"] == pytest.approx(accuracy)


def test_rows_are_the_pictures_of_their_numbers(tfds_directory, real_json):
    dataset = open_image_dataset(tfds_directory, None)
    labels, view = open_real_labels(str(real_json)), EvalView(32, "squash")
    labels = labels.checked(dataset, ["validation"])
    source = labels.beside(open_source(dataset, "validation", view), dataset, "validation")
    real = source.gather(np.arange(len(source)))["real"]
    records = dataset.records("validation")
    numbers = [int(records.file_name(i)[15:23]) for i in range(len(source))]
    assert sorted(numbers) == sorted(NUMBERS)
    assert [list(np.flatnonzero(row)) for row in real] == [LISTS[n - 1] for n in numbers]


def test_columns_follow_the_order_of_the_classes(folder, real_json):
    dataset = open_image_dataset(folder, None)
    labels = open_real_labels(str(real_json)).checked(dataset, ["val"])
    turned, view = dataset.with_classes(dataset.class_names[::-1]), EvalView(16, "squash")
    index = np.arange(10)
    one, other = (
        labels.beside(open_source(d, "val", view), d, "val").gather(index)
        for d in (dataset, turned)
    )
    assert one["real"].any() and (one["label"] != other["label"]).all()
    np.testing.assert_array_equal(one["real"], other["real"][:, ::-1])
    np.testing.assert_array_equal(one["label"], NUM_CLASSES - 1 - other["label"])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("[[1]]", "must be 50,000 lists, and it has 1"),
        ('{"a": 1}', "must be 50,000 lists, and it is no list"),
        (json.dumps([*LISTS[1:], 3]), r"entry 49,999 must list class numbers from 0 to 999.*is 3"),
        (json.dumps([[1000], *LISTS[1:]]), r"entry 0 must list class numbers.*is \[1000\]"),
        (json.dumps([["1"], *LISTS[1:]]), "entry 0 must list class numbers"),
        (json.dumps([[True], *LISTS[1:]]), "entry 0 must list class numbers"),
        ("[[1]", "is no real.json"),
    ],
)
def test_another_file_is_refused(tmp_path, content, sentence):
    (tmp_path / "real.json").write_text(content)
    with pytest.raises(UserError, match=sentence):
        open_real_labels(str(tmp_path / "real.json"))


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(UserError, match="none.json cannot be read.*real.json of google-research"):
        open_real_labels(str(tmp_path / "none.json"))


@pytest.fixture
def server(tmp_path):
    """The address of a server, and its folder."""

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=tmp_path)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server, f"http://127.0.0.1:{server.server_port}", tmp_path
    server.shutdown()
    server.server_close()


def test_the_file_is_fetched_once_from_a_url_and_again_if_it_was_another(real_json, server):
    server, address, folder = server
    (folder / "real.json").write_text("[]")
    with pytest.raises(UserError, match="must be 50,000 lists"):
        open_real_labels(f"{address}/real.json")
    (folder / "real.json").write_bytes(real_json.read_bytes())
    right = open_real_labels(f"{address}/real.json").right
    server.shutdown()
    assert np.array_equal(open_real_labels(f"{address}/real.json").right, right)
    assert list(np.flatnonzero(right[1])) == LISTS[1]


def test_preparing_fetches_them_into_the_folder_of_all_hosts(
    real_json, server, tfds_directory, tmp_path_factory
):
    _, address, folder = server
    (folder / "real.json").write_bytes(real_json.read_bytes())
    shared = tmp_path_factory.mktemp("shared")
    (flag,) = prepare(small_run(tfds_directory, f"{address}/real.json"), shared)
    name, _, path = flag.partition("=")
    assert name == "--config.data.real_labels" and path.startswith(str(shared / "labels"))
    assert np.array_equal(open_real_labels(path).right, open_real_labels(str(real_json)).right)
    assert prepare(small_run(tfds_directory, real_json), shared) == []


def test_a_file_that_is_not_there_is_told_before_the_data_are_looked_for(tmp_path):
    config = small_run(str(tmp_path / "no_data"), tmp_path / "none.json")
    with pytest.raises(UserError, match="none.json cannot be read"):
        experiment.train(config, tmp_path / "run")


def test_data_that_these_labels_are_not_for_are_refused(real_json, tfds_directory, data_dir):
    labels = open_real_labels(str(real_json))
    with pytest.raises(UserError, match="synthetic has 10; leave them unset"):
        labels.checked(open_image_dataset("synthetic", data_dir), ["test"])
    dataset = open_image_dataset(tfds_directory, None)
    labels = labels.checked(dataset, ["train", "validation"])
    with pytest.raises(UserError, match=r"no split that is evaluated \(train\) begins with"):
        labels.checked(dataset, ["train"])
    view = EvalView(32, "squash")
    mixed = open_source(dataset, "validation+train", view)
    with pytest.raises(UserError, match="'n01440764_.* is no picture of ImageNet's validation"):
        labels.beside(mixed, dataset, "validation+train").gather(np.arange(80))


def test_a_finished_run_gains_accuracy_by_these_labels_when_started_again_and_keeps_it(
    trained, tfds_directory, real_json
):
    workdir, results = trained
    file = workdir / "results.json"
    without = experiment.train(small_run(tfds_directory), workdir)
    assert "test/top1_real" not in without and without.items() < results.items()
    assert json.loads(file.read_text()) == results
    file.write_text(json.dumps(without))
    assert experiment.train(small_run(tfds_directory, real_json), workdir) == results
    assert json.loads(file.read_text()) == results
