"""Training: recipes, cached towns, batches, losses, the trainer and its events, export to an encoder."""
