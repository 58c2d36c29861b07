"""Parts of backup and restore."""
