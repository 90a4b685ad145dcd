"""Embedding models: what is known of them, how good they are across languages, and whether a folder holds one."""
