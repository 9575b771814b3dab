"""What restored pictures are measured and trained by: losses, metrics, and the networks behind perceptual ones."""
