"""Models that come with the package, each a folder in BGE-M3's checkpoint layout."""
