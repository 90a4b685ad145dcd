"""How good retrieval is, for every pair of languages."""
