"""Eight CPU devices, folders of the tests' own, strict ranks.

Tests run in a copy of the checkout that consists of links and has no `runs/`, with another HOME.
Whatever lies in the real ones changes nothing, and what a test leaves there fails the session.
"""

import atexit
import os
import shutil
import signal
import site
import tempfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import jax
import pytest

# Under nohup it is ignored, and would be in the processes that tests start.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
# Programs run a few times here: to compile them well takes longer than it saves.
jax.config.update("jax_disable_most_optimizations", True)
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"  # In the commands that tests start.
if jax.__version_info__ < (0, 11):  # Later ones do not know this, and abort.
    # Takes 60 % of the time to compile.
    os.environ["XLA_FLAGS"] = "--xla_cpu_use_fusion_emitters=false"

CHECKOUT = Path(__file__).resolve().parent.parent
PROGRAMS = Path(tempfile.gettempdir()) / "all-mlp-test-programs"  # Kept from session to session.
# Where libraries would find, or put, data and caches of the user.
USERS_FOLDERS = (
    *("TFDS_DATA_DIR", "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CONFIG_HOME"),
    *("XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"),
)
SCRATCH = "ALL_MLP_TESTS"  # Names the folders, for processes that a test starts.


def make_folders() -> None:
    """Makes the copy of the checkout and an empty HOME, removed when this process ends."""
    scratch = Path(tempfile.mkdtemp(prefix="all-mlp-tests-"))
    maker = os.getpid()  # A fork, too, calls what is registered.
    atexit.register(lambda: os.getpid() == maker and shutil.rmtree(scratch, ignore_errors=True))
    for name in ("checkout", "home", "of_programs"):
        (scratch / name).mkdir()
    for path in CHECKOUT.iterdir():
        if path.name not in ("runs", ".git"):
            (scratch / "checkout" / path.name).symlink_to(path)
    for name in USERS_FOLDERS:
        os.environ.pop(name, None)
    os.environ |= {
        SCRATCH: str(scratch),
        "PYTHONUSERBASE": site.getuserbase(),  # Packages may be installed there.
        "HOME": str(scratch / "home"),
        "XDG_CACHE_HOME": str(scratch / "of_programs"),
        "XDG_CONFIG_HOME": str(scratch / "of_programs"),
        "XDG_DATA_HOME": str(scratch / "of_programs"),
        "IPYTHONDIR": str(scratch / "of_programs"),
        "MPLCONFIGDIR": str(PROGRAMS / "matplotlib"),  # Its list of fonts takes seconds to make.
    }


if SCRATCH not in os.environ:
    make_folders()
ROOT = Path(os.environ[SCRATCH]) / "checkout"
HOME = Path(os.environ[SCRATCH]) / "home"


def contents(folder: Path) -> dict[str, int]:
    """All that lies in a folder, with the time of its last change; links are not followed."""
    return {
        os.path.join(parent, name): os.lstat(os.path.join(parent, name)).st_mtime_ns
        for parent, folders, files in os.walk(folder)
        for name in [*folders, *files]
    }


def what_tests_must_not_touch() -> dict[str, int]:
    """The real checkout's names and runs, their counterparts in the copy, and HOME."""
    names = {str(path): 0 for folder in (CHECKOUT, ROOT) for path in folder.iterdir()}
    return names | contents(CHECKOUT / "runs") | contents(ROOT / "runs") | contents(HOME)


# For the start of a process that is to be interrupted: begun in a shell's background, it is deaf.
HEAR_CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"


@pytest.fixture(scope="session", autouse=True)
def own_folders(tmp_path_factory):
    """Keeps tests away from the user's folders; compiled programs are kept."""
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(PROGRAMS)
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"
    jax.config.update("jax_compilation_cache_dir", str(PROGRAMS))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    before = what_tests_must_not_touch()
    os.chdir(ROOT)
    yield
    after = what_tests_must_not_touch()
    changed = sorted(path for path in before | after if before.get(path) != after.get(path))
    assert not changed, f"tests have changed what is not theirs: {', '.join(changed)}"


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory) -> str:
    """A TFDS folder shared by the tests."""
    return str(tmp_path_factory.mktemp("tfds"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data for development, or a skip."""
    folder = Path(os.environ.get("MLP_TEST_DATA", CHECKOUT.parent / "shared" / "data"))
    if not folder.exists():
        pytest.skip(f"no real data at {folder}; name its folder with MLP_TEST_DATA")
    return folder


@pytest.fixture
def mirror(tmp_path):
    """A server with weights of the size of published ones, its address and its folder."""
    from mlp_core.weights.files import write_weight_file  # After JAX has been configured.
    from tests.mlp_vision.weights.made_weights import made_arrays

    folder = tmp_path / "mirror"
    (folder / "gsam").mkdir(parents=True)
    write_weight_file(folder / "gsam" / "Mixer-S_32.npz", made_arrays("mixer_s32", 1000, 224))

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=folder)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", folder
    server.shutdown()


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory, data_dir) -> Path:
    """The folder of a short run on made pictures, with numerics other than the defaults."""
    # Imported here: the devices must be set up first.
    from mlp_vision.tasks import experiment
    from tests.configs.config_files import load

    workdir = tmp_path_factory.mktemp("trained")
    config = load(ROOT / "configs" / "mixer_digits.py", "smoke")
    config.data.data_dir = data_dir
    config.data.value_range = (0.0, 1.0)
    config.data.eval_preset = "resmall_crop"
    config.data.image_size = 32
    config.model.patch_size = 8
    config.train.ema_decay = 0.5
    experiment.train(config, workdir)
    return workdir


@pytest.fixture(scope="session")
def made_files(tmp_path_factory) -> Path:
    """Where the vocabularies and blocks of these runs are kept."""
    return tmp_path_factory.mktemp("made")


@pytest.fixture(scope="session")
def text_run(tmp_path_factory, made_files) -> Path:
    """The folder of a run that has learned to classify made sentences."""
    from mlp_text.tasks import experiment
    from tests.mlp_text.tasks.tiny_experiments import tiny_classification

    workdir = tmp_path_factory.mktemp("text_run")
    experiment.train(tiny_classification(made_files), workdir)
    return workdir


@pytest.fixture(scope="session")
def mlm_run(tmp_path_factory, made_files) -> Path:
    """The folder of a few steps of masked-LM training, with a Toeplitz matrix."""
    from mlp_text.tasks import experiment
    from tests.mlp_text.tasks.tiny_experiments import tiny_masked_lm

    workdir = tmp_path_factory.mktemp("mlm_run")
    experiment.train(tiny_masked_lm(made_files), workdir)
    return workdir
