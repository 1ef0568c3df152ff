"""The dialects: the methods of each API. A method parses a request, calls one use case and renders the answer.

Knows wire formats and use cases; does not know whether a call came over HTTP or gRPC.
"""
