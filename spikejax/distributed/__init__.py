"""Many hosts and devices: who is who, and which axis of an array lies on which axis of the mesh."""
