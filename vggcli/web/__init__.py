"""HTTP as weights and images need it: polite, bounded, and every fault in plain words."""
