"""What the documents tell is so: commands, flags, fields, links and files are real."""

import ast
import importlib
import json
import os
import re
import subprocess
import sys

import pytest

from tests import documents
from tests.conftest import ROOT

TEXTS = {str(file.relative_to(ROOT)): file.read_text() for file in documents.FILES}
# One of each kind; a field that a document names alone must be one of some kind of experiment.
KINDS = ("mixer_b16_cifar100", "gmlp_cifar10_scratch", "gmlp_mlm_c4", "gmlp_bert_sst2")
GROUPS = (
    "augment|bert|checkpoint|data|evaluation|init|log|loss|masking|model|optimizer|schedule|"
    "sharding|tokenizer|train"
)
FIELD = re.compile(rf"(?:config\.)?((?:{GROUPS})\.[a-z]\w*(?:\.\w+)*)(=\S+)?")
FILE_ENDINGS = ("npz", "safetensors", "stablehlo", "tsv", "csv", "json", "jsonl")
QUICK = {  # What makes the two runs of the documents short, for those that use them.
    "mixer_digits": (
        "--config.train.duration=20 steps",
        "--config.schedule.warmup=2 steps",
        "--config.train.global_batch_size=32",
    ),
    "gmlp_mlm_python": (
        "--config.train.duration=10 steps",
        "--config.schedule.warmup=2 steps",
        "--config.train.global_batch_size=8",
    ),
}


def problems_of(commands):
    """What is wrong with each of the commands, which begin with their file in launch/."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.documented_commands"],
        input=json.dumps(commands),
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def all_commands():
    return [(name, c) for name, text in TEXTS.items() for c in documents.shell_commands(text)]


def launched(words):
    """A command as `problems_of` takes it; None for one that is none of launch/."""
    if words[0] == "sbatch":
        script = words.index("launch/slurm.sbatch")
        return ["launch/main.py", *words[script + 1 :]]
    is_ours = words[0] == "python" and words[1].startswith("launch/")
    return words[1:] if is_ours and words[1] != "launch/COMMAND.py" else None


def test_every_command_of_launch_is_one_that_its_own_parsing_takes():
    found = [(name, launched(words)) for name, words in all_commands()]
    found = [(name, words) for name, words in found if words]
    assert len(found) > 60
    problems = problems_of([words for _, words in found])
    wrong = [(*f, p) for f, p in zip(found, problems, strict=True) if p is not None]
    assert not wrong
    used = {words[0] for _, words in found}
    commands = {f"launch/{path.name}" for path in (ROOT / "launch").glob("*.py")}
    not_commands = {
        "__init__",
        "command",
        "config_files",
        "config_flag",
        "experiments",
        "hosts_flags",
    }
    assert used == commands - {f"launch/{n}.py" for n in (*not_commands, "weights_flag")}


def test_every_other_command_is_of_a_program_and_a_file_that_are_there():
    for name, words in all_commands():
        if launched(words) or words[0] in documents.PROGRAMS_OF_OTHERS:
            continue
        if words[:2] == ["pip", "install"]:
            extra = re.search(r"\[(\w+)\]", words[-1])
            assert words[2] == "-e" and words[-1].startswith("."), (name, words)
            assert not extra or f'"{extra.group(1)}": [' in (ROOT / "setup.py").read_text()
        elif words[1].startswith("benchmarks/"):
            source = (ROOT / words[1]).read_text()
            flags = [word.split("=")[0] for word in words if word.startswith("--")]
            assert all(f'"{flag}"' in source for flag in flags), (name, words)
        else:
            assert words[:3] in (["python", "-m", "pytest"], ["python", "launch/COMMAND.py",
                                 "--help"]), (name, words)  # fmt: skip


def test_fields_and_flags_that_are_named_alone_are_some_experiment_s_or_some_command_s():
    settings = {}  # Flags of fields, as they are given together: where they are named.
    sources = "".join(path.read_text() for path in (ROOT / "launch").glob("*.py"))
    known = set(re.findall(r'DEFINE_\w+\(\s*"(\w+)"', sources)) | {"help"}
    for name, text in TEXTS.items():
        for span in documents.code_spans(text):
            field = FIELD.fullmatch(span)
            if span.startswith("--config."):
                (words,) = documents.shell_commands(f"```bash\n{span}\n```")
                settings.setdefault(tuple(words), name)
            elif field and field.group(1).split(".")[1] not in FILE_ENDINGS:
                value = field.group(2)
                flag = f"--config.{field.group(1)}{value}" if value else f"{field.group(1)}?"
                settings.setdefault((flag,), name)
            elif flag := re.match(r"--(\w+)", span):
                assert flag.group(1) in known | {"config"}, f"{name}: no command has {span}"
    assert len(settings) > 40
    alone = [words for words in settings if words[0].endswith("?")]
    given = [words for words in settings if words not in alone]
    tried = [(words, kind) for words in given for kind in kinds_with(words[0])]
    problems = problems_of(
        [["launch/main.py", f"--config=configs/{kind}.py", *words] for words, kind in tried]
    )
    good = {words for (words, _), problem in zip(tried, problems, strict=True) if not problem}
    wrong = set(given) - good
    assert not wrong, [(settings[words], words) for words in wrong]
    for (field,) in alone:
        assert kinds_with(field), f"{settings[(field,)]}: {field}"


def kinds_with(flag):
    """Kinds of experiment that have the field of a flag: one, or of fields of models all."""
    field = re.split("[=?]", flag.removeprefix("--config."))[0]
    kinds = [kind for kind in KINDS if has_field(kind, field)]
    return kinds if field.startswith("model.") else kinds[:1]


def has_field(kind, field):
    value = importlib.import_module(f"configs.{kind}").get_config()
    for part in field.split("."):
        if part not in value:
            return False
        value = value[part]
    return True


def test_texts_behind_a_config_s_colon_are_known_to_it():
    named = {v: name for name, text in TEXTS.items() for v in documents.config_variants(text)}
    assert len(named) > 10
    problems = problems_of([["launch/main.py", f"--config={variant}"] for variant in named])
    assert not {v: p for v, p in zip(named, problems, strict=True) if p}


def test_files_of_code_that_are_named_are_there():
    folders = [path for path in ROOT.iterdir() if path.is_dir()]
    there = [str(p.relative_to(ROOT)) for folder in folders for p in folder.glob("**/*.py")]
    for name, text in TEXTS.items():
        for file in documents.code_files(text):
            file = file.removeprefix("../")
            found = any(ROOT.glob(file)) or any(f"/{path}".endswith(f"/{file}") for path in there)
            assert found, f"{name}: there is no {file}"


def test_links_lead_somewhere():
    every = [(name, target) for name, text in TEXTS.items() for target in documents.links(text)]
    assert not [link for link in every if not leads_somewhere(*link)]


def leads_somewhere(name, target):
    path, _, anchor = target.partition("#")
    file = (ROOT / name).parent / path if path else ROOT / name
    page = file / "README.md" if file.is_dir() else file
    return file.exists() and (not anchor or anchor in documents.anchors(page.read_text()))


def test_footnotes_are_there_and_are_referred_to():
    for name, text in TEXTS.items():
        defined = set(re.findall(r"^\[\^(\d+)\]:", text, re.MULTILINE))
        assert defined == set(re.findall(r"(?<!\n)\[\^(\d+)\]", text)), name


def test_every_page_can_be_reached_from_the_readme():
    pages = {name for name in TEXTS if name != "README.md"}
    assert pages <= {target.partition("#")[0] for target in documents.links(TEXTS["README.md"])}


def test_python_of_the_documents_names_what_our_packages_have():
    count = 0
    for name, text in TEXTS.items():
        for block in documents.blocks(text, "python"):
            tree = ast.parse(block)
            for node in ast.walk(tree):
                if isinstance(node, ast.ImportFrom):
                    module = importlib.import_module(node.module)
                    assert all(hasattr(module, alias.name) for alias in node.names), (name, block)
                    count += 1
                owner = ast.unparse(node.value) if isinstance(node, ast.Attribute) else ""
                if re.fullmatch(r"mlp_\w+", owner):
                    module = importlib.import_module(owner)
                    assert hasattr(module, node.attr), (name, ast.unparse(node))
                    count += 1
    assert count > 5


@pytest.fixture(scope="module")
def small_runs(tmp_path_factory):
    """A folder like a clone of the project, with short versions of the documents' two runs."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("benchmarks", "configs", "launch", "tests"):
        (folder / name).symlink_to(ROOT / name)
    for config, changes in QUICK.items():
        run_here(folder, ["launch/main.py", f"--config=configs/{config}.py", *changes])
    return folder


def run_here(folder, words):
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"{words}:\n{done.stderr}"
    return done.stdout


@pytest.mark.rare
def test_commands_on_the_two_small_runs_do_what_they_say(small_runs):
    names = "|".join(QUICK)
    trains = ("launch/main.py", "launch/sweep.py")
    commands = [
        tuple(words)
        for words in (launched(words) for _, words in all_commands())
        if words and words[0] not in trains and re.search(names, " ".join(words))
    ]
    assert len(set(commands)) > 10
    for words in dict.fromkeys(commands):
        told = run_here(small_runs, words)
        outputs = [word.split("=")[1] for word in words if word.startswith("--output=")]
        assert told.strip() and all((small_runs / output).exists() for output in outputs)
    run_here(small_runs, ["launch/report.py"])
    assert "mixer_digits" in (small_runs / "report.html").read_text()


@pytest.mark.rare
def test_python_on_the_two_small_runs_runs(small_runs):
    blocks = [
        block
        for text in TEXTS.values()
        for block in documents.blocks(text, "python")
        if re.search("|".join(QUICK), block)
    ]
    assert len(blocks) == 2
    for block in blocks:
        run_here(small_runs, ["-c", block])
