"""The Library workspace: indexes and encoders, what they are, bringing them in, making new ones."""
