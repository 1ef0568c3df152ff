"""The messages that Google's APIs share: proto JSON, contents, generation, safety, errors.

Does not know which API a message belongs to.
"""
