"""JSON to domain and back, pure functions without I/O, each field with its place in the interface definitions.

Knows the dialect to the letter; refuses to know the store, the network and the clock.
"""
