"""Reading a photo safely, what its metadata says, and the projections between photo, canvas and tile."""
