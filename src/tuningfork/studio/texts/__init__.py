"""The words of the pages in six languages: a folder of TOML files for each, and `catalog.Texts`, which finds them."""
