"""What a config file may get wrong."""

import pytest

from launch.config_files import load, what_is_wrong
from mlp_core.errors import UserError

GET = 'def get_config(arg=""):\n    '
FIELD = "from configs.mixer_digits import get_config as base\n" + GET + "config = base()\n    "

WRONG = {
    "no get_config": ("x = 1\n", "it defines no function get_config"),
    "empty": ("", "it defines no function get_config"),
    "no function": ("get_config = 5\n", "TypeError: 'int' object is not callable"),
    "nothing returned": (GET + "pass\n", "get_config returns NoneType, not a ConfigDict"),
    "a number": (GET + "return 5\n", "get_config returns int, not a ConfigDict"),
    "a dictionary": (GET + "return {'seed': 1}\n", "get_config returns dict, not a ConfigDict"),
    "an exit": ("import sys\nsys.exit(3)\n", "it ends the program"),
    "an exit later": (GET + "raise SystemExit\n", "it ends the program"),
    "an error": (GET + "raise RuntimeError('no')\n", "line 2: RuntimeError: no"),
    "an import": ("import no_such_module\n", "line 1: ModuleNotFoundError"),
    "syntax": ("def f(:\n", "line 1: SyntaxError"),
    "another encoding": ("# -*- coding: nonsense -*-\n", "unknown encoding: nonsense"),
    "null bytes": ("\0", "null bytes"),
    "JSON": ('{"task": 1}\n', "it defines no function get_config"),
    "a tuple": (FIELD + "config.data.image_size = (16, 32)\n    return config\n", "image_size"),
    "a group": (FIELD + "config.data = 5\n    return config\n", "'data'"),
    "a number as name": (
        FIELD + "config.data.eval_splits = {1: 'test'}\n    return config\n",
        "1 is no name of a field",
    ),
}


@pytest.mark.parametrize("text, message", WRONG.values(), ids=WRONG.keys())
def test_a_file_that_gives_no_config_is_refused_in_a_sentence(tmp_path, text, message):
    file = tmp_path / "own.py"
    file.write_text(text)
    with pytest.raises(UserError) as refused:
        load(str(file))
    sentence = str(refused.value)
    assert message in sentence and str(file) in sentence and len(sentence.splitlines()) == 1


NO_FILES = {
    "missing.py": "No such file or directory",
    ".": "Is a directory",
    "": "empty",
    "loop.py": "symbolic links",
}


@pytest.mark.parametrize("name, reason", NO_FILES.items())
def test_what_is_no_file_is_refused_with_the_reason(tmp_path, monkeypatch, name, reason):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop.py").symlink_to("loop.py")
    with pytest.raises(UserError) as refused:
        load(name)
    assert reason in str(refused.value) and len(str(refused.value).splitlines()) == 1


def test_an_exit_on_the_command_line_names_the_flag():
    assert what_is_wrong(SystemExit(3), [], "--config").startswith("--config: it ends the program")
