"""Buckets: objects by their addresses (`gs://bucket/key`, `s3://`, `file://`), read piece by piece.

Offers reading for whoever may read, and the owners of buckets; does not know what the objects contain, nor who asks.
"""
