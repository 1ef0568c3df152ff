"""What people do who run a server: look at all jobs and stop one, make and revoke keys, see what the server does.

Everybody sees their own part of it. Knows who runs the server (`domain/operators.py`), and no engine.
"""
