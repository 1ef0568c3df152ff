"""Writes GGUF files for llama.cpp and what stands on it: a base with an adapter merged in, or an adapter alone.

The way back from `modeling/files/gguf/`: what is written is read again by that room and compared, so a model is the
same in both directions or is refused with a sentence. Knows nothing of servers and of how adapters come here.
"""
