"""The pages: one module each, with the functions that answer and their paths in `PAGES`."""
