"""The monitors of live streams: one valve each for a stream's features and its outcomes."""
