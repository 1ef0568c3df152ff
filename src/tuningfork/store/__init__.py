"""Durable state: the only room with SQL or the artifact directory.

Offers each noun's reads and writes inside a caller's transaction; refuses to know rules, engines and HTTP.
"""
