"""Working memory: values that are dear to make, kept for a while in this process and, where it is set, in Redis."""
