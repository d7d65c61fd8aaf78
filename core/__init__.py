"""The shared vocabulary: values, ids and ports. No I/O, no threads, no clocks."""

VERSION = "0.1.0"
