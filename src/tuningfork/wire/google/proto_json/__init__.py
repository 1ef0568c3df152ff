"""The JSON of Google's protobuf services: parses lenient text into typed fields, and writes fields as canonical text.

Knows the proto3 JSON mapping and the error messages of Google's parser; knows no single API. An API is a set of
`descriptors.Message` tables; `text` reads and writes JSON, `decode` and `encode` follow the tables.
"""
