"""What `tuningfork export` makes is read by transformers 4.57 as it is by transformers 5: same tokens, same logits."""

import json
import sysconfig
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from contract.environments import PythonEnvironment
from family_models import save_family
from tiny_models import trained_looking
from tuningfork.catalog import EMBEDDED_MODEL
from tuningfork.domain.base_model import AdapterShape, BaseModel, BaseModelName
from tuningfork.embedded import model_directory
from tuningfork.modeling.adapters import format as adapter_format
from tuningfork.modeling.loading import load_base
from tuningfork.modeling.merging import merge

ENVIRONMENT = PythonEnvironment("transformers-4.57.6")
FAMILIES = ("llama3", "smollm3", "qwen2", "qwen3-tied", "gemma2", "gemma3", "mistral", "phi3", "phi4-mini", "phi")
TEXT = "twenty two 22\n\nthe one  LXIII - \u6771\u4eac x"
SHAPE = AdapterShape(rank=4, alpha=8.0)


def merged(base: BaseModel, directory: Path, target: Path) -> Path:
    """A model exported with an adapter that changes every layer; the adapter is kept beside it."""
    loaded = load_base(base, dtype=torch.float32)
    adapter_format.save(target / "adapter", trained_looking(loaded.slots, SHAPE, seed=1), base.exported_name)
    merge(directory, target / "adapter", target / "merged")
    return target / "merged"


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Where the merged models are, by family."""
    made = tmp_path_factory.mktemp("exported")
    found = {"embedded": merged(EMBEDDED_MODEL, model_directory(), made / "embedded")}
    for name in FAMILIES:
        directory = save_family(name, made / name / "base")
        base = BaseModel(
            name=BaseModelName(f"models/{name}"), location=str(directory), display_name=name, context_tokens=512
        )
        found[name] = merged(base, directory, made / name)
    return found


def expected(directory):
    """As transformers 5 has it."""
    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager").eval()
    ids = tokenizer(TEXT).input_ids
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0]
    turns = [{"role": "user", "content": TEXT}]
    told = {
        "ids": ids,
        "decoded": tokenizer.decode(ids),
        "chat": tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True),
        "missing": [],
    }
    return told, torch.stack([logits[-1], logits[len(ids) // 2]])


def test_exports_are_read_by_transformers_4_as_by_transformers_5(told, exported):
    seen = told(
        ENVIRONMENT,
        "transformers_4/load.py",
        FURTHER_PACKAGES=sysconfig.get_path("purelib"),
        TEXT=TEXT,
        MODELS=json.dumps({name: str(directory) for name, directory in exported.items()}),
        BASE=str(model_directory()),
        ADAPTER=str(exported["embedded"].parent / "adapter"),
        OMP_NUM_THREADS="1",
    )

    assert seen["release"] == "4.57.6"
    for name, directory in exported.items():
        wanted, logits = expected(directory)
        found = seen["models"][name]
        assert {key: found[key] for key in wanted} == wanted, name
        torch.testing.assert_close(torch.tensor(found["logits"]), logits, atol=1e-4, rtol=1e-4, msg=name)
    # The embedded model is stored in bfloat16, to which merging rounds.
    wanted, logits = expected(exported["embedded"])
    adapted = seen["adapted"]
    assert {key: adapted[key] for key in wanted} == wanted
    torch.testing.assert_close(torch.tensor(adapted["logits"]), logits, atol=0.3, rtol=0.05)
