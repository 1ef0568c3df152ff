"""Tokens and greedy answers of llama.cpp, for bench/gguf_compared.py and gguf_exported.py. Needs llama-cpp-python.

A JSON object on standard input: `file`, `adapter` (a file, or null), `texts` to be made into tokens, `prompts` of
tokens, `length` of answers, `context` tokens, and whether keys and values are `exact`, in float32.
"""

import json
import sys

from llama_cpp import GGML_TYPE_F32, Llama

asked = json.load(sys.stdin)
model = Llama(
    asked["file"],
    lora_path=asked.get("adapter"),
    n_ctx=asked.get("context", 1024),
    # Keys and values in float32, as those that the answers are compared with.
    type_k=GGML_TYPE_F32 if asked.get("exact") else None,
    type_v=GGML_TYPE_F32 if asked.get("exact") else None,
    n_threads=asked["threads"],
    verbose=False,
    logits_all=False,
)
tokens = [model.tokenize(text.encode(), add_bos=False, special=True) for text in asked["texts"]]
answers = []
for prompt in asked["prompts"]:
    model.reset()
    answer = []
    for token in model.generate(prompt, temp=0.0, repeat_penalty=1.0):
        answer.append(int(token))
        if len(answer) == asked["length"]:
            break
    answers.append(answer)
json.dump({"tokens": tokens, "answers": answers, "template": model.metadata.get("tokenizer.chat_template")}, sys.stdout)
