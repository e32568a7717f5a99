"""The directory of a run: its configuration, and checks that it holds a single experiment."""

import dataclasses
import json
import os
import platform
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from mlp_core.errors import UserError
from mlp_core.nn.parameters import flatten
from mlp_core.process.console import say
from mlp_core.process.files import lock, open_lock_file, read_json, write_whole
from mlp_core.process.user_paths import check_utf8
from mlp_core.run_folder import checkpoint_folder
from mlp_core.urls import masked_values

# Fields that do not distinguish runs: a sweep's member equals the same run on its own, batches do
# not depend on the loader, nor updates on how devices share the work, and ReaL labels only affect
# evaluation.
NOT_OF_THE_RUN = (
    *("sweep/", "sharding/", "data/num_workers", "data/real_labels"),
    *(f"train/{name}" for name in ("grad_accum_steps", "scan_layers", "remat", "stall_limit")),
)

TFDS_NAME = re.compile(r"\w+(/\w+)?(:[\d.*]+)?")

# Fields that locate and select the data. If a run has a record of its data (`data_record`), that
# record decides whether they are the same, independent of paths.
DATA_FIELDS = (
    *(f"data/{name}" for name in ("name", "data_dir", "made_files_dir", "train_split")),
    *("data/eval_splits/", "tokenizer/path"),
)

# Fields that may hold a path, compared as absolute paths.
PATH_FIELDS = (*DATA_FIELDS, "init/weights", "init/mirror", "bert/weights")


@dataclasses.dataclass(frozen=True)
class RunFiles:
    """The files of a run in its directory."""

    config: Path
    data: Path  # The record of its data, see `data_record`; missing in runs of earlier versions.
    model: Path
    parameters: Path
    checkpoints: Path
    metrics: Path
    tensorboard: Path
    environment: Path  # The environments that it has run in.
    results: Path  # Only if the run is finished.
    stalled: Path  # Only if the run timed out waiting.

    @classmethod
    def of(cls, workdir: Path) -> "RunFiles":
        """Returns the paths, whether or not they exist yet."""
        return cls(
            config=workdir / "config.json",
            data=workdir / "data.json",
            model=workdir / "model.json",
            parameters=workdir / "parameters.txt",
            checkpoints=workdir / "checkpoints",
            metrics=workdir / "metrics.jsonl",
            tensorboard=workdir / "tensorboard",
            environment=workdir / "environment.json",
            results=workdir / "results.json",
            stalled=workdir / "stalled.txt",
        )


def saved_steps(workdir: Path) -> list[int]:
    """Returns the steps for which the run in `workdir` has a checkpoint, in order."""
    return checkpoint_folder.saved_steps(RunFiles.of(workdir).checkpoints)


def has_checkpoint(workdir: Path) -> bool:
    """Whether `workdir` holds a run that can be resumed."""
    return bool(saved_steps(workdir))


def check_run_directory(
    workdir: Path, config: ConfigDict, allow_changed_data: bool = False
) -> None:
    """Creates `workdir` if needed and checks that it is writable and of this experiment.

    A run without a checkpoint may be replaced. `data_record.check_same_data` compares the data,
    independent of their path; for a run without a record, the fields that name them must be the
    same, unless `allow_changed_data`.

    Raises:
        UserError: it is not writable, or holds a run with another configuration.
    """
    check_writable(workdir)
    checkpoints = RunFiles.of(workdir).checkpoints
    if checkpoints.exists() and not checkpoints.is_dir():
        raise UserError(f"{checkpoints}: this is no folder; name another --workdir.")
    differences = differences_but_in_data(workdir, config, allow_changed_data)
    if differences:
        raise UserError(
            f"--workdir={workdir}: a run with another configuration lies there; name another "
            "--workdir, or set these back:\n  " + "\n  ".join(differences)
        )


def check_writable(workdir: Path) -> None:
    """Creates `workdir` if needed and checks that it is writable.

    Raises:
        UserError: it is not writable.
    """
    if "://" in str(workdir):
        raise UserError(f"--workdir={workdir}: only folders of this machine can be written.")
    check_utf8(workdir, "--workdir=")
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=workdir):
            pass
    except OSError as error:
        raise UserError(
            f"--workdir={workdir}: cannot write there ({error.strerror}); name another folder."
        ) from error


def differences_to_run(workdir: Path, config: ConfigDict) -> list[str]:
    """Returns lines like `config.seed: 0 there, 1 now`; empty if there is no run to resume.

    Raises:
        UserError: the configuration there cannot be read.
    """
    if not has_checkpoint(workdir):
        return []
    return _lines(*_compared(read_config(workdir), _as_json(config)))


def differences_but_in_data(
    workdir: Path, config: ConfigDict, allow_changed_data: bool = False
) -> list[str]:
    """Same as `differences_to_run`, without the fields covered by the run's data record.

    With `allow_changed_data`, they are left out even if there is no record.
    """
    if not has_checkpoint(workdir):
        return []
    there, now = _compared(read_config(workdir), _as_json(config))
    has_record = RunFiles.of(workdir).data.exists() and not _name_other_data_sets(there, now)
    if has_record or allow_changed_data:
        there, now = (_without(values, DATA_FIELDS) for values in (there, now))
    return _lines(there, now)


def differences_in_data_fields(workdir: Path, config: ConfigDict) -> list[str]:
    """Returns the rest of `differences_to_run`: the fields that locate and select the data."""
    there, now = (
        {name: value for name, value in values.items() if name.startswith(DATA_FIELDS)}
        for values in _compared(read_config(workdir), _as_json(config))
    )
    return _lines(there, now)


def read_config(workdir: Path) -> dict[str, Any]:
    """Reads the configuration of the run in `workdir`.

    Raises:
        UserError: it cannot be read.
    """
    saved_file = RunFiles.of(workdir).config
    try:
        return masked_values(_read_object(saved_file))  # Older runs stored secrets.
    except (OSError, ValueError) as error:
        raise UserError(
            f"{saved_file}: not readable as JSON ({error}); mend it, or name another folder."
        ) from error


@contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Locks `workdir` against other runs on this machine; a killed process releases its lock.

    Raises:
        UserError: another run is using it, or the lock cannot be written.
    """
    if jax.process_index() != 0:  # Host 0 locks for all.
        yield
        return
    with locked_on_this_host(workdir):
        yield


@contextmanager
def locked_on_this_host(workdir: Path) -> Iterator[None]:
    """Same as `locked`, for a process that does not use the devices."""
    try:
        opened = open_lock_file(workdir / ".lock")
    except OSError as error:
        raise UserError(
            f"--workdir={workdir}: its file .lock cannot be written ({error.strerror}), as in a "
            "folder of another user's; name another folder."
        ) from error
    with opened as file:
        try:
            if not lock(file):
                say(
                    f"Note: --workdir={workdir}: this file system has no locks; see to it that no "
                    "other run works there."
                )
        except BlockingIOError as error:
            raise UserError(
                f"--workdir={workdir}: another run is at work there; wait for it, or name another "
                "folder."
            ) from error
        yield


def save_config(workdir: Path, config: ConfigDict) -> None:
    """Writes `config.json` and deletes the results of an earlier run that finished there."""
    files = RunFiles.of(workdir)
    if jax.process_index() == 0 and not has_checkpoint(workdir):
        files.results.unlink(missing_ok=True)
    write_on_first_host(files.config, _in_lines(_as_json(config)))


def save_results(workdir: Path, results: dict[str, float]) -> None:
    """Writes `results.json`: the last evaluation of a finished run."""
    write_on_first_host(RunFiles.of(workdir).results, _in_lines(results))


def read_results(workdir: Path, config: ConfigDict) -> dict[str, float] | None:
    """Reads the results in `workdir` of a run of `config`; None if it has not finished.

    Raises:
        UserError: a file there cannot be read.
    """
    file = RunFiles.of(workdir).results
    if not has_checkpoint(workdir) or not file.exists() or differences_to_run(workdir, config):
        return None
    return read_finished_results(workdir)


def read_finished_results(workdir: Path) -> dict[str, float] | None:
    """Reads the results in `workdir` of any run; None if none has finished there.

    Raises:
        UserError: they cannot be read.
    """
    file = RunFiles.of(workdir).results
    try:
        return _read_object(file) if file.exists() else None
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: not readable as JSON ({error}); delete it.") from error


def note_environment(workdir: Path) -> None:
    """Records the current environment in `environment.json` if it has changed."""
    devices = jax.devices()
    here = {
        "device_kind": devices[0].device_kind,
        "devices": len(devices),
        "hosts": jax.process_count(),
        "cpus": os.cpu_count(),
        "jax": jax.__version__,
        "python": platform.python_version(),
    }
    before = read_environments(workdir) if has_checkpoint(workdir) else []
    if before[-1:] != [here]:
        content = {"environments": [*before, here]}
        write_on_first_host(RunFiles.of(workdir).environment, _in_lines(content))


def read_environments(workdir: Path) -> list[dict[str, Any]]:
    """Reads the environments of the run in `workdir`, in order; empty for older runs."""
    try:
        environments = _read_object(RunFiles.of(workdir).environment).get("environments")
    except (OSError, ValueError):  # A damaged file does not stop a run.
        return []
    return (
        [e for e in environments if isinstance(e, dict)] if isinstance(environments, list) else []
    )


def hardware_in_words(environments: Sequence[Mapping[str, Any]]) -> str:
    """Formats the devices of `read_environments`: "8 x TPU v3"."""
    kinds = [f"{e.get('devices')} x {e.get('device_kind')}" for e in environments]
    return ", then ".join(dict.fromkeys(kinds))


def write_on_first_host(target: Path, text: str) -> None:
    """Writes a small file of a run atomically."""
    if jax.process_index() == 0:
        write_whole(target, text)


def _read_object(file: Path) -> dict[str, Any]:
    content = read_json(file)
    if not isinstance(content, dict):
        raise ValueError("not an object with fields")
    return content


def _in_lines(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2) + "\n"


def _as_json(config: ConfigDict) -> dict[str, Any]:
    """Returns the configuration as stored: without secrets in URLs, as others may read it."""
    return masked_values(json.loads(json.dumps(config.to_dict())))


def _compared(*configs: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    """Returns the fields that distinguish runs, as {slash-separated name: value}.

    An unset or empty field equals one that an older run does not have.
    """
    return tuple(
        {
            name: _absolute(value) if name.startswith(PATH_FIELDS) else value
            for name, value in _without(flatten(values), NOT_OF_THE_RUN).items()
            if value not in (None, [])
        }
        for values in configs
    )


def _absolute(value: str | None) -> str | None:
    """Returns the absolute path if it exists on disk, else the value, such as a published name."""
    path = os.path.abspath(os.path.expanduser(value)) if value else None
    return path if path and os.path.exists(path) else value


def _without(values: Mapping[str, Any], prefixes: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if not name.startswith(prefixes)}


def _name_other_data_sets(there: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether two TFDS names (not paths) name different datasets, known without a download."""
    names = [values.get("data/name") for values in (there, now)]
    if any(name is None or not TFDS_NAME.fullmatch(name) or Path(name).exists() for name in names):
        return False
    return names[0].split(":")[0] != names[1].split(":")[0]


def _lines(there: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Returns lines like `config.seed: 0 there, 1 now`."""
    return lines_of_differences(by_field(there), by_field(now), "now")


def by_field(values: Mapping[str, Any]) -> dict[str, Any]:
    """Converts {slash-separated name: value} to {config.train.duration: value}."""
    return {f"config.{name.replace('/', '.')}": value for name, value in values.items()}


def lines_of_differences(there: Mapping[str, Any], here: Mapping[str, Any], word: str) -> list[str]:
    """Returns lines like `config.seed: 0 there, 1 now`, where `word` is "now"."""
    absent = "(not set)"
    pairs = ((n, there.get(n, absent), here.get(n, absent)) for n in sorted(there.keys() | here))
    return [f"{n}: {json.dumps(a)} there, {json.dumps(b)} {word}" for n, a, b in pairs if a != b]
