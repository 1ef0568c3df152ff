"""The Gemini API's tuning dialect: `parse_*` reads its requests into the domain, `render_*` writes its answers.

Knows every field of google.ai.generativelanguage.v1beta that this server reads or writes; knows no routes, users or
store. All versions of the API are served from the v1beta tables, since the strictest client accepts only v1beta's type
names.
"""
