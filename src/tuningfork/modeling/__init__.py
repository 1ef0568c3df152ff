"""What training and inference share: loading a base, adapter slots, attention over packed tokens, chat templates.

Torch starts here; refuses to know jobs, requests and where files come from.
"""
