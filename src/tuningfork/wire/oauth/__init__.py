"""OAuth 2.0's messages about tokens: forms in, JSON out (RFC 6749, RFC 7662).

Pure functions. Knows no API of this server: a token is text here, and what it allows is a list of names.
"""
