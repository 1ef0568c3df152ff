"""The forward and backward pass of Llama-like decoders over one packed row of tokens, without autograd."""
