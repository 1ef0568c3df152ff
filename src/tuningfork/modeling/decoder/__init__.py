"""The forward and backward pass of Llama-like decoders, written out over one packed row of tokens."""
