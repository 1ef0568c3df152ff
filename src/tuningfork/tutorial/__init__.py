"""The tutorial: starts a server, tunes a model on fifteen examples, shows the loss, and asks held-out questions.

Offers `story.run` and the tutorial's texts; uses the server only as a process with an HTTP API.
"""

from tuningfork.tutorial.lesson import EXAMPLES

__all__ = ["EXAMPLES"]
