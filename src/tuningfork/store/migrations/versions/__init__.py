"""The revisions, oldest first by number. A published one is never edited."""
