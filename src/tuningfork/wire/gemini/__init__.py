"""The Gemini API's tuning dialect: `parse_*` reads its requests into the domain, `render_*` writes its answers.

Knows every field of google.ai.generativelanguage.v1beta that this server reads or writes; refuses to know routes,
users and the store. All versions of the API are served from the v1beta tables: only their type names are safe with
the strictest client.
"""
