"""What the engine is made of: ports, settings, metrics, log. No I/O, no threads, no clocks."""
