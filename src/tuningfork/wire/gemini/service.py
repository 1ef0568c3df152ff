"""The names of the Gemini API as its clients know it."""

SERVICE = "generativelanguage.googleapis.com"
"""The name of the service in errors and in access tokens."""

VERSION = "v1beta"
PACKAGE = f"google.ai.generativelanguage.{VERSION}"
"""The package of the API's messages, printed whichever version of the API was called. Only operations of v1beta3 name
their own."""
