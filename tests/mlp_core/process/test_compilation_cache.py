"""The cache of compiled programs."""

import shutil
import warnings

import jax
import pytest
from jax._src import compilation_cache as jax_cache

from mlp_core.process.compilation import enable_compilation_cache


@pytest.fixture
def cache_in():
    """Moves JAX's cache to a directory; returns it to where it was."""
    before = jax.config.jax_compilation_cache_dir
    seconds = jax.config.jax_persistent_cache_min_compile_time_secs

    def move(directory):
        jax.config.update("jax_compilation_cache_dir", str(directory))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        jax_cache.reset_cache()

    yield move
    move(before)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", seconds)


def test_a_cache_that_cannot_be_written_costs_one_note_and_no_result(
    cache_in, tmp_path, capsys, monkeypatch
):
    others = []
    monkeypatch.setattr(warnings, "showwarning", lambda message, *_: others.append(str(message)))
    warnings.simplefilter("always")
    enable_compilation_cache()
    directory = tmp_path / "programs"
    cache_in(directory)
    jax.jit(lambda x: x + 3)(1)
    shutil.rmtree(directory)
    directory.write_text("a file")
    for i in range(3):
        assert jax.jit(lambda x, i=i: x * 7 + i)(1) == 7 + i
    warnings.warn("another", stacklevel=1)
    (note,) = capsys.readouterr().err.splitlines()
    assert note.startswith(f"Note: {directory} cannot hold compiled programs ([Errno 20] Not a dir")
    assert others == ["another"]
