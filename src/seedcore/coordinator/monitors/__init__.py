"""The monitors of live streams: one valve for the features of a stream's tasks, one for its outcomes."""
