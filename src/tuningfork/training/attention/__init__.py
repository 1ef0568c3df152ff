"""The forward and backward pass of attention over training packs. Knows no jobs and no batches."""
