"""Where the Studio is, on whichever server."""

PREFIX = "/studio"
"""Below which path the Studio is, mounted in a server or alone. Links in pages and the path of cookies depend on it."""


def address(path: str) -> str:
    """The address of a page below the Studio's."""
    return f"{PREFIX}{path}"
