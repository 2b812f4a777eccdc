"""Side-by-side timings against what one would use instead; `slicerank bench` runs them."""
