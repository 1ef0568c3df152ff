"""The methods of the API, whatever carries them: each parses, calls one use case and renders.

Knows wire formats and use cases; refuses to know how a call came in, over HTTP or over gRPC.
"""
