"""What a run is made of: every key with its default, the published networks, reading and checking of configurations."""
