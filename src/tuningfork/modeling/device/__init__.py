"""What the machine can do: free memory, threads, types that it computes natively, CUDA graphs. Knows no models."""
