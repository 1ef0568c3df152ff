"""HTTP as the API of Google Cloud Storage uses it: statuses, headers, error bodies.

Offers `StorageForm`, the form of a dialect; does not know which methods exist, nor which library serves HTTP.
"""
