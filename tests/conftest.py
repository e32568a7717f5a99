"""Eight CPU devices, a cache and data folder of the tests' own, strict ranks."""

import os
import tempfile
from pathlib import Path

import jax
import pytest

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session", autouse=True)
def own_folders(tmp_path_factory):
    """Keeps tests away from the user's caches and data sets; compiled programs are kept."""
    programs = Path(tempfile.gettempdir()) / "all-mlp-test-programs"
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(programs)
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"
    jax.config.update("jax_compilation_cache_dir", str(programs))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory) -> str:
    """A TFDS folder shared by the tests."""
    return str(tmp_path_factory.mktemp("tfds"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data for development, or a skip."""
    folder = Path(os.environ.get("MLP_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.exists():
        pytest.skip(f"no real data at {folder}; name its folder with MLP_TEST_DATA")
    return folder
