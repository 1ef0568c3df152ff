"""gRPC: the methods of the Gemini API for clients that use protobuf, with the messages that Google publishes.

Offers a gRPC server, and certificates for it. Knows no rules or use cases: each rpc becomes the same call of the same
method as its HTTP request. Needs the extra `grpc`.
"""
