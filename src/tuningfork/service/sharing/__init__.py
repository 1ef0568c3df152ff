"""Who may use which tuned model: permissions, and groups of people.

Does not know how callers are authenticated.
"""
