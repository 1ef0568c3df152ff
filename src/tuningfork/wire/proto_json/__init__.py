"""The JSON dialect of Google's protobuf services: lenient text in, typed fields between, canonical text out.

Knows the proto3 JSON mapping and the parser sentences of the Google front end; refuses to know any one API. An API
is a set of `descriptors.Message` tables; `text` reads and writes JSON, `decode` and `encode` follow the tables.
"""
