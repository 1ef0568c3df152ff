"""The methods of Vertex AI's API that this server has: each parses, calls one use case, and renders.

Knows no HTTP, no gRPC and no store.
"""
