"""Compiled parts for CPUs: C++ that a compiler makes into one library when the package is built.

The library is optional: where it is absent, or where it gives wrong results on this machine, plain operations of torch
compute the same. The C++ knows nothing of torch: it gets addresses and shapes.
"""
