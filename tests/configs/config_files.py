"""The config files, and what they hold."""

import importlib.util

from tests.conftest import ROOT

MODULES = sorted((ROOT / "configs").glob("*.py"))
# An experiment is what the command can load; other modules are what experiments share.
CONFIGS = [path for path in MODULES if "def get_config(arg" in path.read_text()]


def load(path, arg=""):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(arg)
