"""Training: config, mesh, optimizer, step, checkpoints, validation, logs, and the loop that orders them."""
