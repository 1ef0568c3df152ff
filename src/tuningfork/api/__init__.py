"""HTTP: mounts dialects, each in its form. A request becomes one call of a method.

Offers the ASGI application; has no rules of its own, knows no API's messages, and does not import torch.
"""
