"""Where the engines run: one `Executor` protocol, and its implementations.

Offers trainers and generators as iterators of events and chunks; refuses to know the database, the wire formats
and who is asking.
"""
