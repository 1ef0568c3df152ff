"""gRPC: the methods of the dialect for clients that speak protobuf, over the messages that Google publishes.

Offers a server beside the HTTP one, and certificates for it; refuses to know rules or use cases: each rpc is turned
into the same call of the same method that its HTTP form is. Needs the extra `grpc`.
"""
