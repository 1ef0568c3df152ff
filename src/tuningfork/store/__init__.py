"""Durable state: the only package that uses SQL or the artifact directory.

Reads and writes take the caller's transaction. Knows no rules of the service, engines or HTTP.
"""
