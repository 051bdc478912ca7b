"""What runs servers: docker, process, memory, behind one protocol."""
