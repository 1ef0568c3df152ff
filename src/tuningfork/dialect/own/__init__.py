"""The server's own API, `tuningfork/v1`: previews, access tokens, downloads of adapters, and which are in memory.

Does not know whether a call came over HTTP or gRPC.
"""
