"""Clients of Google's APIs that send requests to `/`, since they lost the rest of the path."""

from collections.abc import Mapping

from tuningfork.domain.errors import InvalidArgument


def refuse_lost_client(headers: Mapping[str, str]) -> None:
    """Tell google-genai's users why it sends requests of Vertex AI's API to `/`, without path and credential.

    Since its version 2 it does so with a base URL, if project and location are not arguments of `genai.Client`.

    Args:
        headers: those of a request for `/`, searched by names in lower case.

    Raises:
        InvalidArgument: a program of that library has sent the request.

    """
    if headers.get("user-agent", "").startswith("google-genai-sdk"):
        raise InvalidArgument("your client sent no project and location: pass project= and location= to genai.Client")
