"""Loads models, and an adapter on its base, with transformers 4 and PEFT; prints token ids and logits.

torch and PEFT come from another environment, whose packages are only looked at after this one's.
"""

import json
import os
import sys

sys.path.append(os.environ["FURTHER_PACKAGES"])

import peft
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

TEXT = os.environ["TEXT"]


def seen(directory, adapter=None):
    tokenizer = AutoTokenizer.from_pretrained(directory)
    model, report = AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    if adapter is not None:
        model = peft.PeftModel.from_pretrained(model, adapter)
    ids = tokenizer(TEXT).input_ids
    with torch.no_grad():
        logits = model.eval()(torch.tensor([ids])).logits[0]
    turns = [{"role": "user", "content": TEXT}]
    return {
        "ids": ids,
        "decoded": tokenizer.decode(ids),
        "chat": tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True),
        "special": sorted(tokenizer.all_special_tokens),
        "missing": sorted(report["missing_keys"]),
        "logits": [logits[-1].tolist(), logits[len(ids) // 2].tolist()],
    }


models = json.loads(os.environ["MODELS"])
base, adapter = os.environ["BASE"], os.environ["ADAPTER"]
found = {name: seen(directory) for name, directory in models.items()}
print(json.dumps({"release": transformers.__version__, "models": found, "adapted": seen(base, adapter)}))
