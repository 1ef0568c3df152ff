"""Tokens and greedy answers of llama.cpp, for bench/gguf_compared.py. Needs llama-cpp-python and nothing of ours.

A JSON object on standard input: `file`, `texts` to be made into tokens, `prompts` of tokens, `length` of answers.
"""

import json
import sys

from llama_cpp import Llama

asked = json.load(sys.stdin)
model = Llama(asked["file"], n_ctx=1024, n_threads=asked["threads"], verbose=False, logits_all=False)
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
json.dump({"tokens": tokens, "answers": answers}, sys.stdout)
