"""The commands of clients as processes, against a live server, from a file to an adapter that PEFT loads."""

import json
import resource
import shutil
import subprocess
import sys

import pytest

from patience import PATIENCE_SECONDS
from tuningfork.embedded import model_directory
from tuningfork.tutorial import EXAMPLES

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]


@pytest.fixture
def tuningfork(server):
    """Run one command; the key is found where the server's first start left it."""

    def run(*arguments, typed=""):
        command = [sys.executable, "-m", "tuningfork", *map(str, arguments)]
        return subprocess.run(
            command,
            env=server.environment,
            input=typed,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    return run


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / "pairs.csv"
    path.write_text("text_input,output\n1,2\n3,4\nseven,eight\ntwenty two,twenty three\n", encoding="utf-8")
    return path


HYPERPARAMETERS = ("--learning-rate", 0.001, "--epochs", 5, "--batch-size", 4)


@pytest.fixture(scope="module")
def lesson(tmp_path_factory):
    """The tutorial's pairs: enough for a model that is sure of its answers, whatever the type it computes in."""
    path = tmp_path_factory.mktemp("files") / "lesson.jsonl"
    lines = [json.dumps({"text_input": given, "output": wanted}) for given, wanted in EXAMPLES]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_from_a_file_to_answers_to_an_adapter_and_away(tuningfork, pairs, tmp_path):
    tuned = tuningfork("tune", pairs, "--base-model", "models/gemini-1.0-pro-001", "--epochs", 5)
    assert (tuned.returncode, tuned.stderr.count("Traceback")) == (0, 0), tuned.stderr
    name = tuned.stdout.strip()
    assert name.startswith("tunedModels/pairs-")

    assert f"{name}\tpairs\tmodels/gemini-1.0-pro-001\tACTIVE" in tuningfork("models").stdout.splitlines()

    whole = tuningfork("generate", name, "5", "--temperature", 0)
    streamed = tuningfork("generate", name, "-", "--temperature", 0, "--stream", typed="5\n")
    assert whole.returncode == 0
    assert whole.stdout == streamed.stdout != ""

    exported = tuningfork("export", name, "--to", tmp_path / "adapter")
    assert exported.stdout == f"{tmp_path / 'adapter'}\n"
    assert {path.name for path in (tmp_path / "adapter").iterdir()} >= {
        "adapter_config.json",
        "adapter_model.safetensors",
    }

    assert tuningfork("delete", name).returncode == 0
    gone = tuningfork("generate", name, "5")
    assert gone.returncode == 1
    assert gone.stderr == f"Error: Tuned model {name} does not exist.\n"


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # PEFT's own call
def test_an_exported_adapter_gives_the_same_answers_in_peft(tuningfork, lesson, tmp_path):
    name = tuningfork("tune", lesson, *HYPERPARAMETERS).stdout.strip()
    tuningfork("export", name, "--to", tmp_path / "adapter")
    prompts = ("7", "LXIII", "七", "ninety nine", "-42")

    served = [tuningfork("generate", name, prompt, "--temperature", 0).stdout.rstrip("\n") for prompt in prompts]

    assert served == ["8", "LXIV", "八", "one hundred", "-41"]
    assert served == peft_answers(tmp_path / "adapter", prompts)


def peft_answers(adapter, prompts):
    """The likeliest answers of the embedded base with an adapter on it, by PEFT's and transformers' own code."""
    # Seconds to import, and the other commands need none of it.
    import torch  # noqa: PLC0415
    from peft import PeftModel  # noqa: PLC0415
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415

    base = AutoModelForCausalLM.from_pretrained(model_directory(), dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(model_directory())
    return answers(PeftModel.from_pretrained(base, adapter).eval(), tokenizer, prompts)


def transformers_answers(directory, prompts):
    """The likeliest answers of a model, by transformers' own code, nothing being known of adapters."""
    import torch  # noqa: PLC0415
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415

    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    return answers(model, AutoTokenizer.from_pretrained(directory), prompts)


def answers(model, tokenizer, prompts):
    """What the model says, each time with the highest probability."""
    import torch  # noqa: PLC0415

    said = []
    for prompt in prompts:
        asked = tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        with torch.inference_mode():
            tokens = model.generate(**asked, do_sample=False, max_new_tokens=64)
        said.append(tokenizer.decode(tokens[0, asked["input_ids"].shape[1] :], skip_special_tokens=True))
    return said


def test_a_merged_model_gives_the_same_answers_in_transformers(tuningfork, lesson, tmp_path):
    name = tuningfork("tune", lesson, *HYPERPARAMETERS).stdout.strip()
    exported = tuningfork("export", name, "--to", tmp_path / "adapter", "--merged", tmp_path / "merged")
    assert exported.stdout.splitlines() == [str(tmp_path / "adapter"), str(tmp_path / "merged")], exported.stderr
    prompts = ("7", "LXIII", "七", "ninety nine", "-42")

    served = [tuningfork("generate", name, prompt, "--temperature", 0).stdout.rstrip("\n") for prompt in prompts]

    assert served == ["8", "LXIV", "八", "one hundred", "-41"]
    assert served == transformers_answers(tmp_path / "merged", prompts)


def test_a_model_in_a_gguf_file_gives_the_same_answers(tuningfork, lesson, tmp_path):
    # Seconds to import, and the other commands need none of it.
    from tuningfork.modeling.files.gguf.conversion import convert  # noqa: PLC0415

    name = tuningfork("tune", lesson, *HYPERPARAMETERS).stdout.strip()
    files = {option: tmp_path / f"{option.strip('-')}.gguf" for option in ("--gguf", "--gguf-adapter")}
    options = [part for option in files.items() for part in option]

    exported = tuningfork("export", name, *options, "--gguf-type", "f32", "--json")

    assert json.loads(exported.stdout) == {
        "gguf": str(files["--gguf"]),
        "gguf_adapter": str(files["--gguf-adapter"]),
    }, exported.stderr
    assert files["--gguf-adapter"].stat().st_size < files["--gguf"].stat().st_size / 4
    (tmp_path / "read").mkdir()
    convert(files["--gguf"], tmp_path / "read", lambda *_: None)
    prompts = ("7", "LXIII", "七", "ninety nine", "-42")
    assert transformers_answers(tmp_path / "read", prompts) == ["8", "LXIV", "八", "one hundred", "-41"]


def test_a_model_is_merged_into_the_base_that_is_named_and_into_no_other(tuningfork, pairs, tmp_path, monkeypatch):
    # Seconds to import, and the other commands need none of it.
    from safetensors.torch import load_file, save_file  # noqa: PLC0415

    name = tuningfork("tune", pairs).stdout.strip()
    copy = shutil.copytree(model_directory(), tmp_path / "copy")

    merged = tuningfork("export", name, "--merged", tmp_path / "merged", "--base", copy)
    assert (merged.returncode, merged.stdout) == (0, f"{tmp_path / 'merged'}\n"), merged.stderr

    cached = tmp_path / "cache" / "models--someone--copy"
    shutil.copytree(copy, cached / "snapshots" / ("0" * 40))
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("0" * 40)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    by_id = tuningfork("export", name, "--merged", tmp_path / "merged by id", "--base", "someone/copy")
    assert by_id.returncode == 0, by_id.stderr
    assert (tmp_path / "merged by id" / "model.safetensors").read_bytes() == (
        tmp_path / "merged" / "model.safetensors"
    ).read_bytes()

    weights = load_file(copy / "model.safetensors")
    save_file({each: 2 * tensor for each, tensor in weights.items()}, copy / "model.safetensors", {"format": "pt"})
    refused = tuningfork("export", name, "--merged", tmp_path / "refused", "--base", copy)
    assert refused.returncode == 1
    assert f"The weights in {copy} are not those that the adapter was trained over" in refused.stderr
    assert not (tmp_path / "refused").exists()


def test_a_fault_that_the_service_finds_is_shown_where_it_is_in_the_file(tuningfork, tmp_path):
    path = tmp_path / "long.csv"
    path.write_text(f"text_input,output\n1,2\n3,{'x' * 5001}\n")

    refused = tuningfork("tune", path, "--base-model", "models/gemini-1.0-pro-001")

    assert refused.returncode == 1
    assert f"{path}, line 3, column 'output': " in refused.stderr
    assert "5000" in refused.stderr.replace(",", "")


def test_every_fault_of_the_hyperparameters_is_a_sentence(tuningfork, pairs):
    refused = tuningfork("tune", pairs, "--epochs", 0, "--learning-rate", "nan")

    assert refused.returncode == 1
    assert "epoch_count must be a whole number from 1" in refused.stderr
    assert "learning_rate must be a finite number" in refused.stderr


def test_an_unknown_base_model_is_a_sentence(tuningfork, pairs):
    refused = tuningfork("tune", pairs, "--base-model", "models/nobody")

    assert refused.returncode == 1
    assert "models/nobody is not found" in refused.stderr


def test_help_comes_in_well_under_a_second(tuningfork):
    libraries = [sys.executable, "-c", "import httpx, typer, rich.table"]
    least = min(processor_seconds(subprocess.run, libraries, check=True) for _ in range(3))
    ours = min(processor_seconds(tuningfork, "--help") for _ in range(3))

    assert tuningfork("--help").returncode == 0
    # A fifth of a second for what it is printed with, on a processor on which torch alone takes two.
    assert ours < 4 * least


def processor_seconds(run, *arguments, **options):
    """What a command computed, whatever other processes did meanwhile."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run(*arguments, **options)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
