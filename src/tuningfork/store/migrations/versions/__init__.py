"""The revisions, numbered from the oldest. A published revision is never edited."""
