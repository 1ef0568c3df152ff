"""The web pages: sign in, watch and try tuned models, share and delete them, without writing code.

Offers `app.studio_app`, an ASGI application below `/studio`, and `mounting.OnFirstRequest`, which builds it late. Knows
the server's public API over HTTP only: no store, no use case, no tensor.
"""
