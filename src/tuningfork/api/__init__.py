"""HTTP: a route parses, calls one use case and renders.

Offers the ASGI application; refuses to hold rules of its own, and never imports torch.
"""
