"""Who is calling: API keys, access tokens of this server, and tokens of an external OpenID Connect issuer.

Does not know what callers may do.
"""
