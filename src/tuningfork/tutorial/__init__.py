"""The tutorial: a server of its own, fifteen examples, a loss to watch, and questions that were never shown.

Offers `story.run` and the lesson's texts; knows the server as a process and an HTTP API, nothing of its insides.
"""

from tuningfork.tutorial.lesson import EXAMPLES

__all__ = ["EXAMPLES"]
