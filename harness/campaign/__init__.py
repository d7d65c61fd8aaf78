"""The fault campaign: seeded scenarios on real services, checked against the simulator's journal (`make chaos`)."""
