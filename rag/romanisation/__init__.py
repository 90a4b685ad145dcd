"""Questions typed in Latin letters for a language that has others: recognised, and given back their own script."""
