"""OAuth 2.0's two routes, in its own form. Knows tokens; does not know what they let their holders do."""
