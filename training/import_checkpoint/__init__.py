"""The checkpoints that the authors of the five systems published, brought into our format."""
