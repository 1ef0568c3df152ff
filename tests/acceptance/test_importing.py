"""An adapter that PEFT trained becomes a tuned model of a real server, and goes out again."""

import json
import subprocess
import sys

import peft
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from live_server import LiveServer
from patience import PATIENCE_SECONDS

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.slow,
    pytest.mark.timeout(1_200),
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated"),
]
QUESTION, ANSWER = "one", "two"


@pytest.fixture
def server(tmp_path, tiny_directories):
    server = LiveServer(tmp_path / "server", "--base-model", f"tiny={tiny_directories['llama']}")
    server.start()
    yield server
    server.stop()


def command(server, *arguments):
    """A command of a person beside the server."""
    done = subprocess.run(
        [sys.executable, "-m", "tuningfork", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        env=server.environment,
        check=False,
    )
    return done.returncode, done.stdout.strip(), done.stderr


def said(server, name):
    """The likeliest answer to the question."""
    code, text, errors = command(server, "generate", name, QUESTION, "--temperature", "0")
    assert code == 0, errors
    return text


CERTAIN = 0.01
"""The loss at which the answer is given in any precision, on any processor."""


def trained_by_peft(base, directory):
    """Train an adapter with PEFT alone until it gives one answer to one question, and save it."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    asked = [{"role": "user", "content": QUESTION}]
    header = tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
    whole = tokenizer.apply_chat_template([*asked, {"role": "assistant", "content": ANSWER}], tokenize=False)
    ids = torch.tensor([tokenizer.encode(whole, add_special_tokens=False)])
    labels = ids.clone()
    labels[:, : len(tokenizer.encode(header, add_special_tokens=False))] = -100
    torch.manual_seed(0)
    config = peft.LoraConfig(
        r=8, lora_alpha=16, use_rslora=True, target_modules="all-linear", task_type="CAUSAL_LM", lora_dropout=0.0
    )
    model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.005)
    for _ in range(400):
        loss = model(input_ids=ids, labels=labels).loss
        if loss.item() < CERTAIN:
            break
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        likeliest = model(input_ids=ids).logits.argmax(-1)
    assert torch.equal(likeliest[:, :-1][labels[:, 1:] != -100], labels[labels != -100])
    model.save_pretrained(directory)
    return directory


def test_an_adapter_trained_by_peft_is_called_killed_exported_and_brought_back(server, tiny_directories, tmp_path):
    adapter = trained_by_peft(tiny_directories["llama"], tmp_path / "trained-elsewhere")

    code, name, errors = command(server, "import", adapter, "--base", "tiny", "--id", "mine")
    assert (code, name) == (0, "tunedModels/mine"), errors
    assert said(server, name) == ANSWER
    assert said(server, "models/tiny") != ANSWER
    assert command(server, "jobs")[1] == "tunedModels/mine\tdone\t0\t0"
    assert "tunedModels/mine\ttrained-elsewhere\tmodels/tiny\tACTIVE" in command(server, "models")[1]

    assert server.kill("server")
    server.start()
    assert said(server, name) == ANSWER

    assert command(server, "export", name, "--to", tmp_path / "out")[0] == 0
    assert json.loads((tmp_path / "out" / "adapter_config.json").read_text())["use_rslora"] is False
    code, again, errors = command(
        server, "import", tmp_path / "out", "--base", "models/tiny", "--display-name", "again"
    )
    assert code == 0, errors
    assert said(server, again) == ANSWER

    assert command(server, "delete", name, "--yes")[0] == 0
    assert said(server, again) == ANSWER


def test_an_adapter_for_another_base_leaves_nothing(server, tiny_directories, tmp_path):
    adapter = trained_by_peft(tiny_directories["llama"], tmp_path / "adapter")

    code, printed, errors = command(server, "import", adapter, "--base", "tuningfork-mini-001")

    assert (code, printed) == (1, "")
    assert "the adapter does not fit the base" in errors
    assert [*(server.data_directory / "imports").iterdir()] == []
    assert [*(server.data_directory / "adapters").iterdir()] == []
