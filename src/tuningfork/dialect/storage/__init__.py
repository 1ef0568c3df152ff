"""The API of Google Cloud Storage (storage/v1) over the buckets of this server: buckets, uploads, downloads, lists.

Does not know how HTTP is read and written.
"""
