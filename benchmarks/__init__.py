"""Side-by-side runs; ratios against a peer of the same run, medians of several rounds."""
