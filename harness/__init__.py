"""The real services as subprocesses against the simulator: for system tests, benchmarks and the fault campaign."""
