"""Results as people read them and as programs do."""
