"""The methods of the Gemini API's tuning surface (gemini-api section 2), service by service."""
