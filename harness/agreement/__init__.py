"""The same scenarios in a world and on real servers: what came out of both must be the same. The check on the simulation."""
