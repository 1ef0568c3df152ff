"""The words of the business: frozen values, enums and pure rules, standard library only.

Knows no JSON, no SQL, no tensors and no clock; time, ids and randomness are passed in.
"""
