"""The domain: frozen values, enums and pure rules, with the standard library only.

Knows no JSON, SQL, tensors or clock; time, ids and randomness are passed in.
"""
