"""Converts a GGUF file into a directory that transformers reads: weights, configuration, tokenizer, chat template.

Every key and every tensor of a file is used, or known to change nothing, or the file is refused with a sentence.
"""
