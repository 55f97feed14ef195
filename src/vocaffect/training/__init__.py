"""Training: one loop for every model, its checkpoints, and the machine it runs on."""
